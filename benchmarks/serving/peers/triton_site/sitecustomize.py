"""Triton's embedded interpreter is older than the standard library that it finds here.

That asks a lock how deep it is held (`_recursion_count`, Python 3.11.5 and later), which the older
interpreter's locks do not know. It can go when the embedded one is 3.11.5 or later.
"""

import threading

if not hasattr(threading.RLock(), "_recursion_count"):
    from multiprocessing import resource_tracker

    class _Lock:
        def __init__(self) -> None:
            self._lock = threading.RLock()

        def __enter__(self) -> bool:
            return self._lock.__enter__()

        def __exit__(self, *told: object) -> None:
            self._lock.release()

        def _recursion_count(self) -> int:
            return 0

    resource_tracker._resource_tracker._lock = _Lock()
