"""The Python client: the HTTP API and nothing else of this package."""
