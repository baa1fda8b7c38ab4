"""`make demo`: from nothing to the example app answering on a real cluster of two throw-away hosts."""
