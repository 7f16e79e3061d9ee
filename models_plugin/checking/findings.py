"""What a check has found, and the file by which it tells so: one line of JSON each.

The process that checks may crash, hang or be ended by the module: what was found before stands in
the file, and what it was doing. Standard library only, Python 3.8 syntax.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_LONGEST = 2000  # characters: as of what a model's exceptions say elsewhere
FAULT, DIFFERS, NOTE = "fault", "differs", "note"
LEVELS = {FAULT: "will not work", DIFFERS: "works differently", NOTE: "good to know"}


@dataclass
class Finding:
    """`code` is for machines; `what` and `remedy` are sentences; `where` is a place or empty."""

    level: str
    code: str
    what: str
    where: str = ""
    remedy: str = ""

    def to_data(self) -> dict[str, Any]:
        return asdict(self)


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Its beginning, with a word on what was left out; an exception's text may be megabytes."""
    more = len(text) - longest
    return text if more <= 0 else f"{text[:longest]}... ({more} more characters)"


class Report:
    """Written by the process that checks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.findings: list[Finding] = []

    def doing(self, text: str) -> None:
        self._write({"doing": shortened(text)})

    def contract(self, group: str) -> None:
        self._write({"group": group})

    def add(self, level: str, code: str, what: str, where: str = "", remedy: str = "") -> None:
        finding = Finding(level, code, *map(shortened, (what, where, remedy)))
        if finding not in self.findings:  # predict and train often share their arguments
            self.findings.append(finding)
            self._write({"finding": finding.to_data()})

    @property
    def has_faults(self) -> bool:
        return any(finding.level == FAULT for finding in self.findings)

    def end(self) -> None:
        self._write({"end": True})

    def _write(self, line: dict[str, Any]) -> None:
        # Opened each time: the module may close every descriptor that it does not know.
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
