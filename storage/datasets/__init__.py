"""Datasets: taken in by a process of their own, kept as bundles, named by content."""
