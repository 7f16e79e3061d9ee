"""One server that carries a model through its whole life, from description to prediction."""

__version__ = "0.1.0"
