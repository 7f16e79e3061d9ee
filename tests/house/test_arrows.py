"""Imports point down only: what each room may know, read from every module's source.

Also inside functions and under TYPE_CHECKING, so that a late import hides nothing.
"""

import ast
import functools
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What each room may import of ours, beside itself and the ground. None: everything below.
KNOWS: dict[str, set[str]] = {
    "schemas": set(),
    "models_plugin": {"schemas"},
    "web": set(),
    "settings": set(),
    "records": {"schemas"},
    "storage": {"schemas", "records"},
    "training": {"schemas", "models_plugin", "records", "storage"},
    "serving": {"schemas", "models_plugin"},
    "client": set(),
    "api": {
        *("schemas", "models_plugin", "records", "storage", "training", "serving"),
        *("settings", "web"),
    },
}
KNOWS["cli"] = {*KNOWS, "client"}
# "" is the package itself: the version.
GROUND = {
    "addresses",
    "clearing",
    "digest",
    "errors",
    "processors",
    "members",
    "seclusion",
    "turns",
    "standstill",
    "streams",
    "unpacking",
    "",
}

# Rooms that may import a library, where not every room may. A model's own folder may use what it
# likes of those for models: it is loaded in worker and run processes only.
ONLY_IN = {
    "aiohttp": {"api", "client"},
    "blake3": {"storage", "training"},
    "google": {"api.grpc"},
    "grpc": {"api.grpc"},
    "joserfc": {"api.access"},
    "boto3": {"storage"},
    "botocore": {"storage"},
    "torch": {"models_plugin.image_classifier", "models_plugin.torch_files"},
    "sklearn": {"models_plugin.image_classifier"},
    "PIL": {"models_plugin.image_classifier"},
    "safetensors": {"models_plugin.image_classifier"},
    "sqlalchemy": {"records", "storage", "training"},
    "alembic": {"records"},
    "click": {"cli"},
    "rich": {"cli"},
}
# The rooms that other interpreters read too, or that could be lifted out: only these libraries.
ONLY_LIBRARIES = {
    "schemas": {"marshmallow", "numpy", "orjson", "apispec", "webargs"},
    "storage": {"blake3", "sqlalchemy", "boto3", "botocore", "orjson"},
}


@dataclass(frozen=True)
class Import:
    """One import in one module: `target` is absolute, `line` where it stands."""

    module: str
    target: str
    line: int
    inside_function: bool


def modules_of_the_tree() -> dict[str, str]:
    """Every module of the package with its source, keyed by its installed name."""
    rooms = [ROOT / room for room in KNOWS]
    files = [*ROOT.glob("*.py"), *(file for room in rooms for file in sorted(room.rglob("*.py")))]
    return {module_name(file.relative_to(ROOT)): file.read_text("utf-8") for file in files}


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(("modelyard", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def imports_of(module: str, source: str, packages: set[str]) -> Iterator[Import]:
    for node, inside in _statements(ast.parse(source, module).body, False):
        for target in _targets(node, module, packages):
            yield Import(module, target, node.lineno, inside)


def _statements(nodes: Iterable[ast.AST], inside: bool) -> Iterator[tuple[ast.stmt, bool]]:
    """Every statement, and whether it is inside a function. Expressions hold no import."""
    for node in nodes:
        if isinstance(node, ast.expr):
            continue
        if isinstance(node, ast.stmt):
            yield node, inside
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _statements(ast.iter_child_nodes(node), inside or function)


def _targets(node: ast.AST, module: str, packages: set[str]) -> list[str]:
    """What a statement imports; a name that is imported from a package may be a module of it."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        here = module.split(".") if module in packages else module.split(".")[:-1]
        base = ".".join([*here[: len(here) - node.level + 1], *filter(None, [node.module])])
    return [f"{base}.{alias.name}" for alias in node.names]


def all_imports(modules: Mapping[str, str]) -> list[Import]:
    """Every import; what names a module of ours, or something in one, is cut to the module."""
    packages = {name.rpartition(".")[0] for name in modules} | {"modelyard"}
    found = [i for name, source in modules.items() for i in imports_of(name, source, packages)]
    return [
        Import(i.module, _cut(i.target, modules), i.line, i.inside_function) for i in found
    ]  # fmt: skip


def _cut(target: str, modules: Mapping[str, str]) -> str:
    name = target
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or target


def room_of(module: str) -> str:
    """`modelyard.api.app` is in `api`; the ground's modules are rooms of their own."""
    return module.partition(".")[2].partition(".")[0]


# -- the rules ------------------------------------------------------------------------------------


def upward(imports: Iterable[Import]) -> Iterator[str]:
    for i in imports:
        here, there = room_of(i.module), room_of(i.target)
        if i.target.split(".")[0] != "modelyard" or here == there or here == "__main__":
            continue
        if here in GROUND and there not in GROUND:
            yield f"{i.module}:{i.line} is ground, and imports {i.target}"
        elif here in KNOWS and there not in KNOWS[here] | GROUND:
            yield f"{i.module}:{i.line} imports {i.target}: {here}/ may not know {there}/"


def bare(imports: Iterable[Import]) -> Iterator[str]:
    """Ours by a name that a model author's own folder may have, or by its absolute name."""
    ours = {*KNOWS, *GROUND - {""}}
    for i in imports:
        if i.target.split(".")[0] in ours:
            yield f"{i.module}:{i.line} imports {i.target} absolutely: that is somebody else's"


def misplaced_libraries(imports: Iterable[Import]) -> Iterator[str]:
    for i in imports:
        library, room = i.target.split(".")[0], room_of(i.module)
        allowed = ONLY_IN.get(library)
        if allowed is not None and not any(
            f"{i.module}.".startswith(f"modelyard.{place}.") for place in allowed
        ):
            yield f"{i.module}:{i.line} imports {library}, which belongs to {sorted(allowed)}"
        only = ONLY_LIBRARIES.get(room)
        if only is not None and not _is_standard(library) and library not in only | {"modelyard"}:
            yield f"{i.module}:{i.line} imports {library}: {room}/ knows only {sorted(only)}"


def _is_standard(library: str) -> bool:
    return library in sys.stdlib_module_names


def late(imports: Iterable[Import]) -> Iterator[str]:
    """Another room, imported inside a function; within a room it hides no arrow."""
    for i in imports:
        ours = i.target.split(".")[0] == "modelyard"
        if ours and i.inside_function and room_of(i.module) != room_of(i.target):
            yield f"{i.module}:{i.line} imports {i.target} inside a function"


def circles(imports: Iterable[Import]) -> Iterator[str]:
    """Modules that import each other, over any number of steps."""
    knows: dict[str, set[str]] = {}
    for i in imports:
        if i.target != i.module:
            knows.setdefault(i.module, set()).add(i.target)
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> Iterator[str]:
        if module in path:
            yield " -> ".join([*path[path.index(module) :], module])
        elif module not in done:
            for target in sorted(knows.get(module, ())):
                yield from walk(target, [*path, module])
            done.add(module)

    for module in sorted(knows):
        yield from walk(module, [])


RULES = [upward, bare, misplaced_libraries, late, circles]


@functools.cache
def imports_of_the_tree() -> tuple[Import, ...]:
    modules = modules_of_the_tree()
    assert len(modules) > 60, "the walk no longer finds the tree"
    return tuple(all_imports(modules))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule):
    assert list(rule(imports_of_the_tree())) == []


SOUND = {
    "modelyard": "__version__ = '0'",
    "modelyard.errors": "",
    "modelyard.schemas": "",
    "modelyard.schemas.runs": "from ..errors import ModelyardError",
    "modelyard.training": "",
    "modelyard.training.run": "from .. import __version__\nfrom ..schemas import runs",
    "modelyard.api": "",
    "modelyard.api.app": "from aiohttp import web\nfrom ..training.run import Run",
}


def test_a_sound_tree_has_no_fault():
    assert [fault for rule in RULES for fault in rule(all_imports(SOUND))] == []


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (upward, "modelyard.schemas.runs", "from ..api.app import create"),
        (upward, "modelyard.schemas.runs", "from ..api import app"),
        (upward, "modelyard.schemas.runs", "from .. import api"),
        (upward, "modelyard.training.run", "def f():\n    from ..api import app"),
        (upward, "modelyard.training.run", "import modelyard.api.app"),
        (upward, "modelyard.errors", "from .schemas import runs"),
        (upward, "modelyard.errors", "if TYPE_CHECKING:\n    from .api.app import App"),
        (bare, "modelyard.training.run", "from schemas.runs import Run"),
        (bare, "modelyard.training.run", "import api"),
        (misplaced_libraries, "modelyard.training.run", "from aiohttp import web"),
        (misplaced_libraries, "modelyard.training.run", "def f():\n    import torch.nn as nn"),
        (misplaced_libraries, "modelyard.api.app", "import boto3"),
        (misplaced_libraries, "modelyard.schemas.runs", "import yaml"),
        (late, "modelyard.api.app", "def f():\n    from ..training import run"),
        (circles, "modelyard.schemas.runs", "from ..training.run import Run"),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value).splitlines()[-1].strip(),
)
def test_a_planted_fault_is_found(rule, module, source):
    assert list(rule(all_imports({**SOUND, module: source})))
