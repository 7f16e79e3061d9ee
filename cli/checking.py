"""Checks one plugin in a process of its own, which may crash, hang or be stopped: findings too.

Nothing of it outlives this command, however that ends: the process ends with its parent
(PR_SET_PDEATHSIG), and what it has started is found by the mark that a server's children carry.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..models_plugin.checking import process
from ..models_plugin.checking.findings import FAULT, LEVELS, Finding, shortened
from ..models_plugin.environment import plugin_environment
from ..models_plugin.interpreter import command
from ..models_plugin.overheard import overhear
from ..models_plugin.plugin import MODEL_NAME, PluginSource
from ..models_plugin.scratch import OwnFolders
from ..records.home import Home
from ..serving.leftovers import Leftovers
from ..standstill import StoodStill
from .temporary import temporary_folder

_LINES_SHOWN, _SHOWN, _KEPT = 8, 2000, 20_000  # lines and characters; bytes
_REPORT_MAX = 64 * 1024**2  # bytes
_NAME_SHOWN = 120
_SERVER = "check"
"""In the place of a home's id: a check that was killed, with its sweep, is swept by the next."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass
class Outcome:
    """What a check came to."""

    source: PluginSource
    findings: list[Finding] = field(default_factory=list)

    @property
    def servable(self) -> bool:
        return not any(finding.level == FAULT for finding in self.findings)


def check_source(source: PluginSource, limit_s: float, home: Home | None = None) -> Outcome:
    """Checks it in a process of its own, which is ended after `limit_s` at the latest.

    Its temporary files lie in `home`, where that is one of this user's. On the main thread:
    PR_SET_PDEATHSIG fires when the thread that forked ends.
    """
    with temporary_folder(home) as folder, _report() as report:
        with nothing_left() as mark:
            code, last = _run(source, limit_s, report, folder, mark)
        return _outcome(source, _lines(report), code, limit_s, _last_lines(last))


@contextlib.contextmanager
def nothing_left() -> Iterator[dict[str, str]]:
    """Variables for the environment of a child: it is ended when the block is over, with all that
    it has started, and also where this process is killed."""
    leftovers = Leftovers(_SERVER, Path(os.devnull))
    try:
        yield leftovers.mark()
    finally:
        asyncio.run(leftovers.close())


def name_of(source: PluginSource) -> str:
    """A plugin's name to be read; quoted if it is none that a server takes."""
    return (
        source.name if MODEL_NAME.match(source.name) else repr(shortened(source.name, _NAME_SHOWN))
    )


def readable(text: str) -> str:
    """What a plugin has said, without the control characters by which a terminal is deceived."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


@contextlib.contextmanager
def _report() -> Iterator[int]:
    """A file in memory, which no full disk and no start of a server takes away."""
    descriptor = os.memfd_create("report", os.MFD_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _run(
    source: PluginSource, limit_s: float, report: int, folder: Path, mark: dict[str, str]
) -> tuple[int | str | None, bytes]:
    """The exit code (None: it had not ended, a text: how it stood), and its last output."""
    order = {
        "source": source.to_data(),
        # By our own descriptor of it: the module may close every one that it does not know.
        "report": f"/proc/{os.getpid()}/fd/{report}",
        "folder": str(Path.cwd()) if source.distribution is None else None,
        "parent": os.getpid(),
    }
    words = [*command(source.python, process.__name__), json.dumps(order)]
    last = bytearray()

    def keep(_: object, piece: bytes) -> None:
        last.extend(piece)
        del last[:-_KEPT]

    with subprocess.Popen(
        words,
        env={**plugin_environment(source, {}, folders=OwnFolders(folder)), **mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as child:
        try:
            code: int | str | None = overhear(child, limit_s, keep)
        except StoodStill:
            code = "stopped"
        finally:
            _end(child)
    return code, bytes(last)


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # its children too
    child.wait()


def _lines(report: int) -> list[dict[str, Any]]:
    text = os.pread(report, _REPORT_MAX, 0).decode("utf-8", "replace")
    # Without what stands behind the last newline: the process may have been ended while it wrote.
    return [json.loads(line) for line in text.split("\n")[:-1]]


def _last_lines(output: bytes | bytearray) -> str:
    text = output.decode("utf-8", "replace")
    return "\n".join(text.strip().splitlines()[-_LINES_SHOWN:])[-_SHOWN:]


def _outcome(
    source: PluginSource,
    lines: Sequence[dict[str, Any]],
    code: int | str | None,
    limit_s: float,
    last: str,
) -> Outcome:
    group, doing, ended = source.group, "starting", False
    findings = []
    for line in lines:
        group = line.get("group", group)
        doing = line.get("doing", doing)
        ended = ended or "end" in line
        if "finding" in line:
            findings.append(Finding(**line["finding"]))
    if not ended:
        findings.append(_broken_off(doing, code, limit_s, last))
    named = PluginSource(**{**source.to_data(), "group": group})
    findings.sort(key=lambda finding: list(LEVELS).index(finding.level))
    return Outcome(named, findings)


def _broken_off(doing: str, code: int | str | None, limit_s: float, last: str) -> Finding:
    if code is None:
        what = f"It was still {doing} after {limit_s:g} s."
        remedy = "See what it waits for (a download, an input, a lock), or give it --timeout."
    elif isinstance(code, str):
        what = f"It was stopped by a signal (SIGSTOP) while {doing}, and did not go on."
        remedy = "See what sends that signal: a worker that is stopped is ended."
    elif code < 0:
        what = f"It crashed while {doing}: {signal.Signals(-code).name}."
        remedy = "Often two libraries that do not fit: see its last lines, and their releases."
    else:
        what = f"It ended its process while {doing} (exit code {code})."
        remedy = "Let a module never end its process: that ends the worker it runs in."
    if last:
        what += f" Its last lines:\n{last}"
    return Finding(FAULT, "broken-off", what, "", remedy)
