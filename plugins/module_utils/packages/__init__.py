"""Packages of a host: who installs them there, and where they come from."""
