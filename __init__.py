"""One server that carries a model through its whole life: describe, train, watch, keep, serve, share."""

__version__ = "0.1.0"
