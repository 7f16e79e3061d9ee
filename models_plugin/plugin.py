"""One face for every contract: what the worker and the run process know of a plugin.

`native.py` puts it before plugins of the native contract; another contract gets another adapter
with the same face, and nothing above this room notices. Python 3.8 syntax.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..schemas.description import ModelDescription
from ..schemas.transport import RequestData
from .contract import Run

NATIVE_GROUP = "modelyard.models"
DEEPAAS_GROUP = "deepaas.v2.model"
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")


@dataclass(frozen=True)
class PluginSource:
    """Where a plugin is found: an entry point, as plain data that crosses processes.

    `name` is the model's name in URLs; `value` is `package.module:attribute`; `problem` is set
    when discovery already knows that it cannot be served (two plugins of one name, say). `python`
    is the interpreter of an environment of its own, None for the server's. `urls` is where URLs
    that clients give may lead (`addresses.UrlRule`).
    """

    name: str
    value: str
    group: str = NATIVE_GROUP
    distribution: str | None = None
    distribution_version: str | None = None
    problem: str | None = None
    python: str | None = None
    urls: str = "any"

    def to_data(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> PluginSource:
        return cls(**data)


@dataclass
class Answer:
    """An encoded answer: `body`, or a file at `path` inside the folder of the call.

    `headers` are further ones of the HTTP answer.
    """

    content_type: str = "application/json"
    body: bytes = b""
    path: str | None = None
    filename: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Plugin(Protocol):
    """A loaded plugin. Made in a worker or a run process, never in the front.

    `which` is `"predict"` or `"train"`. Every method raises `PluginFailed` (with the original
    type's name and traceback) for what the plugin's own code raises, `PluginRefused` where that
    was an HTTP exception, and `NotSupported` for a missing function or `NotImplementedError`.
    """

    max_batch: int
    answer_limit: int
    """Bytes of one answer, 0 for no limit; set by who uses it."""

    def describe(self) -> ModelDescription:
        """Describes it as it is now: choices may have changed since the last call."""

    def load(self, weights: Path | None, device: str, warm: bool = True) -> None:
        """Loads the weights in this folder and, if `warm`, warms up.

        Raises Corrupt for a stored version that is not what it was, PluginFailed if the plugin has
        changed it.
        """

    def arguments(
        self, which: str, request: RequestData, pinned: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The validated arguments of a request.

        `pinned` holds recorded JSON values; they stand in for fields that the request lacks, so
        that a default made by a function is the same in the run process as in the record.
        Raises InvalidArguments, InvalidRequest and its children, NotSupported.
        """

    def fields_of(self, which: str) -> dict[str, Any]:
        """The author's fields of its arguments, by the names that clients use."""

    def record_of(self, which: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as JSON values for a record: no secrets, files by the client's name."""

    def secrets_of(self, which: str, arguments: Mapping[str, Any]) -> list[str]:
        """Names of the arguments that must not be stored or shown."""

    def secret_texts(self, which: str, request: RequestData) -> list[str]:
        """What a request gives for them, to be blotted out of texts. Raises nothing."""

    def predict(self, arguments: Mapping[str, Any]) -> Any:
        """One call's result."""

    def predict_batch(self, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Many calls' results, in order. Only with the capability `predict_batch`."""

    def train(self, run: Run, arguments: Mapping[str, Any]) -> Any:
        """Trains; what it returns is the output in the record."""

    def method(self, name: str) -> Callable[..., Any] | None:
        """An optional method of the author's object, for `tasks.py`; None if there is none.

        Raises PluginFailed if the name is something else than a method.
        """

    def answer(
        self,
        which: str,
        result: Any,
        arguments: Mapping[str, Any],
        folder: Path | str,
        request: RequestData | None = None,
    ) -> Answer:
        """Applies the response schema and encodes; large or file results go to `folder`.

        `request` is what `arguments` read: it may ask for another form than JSON.
        """
