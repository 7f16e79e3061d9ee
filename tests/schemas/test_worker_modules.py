"""What a model's own interpreter reads of this room: Python 3.8, and a light import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import modelyard.schemas

ROOM = Path(modelyard.schemas.__file__).parent
WORKER = (
    "arrays", "checking", "constraints", "description", "fields", "introspect", "jsonform",
    "kinds", "states", "transport",
)  # fmt: skip


@pytest.mark.parametrize("name", WORKER)
def test_worker_modules_are_python_3_8(name):
    ast.parse((ROOM / f"{name}.py").read_text("utf-8"), feature_version=(3, 8))


def test_the_fields_import_no_numpy_until_they_are_used():
    code = (
        "import sys, modelyard.schemas.introspect, modelyard.schemas.checking\n"
        "print([n for n in ('numpy', 'aiohttp', 'apispec', 'webargs') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
