"""One file a step, `NNNN_what.py`, in the order of their numbers."""
