"""Throw-away hosts on this machine: containers that run systemd and sshd, and nothing of Kubernetes."""
