"""What workers read of this room is light; that it is Python 3.8, tests/house/test_kit.py looks."""

import subprocess
import sys


def test_the_fields_import_no_numpy_until_they_are_used():
    code = (
        "import sys, modelyard.schemas.introspect, modelyard.schemas.checking\n"
        "print([n for n in ('numpy', 'aiohttp', 'apispec', 'webargs') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
