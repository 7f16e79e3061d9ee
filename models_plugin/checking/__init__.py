"""Finds what of a plugin would not work, or not as its author may think: `plugin check`."""
