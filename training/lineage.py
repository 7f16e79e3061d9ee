"""Where a weights version comes from: code, environment, arguments, data, parents, curves.

Runs in the run process: `begin` before the training, for the code may change while it runs;
`read_versions` tells what was asked for; `complete` when train() has returned. All of it is in
lineage.json of the run's folder, and the finish step puts it into the version's manifest. Nothing
here fails a training: what cannot be found out is null. Python 3.8 syntax and library.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from .data import recorded_data
from .failures import say
from .messages import RunOrder
from .paths import RunPaths, read_json, write_json

POINTS = 100
"""Of one curve, at most; the first and the last are always among them."""
_CURVES = 100  # names; a training that reports thousands is not shown by their lines
_SOURCES, _SOURCE_BYTES = 2_000, 64 << 20  # files and bytes that are hashed at most
_GIT_LIMIT_S = 5.0
_INFO = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+?)(-py[\d.]+)?\.(dist|egg)-info\Z")
_OWN = __name__.partition(".")[0]


def begin(paths: RunPaths, order: RunOrder) -> None:
    """Writes what is known before the first step. Costs some 10 ms, at worst 10 s (a hanging git).

    Of an earlier attempt it keeps what was different then, and what that had read.
    """
    before = _read(paths)
    now = {
        "code": code_of(order.source),
        "environment": environment(order),
        "started_at": datetime.now(timezone.utc).isoformat(),  # noqa: UP017 - Python 3.8
    }
    earlier = list(before.get("earlier") or ())
    if before and any(_lasting(before.get(part)) != now[part] for part in ("code", "environment")):
        earlier.append({part: before.get(part) for part in now})
    dataset = order.dataset
    _write(
        paths,
        {
            **now,
            "dataset": dataset and {name: dataset.get(name) for name in ("id", "name", "digest")},
            "uploads": _uploads(order.request) or before.get("uploads") or [],
            "arguments": order.pinned,
            "secrets": _secrets(paths, order),
            "seed": order.seed,
            "weights": before.get("weights") or {},
            "resumed_from": order.resumed_from,
            "repeats": order.repeats,
            "earlier": earlier[-10:],
        },
    )


def read_version(paths: RunPaths, asked: str, version_id: str) -> None:
    """The plugin got the weights of this version by the name `asked`."""
    told = _read(paths)
    weights = dict(told.get("weights") or {})
    if weights.get(asked) != version_id:
        weights[asked] = version_id
        _write(paths, {**told, "weights": weights})


def complete(paths: RunPaths) -> None:
    """Adds what only shows when it has trained: torch, and the GPUs that it could use."""
    told = _read(paths)
    if told:
        found = {**(told.get("environment") or {}), **_torch()}
        _write(paths, {**told, "environment": found})


def recorded(paths: RunPaths) -> tuple[dict[str, Any], str | None, dict[str, Any] | None]:
    """For a manifest: the lineage with the curves, the parent's id, and the dataset."""
    told = _read(paths)
    if not told:
        return {}, None, None
    parent = next(iter((told.get("weights") or {}).values()), None)
    told.pop("format", None)
    dataset = told.pop("dataset", None) or recorded_data(paths)
    return {**told, "curves": curves(paths.metrics)}, parent, dataset


# -- code ------------------------------------------------------------------------------------------


def code_of(source: Mapping[str, Any]) -> dict[str, Any]:
    """What the plugin is: names, a hash of its Python files, and its git state if it has one.

    `source` is a PluginSource's data; its module is imported already. No paths of this machine.
    """
    told: dict[str, Any] = {
        "distribution": source.get("distribution"),
        "version": source.get("distribution_version"),
        "entry_point": source.get("value"),
        "group": source.get("group"),
        "licence": licence_of(source.get("distribution")),
        "source_sha256": None,
        "git": None,
    }
    with suppress(Exception):  # a module may have any kind of __file__ or loader
        file, root = _place_of(str(source.get("value") or "").partition(":")[0])
        told["source_sha256"] = source_hash(root)
        told["git"] = git_state(file)
    return told


def licence_of(distribution: Any) -> str | None:
    """What the distribution says of its licence, in one line (PEP 639, else the older fields)."""
    with suppress(Exception):  # none, not installed, or an odd one
        said = metadata.metadata(distribution)
        for name in ("License-Expression", "License"):
            if name in said and len(said[name].strip().splitlines()) == 1:
                return str(said[name]).strip()
        classified = [c for c in said.get_all("Classifier") or () if c.startswith("License ::")]
        if classified:
            return str(classified[0]).rpartition(" :: ")[2]
    return None


def _place_of(module_name: str) -> tuple[Path, Path]:
    """The module's file, and the file or folder of all that belongs to it."""
    file = Path(str(sys.modules[module_name].__file__)).resolve()
    top = module_name.partition(".")[0]
    if top == _OWN:  # ours are many plugins in one package, and the server is not their code
        return file, file.parent
    package = sys.modules[top]
    if not hasattr(package, "__path__"):
        return file, file
    return file, Path(next(iter(package.__path__))).resolve()


def source_hash(root: Path) -> str | None:
    """One hash of all Python files below `root` with their paths; None if they are too many."""
    files = [root] if root.is_file() else sorted(root.rglob("*.py"))
    if len(files) > _SOURCES or sum(file.stat().st_size for file in files) > _SOURCE_BYTES:
        return None
    total = hashlib.sha256()
    for file in files:
        name = file.name if file == root else file.relative_to(root).as_posix()
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"{digest} {name}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def git_state(file: Path) -> dict[str, Any] | None:
    """Commit and dirty flag of the repository that tracks this file; None if none does.

    An environment inside somebody's checkout is not tracked there. Dirty: a tracked file of the
    repository differs from the commit; new files show in the hash of the source.
    """
    folder = file.parent
    if _git(folder, "ls-files", "--error-unmatch", "--", file.name) is None:
        return None
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit.strip(), "dirty": None if changes is None else bool(changes.strip())}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None without git, if it says no, or takes too long."""
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    # Variables of a hook that the server was started from would name another repository.
    environ = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            # Mounted checkouts belong to another user, which git refuses unless told otherwise.
            ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", *arguments],
            cwd=folder,
            env={**environ, **quiet},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_GIT_LIMIT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


# -- environment -----------------------------------------------------------------------------------


def environment(order: RunOrder) -> dict[str, Any]:
    """Python, platform, packages and what the run may use. Of torch see `complete`."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "device": order.device,
        "threads": order.threads,
        "packages": packages(),
    }


def packages() -> dict[str, str]:
    """Release of every installed distribution by its normalised name.

    From the names of their folders, which takes milliseconds where reading each takes seconds.
    """
    found: dict[str, str] = {}
    for entry in sys.path:
        with suppress(OSError):
            for name in sorted(os.listdir(entry or ".")):  # noqa: PTH208 - a hundred times a run
                match = _INFO.match(name)
                if match is not None:
                    found.setdefault(_normalised(match.group("name")), match.group("version"))
                elif name.endswith(".egg-info"):  # of a source tree: its release is inside
                    _add_release(found, Path(entry or ".") / name)
    return dict(sorted(found.items()))


def _add_release(found: dict[str, str], info: Path) -> None:
    with suppress(Exception):
        said = metadata.PathDistribution(info)
        found.setdefault(_normalised(str(said.metadata["Name"])), said.version)


def _normalised(name: str) -> str:
    """As PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _torch() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    told: dict[str, Any] = {"torch": None, "cuda": None, "gpus": []}
    with suppress(Exception):  # a half-imported or another torch
        if torch is not None:
            told["torch"] = str(torch.__version__)
            told["cuda"] = torch.version.cuda
            # Only where the training used it: asking would take a context's memory of it.
            if torch.cuda.is_initialized():
                count = torch.cuda.device_count()
                told["gpus"] = [torch.cuda.get_device_name(number) for number in range(count)]
    return told


def _lasting(part: Any) -> Any:
    """Without what `complete` adds, to be compared with what `begin` finds."""
    added = ("torch", "cuda", "gpus")
    if not isinstance(part, dict):
        return part
    return {name: value for name, value in part.items() if name not in added}


# -- data ------------------------------------------------------------------------------------------


def _uploads(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    raw = request.get("raw")
    parts = [*(request.get("files") or ()), *([raw] if raw else [])]
    return [
        {name: part.get(name) for name in ("field", "filename", "size", "sha256")} for part in parts
    ]


def _secrets(paths: RunPaths, order: RunOrder) -> list[str]:
    if order.secrets:
        return list(order.secrets)
    with suppress(OSError, ValueError):
        return list((read_json(paths.secrets) or {}).get("names") or ())
    return []


def curves(metrics: Path) -> dict[str, list[list[Any]]]:
    """Points `[step, value]` of each metric in metrics.jsonl, read once, in bounded memory.

    A value that is not finite is null. Where a resumed training repeats steps, the later counts.
    """
    kept: dict[str, _Curve] = {}
    with suppress(OSError), metrics.open("rb") as file:
        for line in file:
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                point = json.loads(line)
                step, values = int(point["step"]), point["values"]
                for name, value in values.items():
                    if name in kept or len(kept) < _CURVES:
                        kept.setdefault(name, _Curve()).add(step, _number(value))
    return {name: curve.points() for name, curve in sorted(kept.items())}


def _number(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


class _Curve:
    """Every n-th point of a curve, n doubled whenever there are too many; and the last."""

    def __init__(self) -> None:
        self._points: list[list[Any]] = []
        self._last: list[Any] | None = None
        self._every, self._seen = 1, 0

    def add(self, step: int, value: Any) -> None:
        if self._last is not None and step <= self._last[0]:
            self._points = [point for point in self._points if point[0] < step]
        self._last = [step, value]
        if self._seen % self._every == 0:
            self._points.append(self._last)
            if len(self._points) > POINTS - 1:
                self._points = self._points[::2]
                self._every *= 2
        self._seen += 1

    def points(self) -> list[list[Any]]:
        more = [self._last] if self._last is not None and self._points[-1:] != [self._last] else []
        return [*self._points, *more]


# -- the file --------------------------------------------------------------------------------------


def _read(paths: RunPaths) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return read_json(paths.lineage) or {}
    return {}


def _write(paths: RunPaths, told: Mapping[str, Any]) -> None:
    try:
        # Not durable: the finish step makes it so, in the manifest.
        write_json(paths.lineage, {"format": 1, **told}, mode=0o600, durable=False)
    except (OSError, ValueError, TypeError) as error:
        say(f"The run's lineage cannot be written: {error}")
