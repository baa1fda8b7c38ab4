#!/bin/sh
# What a machine's firmware and installer have done before anything else starts. Runs at every boot.
set -u

# Mounts go from the host into its containers, as on a machine.
mount --make-rshared /
for target in /sys /sys/fs/cgroup; do
  [ -w "$target" ] || mount -o remount,rw "$target"
done
# cgroup v1: one file system per controller, each with its own read-only flag. Version 2 has no mount below.
for target in /sys/fs/cgroup/*; do
  if mountpoint -q "$target"; then mount -o remount,bind,rw "$target"; fi
done

# These are mounts of the engine's own files; a machine has files. What was changed later stays.
for file in /etc/hosts /etc/hostname /etc/resolv.conf; do
  if mountpoint -q "$file"; then
    cp "$file" /run/lab-file
    umount "$file"
    [ -s "$file" ] || cat /run/lab-file > "$file"
    rm /run/lab-file
  fi
done
# The engine's resolver answers on a loopback address, which no pod can ask.
if [ -s /usr/local/lib/lab/resolv.conf ] && grep -q '^nameserver 127\.' /etc/resolv.conf; then
  cat /usr/local/lib/lab/resolv.conf > /etc/resolv.conf
fi
rm -f /.dockerenv

key=/etc/ssh/ssh_host_ed25519_key
[ -s "$key.pub" ] || ssh-keygen -q -t ed25519 -N '' -C "root@$(cat /etc/hostname)" -f "$key"
