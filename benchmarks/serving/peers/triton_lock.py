# Appended by setup.sh to pytriton's proxy/data.py, which Triton's embedded interpreter runs.
#
# That interpreter is older than the standard library that it finds: since Python 3.11.5 this asks a
# lock how deep it is held (`_recursion_count`), which the older interpreter's locks do not know. It
# can go when pytriton starts without it.
import threading as _threading
from multiprocessing import resource_tracker as _resource_tracker

if not hasattr(_threading.RLock(), "_recursion_count"):

    class _Lock:
        def __init__(self):
            self._lock = _threading.RLock()

        def __enter__(self):
            return self._lock.__enter__()

        def __exit__(self, *told):
            self._lock.release()

        def _recursion_count(self):
            return 0

    _resource_tracker._resource_tracker._lock = _Lock()
