"""The stand-in for the internet: what a lab host would download, built from source and served on this machine."""
