"""Keeps secret arguments out of what is written down. Runs in the worker and the run process.

Python 3.8 syntax, standard library.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Callable, Optional  # noqa: UP035 - Python 3.8
from urllib.parse import quote, quote_plus

HIDDEN = "[secret]"
_SHORTEST = 4
"""Characters of a value that is blotted out in texts: a shorter one would be found everywhere."""
_MOST = 2000
"""Values up to which a text is looked through for each; with more of them none of it is told."""
_LONGEST_IN_URL = 10_000
"""Characters; servers take fewer. To quote a megabyte takes a tenth of a second."""
_MARK = "\ufdd0"
"""A character that is none (Unicode, 23.7): HIDDEN itself might hold a further value."""
Hide = Optional[Callable[[str], str]]  # noqa: UP045 - Python 3.8


def hiding(values: Iterable[str]) -> Hide:
    """Puts HIDDEN in the place of these values in a text, as they are and as texts often write them
    (in JSON, in a repr, in a URL); None if there is nothing to hide.

    Its cost grows with the length of the values and of the text. (One regular expression of all the
    forms took 12 s and 700 MB for a value of 1 MB.)
    """
    secrets = {value for value in values if len(value.strip()) >= _SHORTEST}
    if not secrets:
        return None
    if len(secrets) > _MOST:
        return lambda text: HIDDEN
    # The longest first: a value may be the beginning of another.
    forms = sorted({form for value in secrets for form in _forms(value)}, key=len, reverse=True)

    def hide(text: str) -> str:
        hidden = text
        for form in forms:
            hidden = hidden.replace(form, _MARK)
        return text if hidden is text else hidden.replace(_MARK, HIDDEN)

    return hide


def _forms(value: str) -> set[str]:
    forms = {value, value.strip(), json.dumps(value)[1:-1], repr(value)[1:-1]}
    forms |= {ascii(value)[1:-1], repr(value.encode(errors="replace"))[2:-1]}
    if len(value) <= _LONGEST_IN_URL:
        # Bytes of a header that are no UTF-8 are no characters that a URL could have.
        told = value.encode(errors="replace")
        forms |= {quote(told, safe=""), quote(told), quote_plus(told)}
    return forms


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


_HIDING: ContextVar[Hide] = ContextVar("hiding", default=None)


def hide_in_words(hide: Hide) -> None:
    """What is told of errors by this thread from now on is without those secrets: of a text that is
    cut before its end they could not be found any more."""
    _HIDING.set(hide)


def told_safely(text: str) -> str:
    """A text about an error, whole, as it may be told or cut."""
    hide = _HIDING.get()
    return text if hide is None else hide(text)


def all_told_safely(messages: Any) -> Any:
    """The same for every text in a JSON value."""
    return hidden_in(messages, _HIDING.get())


def hide_in_output(hide: Hide) -> None:
    """Has what is printed from now on pass through `hide`, and words of errors; None: as it is."""
    hide_in_words(hide)
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


def reopened_output(descriptor: int) -> HidingOutput:
    """Such a stream anew, in the place of one that was closed. The descriptor is never closed."""
    binary = open(descriptor, "wb", closefd=False)  # noqa: SIM115 - it stays open
    return HidingOutput(binary, "utf-8", "backslashreplace", line_buffering=True)
