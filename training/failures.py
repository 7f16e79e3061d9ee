"""Names the reason of what went wrong in a run process. Python 3.8 syntax and library."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress

from ..errors import InvalidArguments, ModelyardError, PluginFailed, safe_str
from ..models_plugin.memory import is_out_of_memory, limit_in_words
from ..models_plugin.redaction import told_safely
from ..models_plugin.values import InvalidData
from ..schemas.states import Reason
from .messages import Failure

EXIT_DISK_FULL = 74
"""EX_IOERR, of a run process that may have had no room for its result either."""
DISK_FULL = (
    "The disk is full. What was saved before is kept: make room, then resume the run (or train"
    " again, where its model does not go on from checkpoints)."
)
_DISK_WORDS = ("no space left on device", "disk quota exceeded")


def failure_of(error: BaseException) -> Failure:
    """What is told of an exception that ended train(): its reason, words and traceback."""
    original = _original(error)
    failure = Failure(
        reason=Reason.PLUGIN_FAILED.value,
        message=error.message if isinstance(error, ModelyardError) else _in_words(error),
        original_type=type(original).__name__,
        traceback=_traceback(error),
    )
    refused = next((one for one in _chain(error) if isinstance(one, InvalidData)), None)
    if refused is not None:
        failure.reason = Reason.INVALID_DATA.value
        failure.message, failure.file, failure.line = str(refused), refused.file, refused.line
    elif isinstance(error, InvalidArguments):
        failure.message = f"The arguments are no longer valid: {error.errors}"
    elif any(is_out_of_memory(one) for one in _chain(error)):
        failure.reason = Reason.OUT_OF_MEMORY.value
        failure.message = f"Out of memory{limit_in_words()}: {_in_words(original)}"
    elif any(is_disk_full(one) for one in _chain(error)):
        failure.reason = Reason.DISK_FULL.value
        failure.message = f"{DISK_FULL} ({_in_words(original)})"
    return failure


def is_disk_full(error: BaseException) -> bool:
    """True for the system's own error, and for those of libraries that repeat its words."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    said = safe_str(error).lower()
    return any(words in said for words in _DISK_WORDS)


def _original(error: BaseException) -> BaseException:
    """The plugin's own exception behind one of ours."""
    cause = error.__cause__
    return cause if isinstance(error, ModelyardError) and cause is not None else error


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )


def _in_words(error: BaseException) -> str:
    text = safe_str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _traceback(error: BaseException) -> str:
    if isinstance(error, PluginFailed) and error.traceback:
        return error.traceback
    lines = traceback.format_exception(type(error), error, error.__traceback__, limit=40)
    return told_safely("".join(lines))[-20_000:]


def say(text: str | None = None) -> None:
    """A line on stderr, without `text` the traceback of what is handled.

    It is a log that may lie on the very disk that is full, or a stream that the plugin has closed
    or replaced, and nobody may fail for that.
    """
    with suppress(Exception):
        print(traceback.format_exc() if text is None else text, file=sys.stderr, flush=True)
