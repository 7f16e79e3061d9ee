"""The memory of the start, once it is over. Runs in the front."""

from __future__ import annotations

import ctypes
import gc


def settle() -> None:
    """Leaves out of later collections all that the start has made, and gives back what is free.

    Modules, schemas and routes are some 80,000 objects, which stay as long as the process: looking
    through them for garbage would stop every request for 45 ms, now and then. What the C library
    has left over from the imports is about a megabyte. Of the whole process: for `serve`, never
    for an app.
    """
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc's: malloc_trim(3)
        trim(0)
