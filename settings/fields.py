"""Kinds of settings: what a text in a file, a variable or a flag may say. Numbers are
`numbers.py`'s, addresses `addresses.py`'s."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from marshmallow import ValidationError, fields

_RANGE = re.compile(r"\s*(\d{1,5})(?:-(\d{1,5}))?\s*\Z")
_ONLINE = Path("/sys/devices/system/cpu/online")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def about(text: str, *aliases: str, **more: Any) -> dict[str, Any]:
    """The metadata of a setting: what its help says, other spellings of its flag."""
    return {"description": text, "aliases": aliases, **more}


class Text(fields.String):
    """A text that says something: not empty, and without control characters."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, *args, **kwargs)).strip()
        if not text:
            raise ValidationError("It is empty: give it a value, or leave the setting out.")
        if _CONTROL.search(text):
            raise ValidationError("It holds a control character: write it anew.")
        return text


class NameList(fields.List):
    """A list that a flag or variable may give as one text, divided by commas: each item once."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list | tuple):
            if not all(isinstance(text, str) for text in texts):
                raise ValidationError("Write names: texts, divided by commas or in a list.")
            texts = [part.strip() for text in texts for part in text.split(",")]
            if not all(texts):
                raise ValidationError(
                    "A name is empty: take out the comma too many, or leave the setting out."
                )
        found = tuple(super()._deserialize(texts, *args, **kwargs))
        twice = [name for place, name in enumerate(found) if name in found[:place]]
        if twice:
            raise ValidationError(f"{twice[0]!r} is named twice: once is enough.")
        return found


class LocalPath(fields.String):
    """A path as text; `~` is the user's home."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = os.fspath(value) if isinstance(value, os.PathLike) else value
        text = super()._deserialize(text, *args, **kwargs)
        if not text.strip():
            raise ValidationError("It is empty: name a path, or leave the setting out.")
        if _CONTROL.search(text):
            raise ValidationError("It holds a control character: write it anew.")
        try:
            return Path(text).expanduser().absolute()
        except RuntimeError as error:
            raise ValidationError(
                f"There is no user {text.partition('/')[0]!r} here: write the whole path."
            ) from error


class Switch(fields.Boolean):
    """On or off, in any letters: `True`, `on`, `yes`, `1`, as oslo.config takes them too."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = value.strip().lower() if isinstance(value, str) else value
        return super()._deserialize(text, *args, **kwargs)


class CpuSet(fields.String):
    """CPUs as cpuset(7) writes lists, `0-3,6`, out of those that this process may use.

    Loaded as their numbers, each once and in rising order.
    """

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        whole = isinstance(value, int) and not isinstance(value, bool)  # of TOML
        text = super()._deserialize(str(value) if whole else value, *args, **kwargs)
        if not text.strip():
            raise ValidationError(
                'No CPU is named: write a list like "0-3,6", or leave the setting out.'
            )
        cpus = parse_cpus(text)
        present, allowed = _present_cpus(), os.sched_getaffinity(0)
        missing = [cpu for cpu in cpus if cpu not in present | allowed]
        if missing:
            raise ValidationError(
                f"This machine has no CPU {written_cpus(missing)}: it has {written_cpus(present)}."
            )
        foreign = [cpu for cpu in cpus if cpu not in allowed]
        if foreign:
            raise ValidationError(
                f"The server itself may not use CPU {written_cpus(foreign)}, only "
                f"{written_cpus(allowed)}: name some of those, or start it with more (taskset, "
                "CPUAffinity= of systemd, --cpuset-cpus of a container)."
            )
        return cpus


def parse_cpus(text: str) -> tuple[int, ...]:
    """The numbers in a list as cpuset(7) writes it, rising. Raises ValidationError."""
    cpus: set[int] = set()
    for part in text.split(","):
        match = _RANGE.match(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise ValidationError('Not a list of CPUs: write it like "0-3,6".')
        cpus.update(range(first, last + 1))
    return tuple(sorted(cpus))


def written_cpus(cpus: Iterable[int]) -> str:
    """The list as cpuset(7) writes it: `0-3,6`."""
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def _present_cpus() -> set[int]:
    try:
        return set(parse_cpus(_ONLINE.read_text()))
    except (OSError, ValidationError):  # a sandbox without /sys
        return set(range(os.cpu_count() or 1))
