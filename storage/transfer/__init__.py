"""Bundles to and from an object store: blobs, packs, manifests, registers. In the storage process.

Only `results` is also read in the front.
"""
