"""Calls a plugin from the command line, without a server: what `deepaas-cli` runs."""
