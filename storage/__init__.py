"""Bytes and keys: weights versions in folders. Knows neither models nor HTTP."""
