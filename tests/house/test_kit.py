"""What other interpreters read of ours: exactly what is listed, and Python 3.8 throughout."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.models_plugin import bootstrap, entry_points
from modelyard.models_plugin.checking import process as checking_process
from modelyard.models_plugin.command import process as command_process
from modelyard.serving import task_process, worker
from modelyard.training import process

ROOT = Path(__file__).parents[2]
VERMIN = Path(sys.executable).parent / "vermin"
ENTRIES = (
    worker.__name__,
    task_process.__name__,
    process.__name__,
    entry_points.__name__,
    command_process.__name__,
    checking_process.__name__,
)
MAY_LACK = {
    "blake3",
    "orjson",
    "numpy",
    "torch",
}  # used where they are; "marshmallow" has to be there
# What the adapter of DEEPaaS modules looks for in the module's environment, and does without.
OF_MODULES = {"webargs", "aiohttp", "deepaas", "oslo_config", "oslo_log"}


def file_of(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split(".")[1:])
    return next((f for f in (base / "__init__.py", base.with_suffix(".py")) if f.exists()), None)


def imports_of(module: str) -> set[str]:
    """Absolute names in every import of a module, also in functions and under conditions."""
    file = file_of(module)
    assert file is not None
    here = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = here[: len(here) - node.level + 1] if node.level else []
            base = ".".join([*parts, *filter(None, [node.module])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


def closure() -> tuple[set[str], set[str]]:
    """Our modules that the entries import, over any number of steps; and others' packages."""
    ours: set[str] = set()
    others: set[str] = set()
    waiting = list(ENTRIES)
    while waiting:
        module = waiting.pop()
        if module in ours or file_of(module) is None:  # a class or function of a module
            continue
        ours.add(module)
        parent = module.rpartition(".")[0]
        for name in [*imports_of(module), *filter(None, [parent])]:
            if name.split(".")[0] == "modelyard":
                waiting.append(name)
            else:
                others.add(name.split(".")[0])
    return ours, others


def test_the_list_is_what_the_processes_import():
    ours, _ = closure()
    missing, idle = ours - set(bootstrap.KIT), set(bootstrap.KIT) - ours
    assert not missing, f"add to KIT in models_plugin/bootstrap.py: {sorted(missing)}"
    assert not idle, f"no process imports these: take them out of KIT: {sorted(idle)}"
    assert list(bootstrap.KIT) == sorted(bootstrap.KIT)


def test_the_kit_needs_no_library_but_marshmallow():
    _, others = closure()
    foreign = others - sys.stdlib_module_names - {"marshmallow", "__future__"}
    assert foreign <= MAY_LACK | OF_MODULES


@pytest.mark.parametrize("module", [*bootstrap.KIT, bootstrap.__name__])
def test_a_module_of_the_kit_is_python_3_8(module):
    ast.parse(file_of(module).read_text("utf-8"), feature_version=(3, 8))


def test_the_kit_uses_nothing_of_a_newer_library_than_python_3_8():
    files = [file_of(module) for module in (*bootstrap.KIT, bootstrap.__name__)]
    done = subprocess.run(
        [VERMIN, "-t=3.8-", "--no-tips", "--violations", *files],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


GENERIC = {"list", "dict", "set", "frozenset", "tuple", "type", "deque", "defaultdict", "Path"}


def evaluated_types(source: str) -> list[int]:
    """Lines where a type of Python 3.9 (`list[int]`) or 3.10 (`int | None`) is really evaluated.

    Annotations are not: every module begins with `from __future__ import annotations`.
    """
    tree = ast.parse(source)
    generic = GENERIC | {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in ("collections.abc", "contextlib")
        for alias in node.names
    }
    unevaluated = set()
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            if getattr(node, name, None) is not None:
                unevaluated |= {id(part) for part in ast.walk(getattr(node, name))}
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            unevaluated |= {id(part) for body in node.body for part in ast.walk(body)}
    return [
        node.lineno
        for node in ast.walk(tree)
        if id(node) not in unevaluated
        and (
            (isinstance(node, ast.Subscript) and getattr(node.value, "id", "") in generic)
            or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and _names(node))
        )
    ]


def _names(union: ast.BinOp) -> bool:
    """True if a side names a built-in type, or is None: then it is no union of flags or sets."""
    types = GENERIC | {"int", "float", "str", "bytes", "bool"}
    sides = [getattr(side, "id", getattr(side, "value", "")) for side in (union.left, union.right)]
    return any(side is None or (isinstance(side, str) and side in types) for side in sides)


@pytest.mark.parametrize("module", bootstrap.KIT)
def test_no_type_of_a_newer_python_is_evaluated(module):
    assert evaluated_types(file_of(module).read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("Pair = tuple[int, int]", [1]),
        ("from collections.abc import Callable\nChange = Callable[[int], bool]", [2]),
        ("isinstance(1, int | None)", [1]),
        ("def f(x: list[int] | None) -> dict[str, int]: y: set[int] = set()", []),
        ("if TYPE_CHECKING:\n    Pair = tuple[int, int]", []),
        ("flags = a | b; c = table[0]", []),
    ],
)
def test_a_planted_type_is_found(source, lines):
    assert evaluated_types(source) == lines


def test_only_the_name_modelyard_is_mapped_and_no_folder_of_ours_is_on_the_path(tmp_path):
    probe = (
        "import sys, runpy\n"
        f"sys.argv = ['bootstrap', {entry_points.__name__!r}]\n"
        f"sys.path.insert(0, {str(Path(bootstrap.__file__).parent)!r})\n"
        f"runpy.run_path({bootstrap.__file__!r}, run_name='__main__')\n"
        f"assert not [p for p in sys.path if p.startswith({str(ROOT)!r})], sys.path\n"
        "for name in ('values', 'schemas', 'errors'):\n"
        "    try: __import__(name)\n"
        "    except ModuleNotFoundError: continue\n"
        "    raise SystemExit(name + ' was found')\n"
        "import modelyard.models_plugin.values\n"
        "for bad in ('import modelyard.api.app', 'from modelyard import settings'):\n"
        "    try: exec(bad)\n"
        "    except ImportError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", probe],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.strip().splitlines()[-2:]
    assert said[0].startswith("modelyard.api is not part of what Modelyard puts into")
    assert said[1].startswith("modelyard.settings is not part of")
