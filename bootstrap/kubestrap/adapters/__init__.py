"""The only modules that talk to a third party."""
