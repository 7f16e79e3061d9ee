"""Keeps secret arguments out of what is written down. Runs in the worker and the run process.

Python 3.8 syntax, standard library.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Callable, Optional  # noqa: UP035 - Python 3.8
from urllib.parse import quote, quote_plus

from ..schemas.description import FieldDescription

HIDDEN = "[secret]"
_SHORTEST = 4
"""Characters of a value that is blotted out in texts: a shorter one would be found everywhere."""
Hide = Optional[Callable[[str], str]]  # noqa: UP045 - Python 3.8


def hiding(values: Iterable[str]) -> Hide:
    """Puts HIDDEN in the place of these values in a text, as they are and as texts often write them
    (in JSON, in a repr, in a URL); None if there is nothing to hide."""
    forms = set()
    for value in values:
        if len(value.strip()) >= _SHORTEST:
            forms |= {value, value.strip(), json.dumps(value)[1:-1], repr(value)[1:-1]}
            forms |= {ascii(value)[1:-1], repr(value.encode(errors="replace"))[2:-1]}
            forms |= {quote(value, safe=""), quote(value), quote_plus(value)}
    if not forms:
        return None
    # The longest first: a value may be the beginning of another.
    pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))
    return lambda text: pattern.sub(HIDDEN, text)


def hidden_in(value: Any, hide: Hide) -> Any:
    """The same in every text of a JSON value."""
    if hide is None:
        return value
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, list):
        return [hidden_in(item, hide) for item in value]
    if isinstance(value, dict):
        return {hide(str(key)): hidden_in(item, hide) for key, item in value.items()}
    return value


class HidingOutput(io.TextIOWrapper):
    """Standard output or error in which a call's secrets are blotted out, a `write` at a time.

    What is written below Python, or by a program that the plugin starts, does not pass here. What a
    full disk does not take is lost: a line for the log is no reason for a call to fail.
    """

    hide: Hide = None

    def write(self, text: str) -> int:
        shown = self.hide(text) if self.hide is not None and isinstance(text, str) else text
        with _lost_if_full():
            super().write(shown)
        return len(text)

    def flush(self) -> None:
        with _lost_if_full():
            super().flush()


@contextlib.contextmanager
def _lost_if_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def hide_in_output(hide: Hide) -> None:
    """Has what is printed from now on pass through `hide`; None: as it is."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, HidingOutput):
            stream.hide = hide


def install_output() -> None:
    """Makes standard output and error such ones, line by line. What they cannot write they tell."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:
            encoding = stream.encoding
            own = HidingOutput(stream.detach(), encoding, "backslashreplace", line_buffering=True)
            setattr(sys, name, own)
            setattr(sys, f"__{name}__", own)


def secret_texts(value: Any, described: FieldDescription | None) -> list[str]:
    """What a value says in secret, as texts."""
    if described is None:
        return []
    if described.secret:
        return _texts(value)
    if isinstance(value, list):
        return [text for item in value for text in secret_texts(item, described.items)]
    if isinstance(value, dict):
        inner = {field.name: field for field in described.fields or ()}
        return [text for key, item in value.items() for text in secret_texts(item, inner.get(key))]
    return []


def _texts(value: Any) -> list[str]:
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _texts(item)]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return [str(value)]
    return []


def holds_secret(described: FieldDescription) -> bool:
    """True if the field's value is a secret, or may hold one further in."""
    inner = [*(described.fields or ()), *([described.items] if described.items else ())]
    return described.secret or any(holds_secret(field) for field in inner)


def without_secrets(value: Any, described: FieldDescription | None) -> Any:
    """A JSON value for a record, without what its description calls secret."""
    if described is None:
        return value
    if isinstance(value, list) and described.items is not None:
        return [without_secrets(item, described.items) for item in value]
    if isinstance(value, dict) and described.fields:
        inner = {field.name: field for field in described.fields}
        return {
            key: without_secrets(item, inner.get(key))
            for key, item in value.items()
            if not (key in inner and inner[key].secret)
        }
    return value
