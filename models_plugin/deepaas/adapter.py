"""Puts the plugin's face before a DEEPaaS module, which need not know of it.

A module offers some of `get_metadata, warm, get_train_args, train, get_predict_args, predict,
schema`, as a module, a class or an object. Runs in workers and run processes. Python 3.8 syntax,
marshmallow 3 or 4.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import marshmallow

from ...errors import InvalidArguments, NotSupported, PluginFailed
from ...schemas.description import FieldDescription, ModelDescription
from ...schemas.transport import RequestData
from ..answers import JSON, json_answer, json_value
from ..contract import Run
from ..plugin import Answer, PluginSource
from ..refusals import plugin_code, told
from . import training
from .arguments import OldArguments, describe, schema_of
from .files import as_module_knows
from .results import file_answer

_TOLD = ("Summary", "Author", "Author-email", "License", "Home-page")
_READ_AGAIN_S = 1.0
"""Refused arguments have the declarations read anew, but not more often than this."""


class DeepaasPlugin:
    """See `plugin.Plugin`. Raises PluginFailed where DEEPaaS would not start either."""

    max_batch = 1

    def __init__(self, source: PluginSource, target: Any) -> None:
        self._source = source
        self.answer_limit = 0
        self._target = target
        self._reading = threading.Lock()  # the side thread describes while the main one predicts
        self._arguments: dict[str, OldArguments] = {}
        self._fields: dict[str, list[FieldDescription]] = {}
        self._read_at = 0.0
        self._response = self._response_schema()
        self._read()

    # -- describing ---------------------------------------------------------------------------

    def describe(self) -> ModelDescription:
        self._read()
        fields = self._fields
        accept = next((field for field in fields["predict"] if field.name == "accept"), None)
        choices = [str(one) for one in (accept.choices or ()) if one != "*/*"] if accept else []
        response = None if self._response is None else describe(self._response, response=True)
        return ModelDescription(
            name=self._source.name,
            contract="deepaas",
            metadata=self._metadata(),
            predict_arguments=fields["predict"] if self._has("predict") else None,
            train_arguments=fields["train"] if self._has("train") else None,
            predict_response=response,
            content_types=choices or [JSON],
            capabilities=self._capabilities(),
            distribution=self._source.distribution,
            distribution_version=self._source.distribution_version,
        )

    def _capabilities(self) -> list[str]:
        words = [
            ("predict", self._has("predict")),
            ("train", self._has("train")),
            ("weights_optional", True),
            ("torch", "torch" in sys.modules),
        ]
        return [word for word, true in words if true]

    def metadata(self) -> dict[str, Any]:
        """What get_metadata() says. Raises NotSupported, or what tells its failure.

        A value without a JSON form is left out: the others are still worth something.
        """
        if not self._has("get_metadata"):
            raise NotSupported("it has no get_metadata()")
        with plugin_code("describing itself (get_metadata)"):
            said = dict(self._target.get_metadata())
        told = {}
        for key, value in said.items():
            try:
                told.update(json_value({key: value}))
            except PluginFailed as error:
                print(f"get_metadata(): {key!r} is not shown: {error}", file=sys.stderr, flush=True)
        return told

    def _metadata(self) -> dict[str, Any]:
        """What the module says; one that fails to say it can still predict."""
        try:
            return self.metadata()
        except Exception as error:
            problem = str(error)
        name = self._source.name
        about = f"Could not load description from underlying model (loaded '{name}'): {problem}"
        return {"name": name, "description": about, **self._packaged()}

    def _packaged(self) -> dict[str, str]:
        """What the metadata of its distribution says, for a module that says nothing itself."""
        try:
            found = metadata.metadata(self._source.distribution or "")
        except (metadata.PackageNotFoundError, ValueError):
            return {}
        told = {name.lower(): found[name] for name in _TOLD if found.get(name)}  # type: ignore[attr-defined]
        return {name: str(text) for name, text in told.items() if text != "UNKNOWN"}

    def _read(self) -> None:
        """Asks the module for its arguments, as they are now."""
        with self._reading:
            for which in ("predict", "train"):
                schema = self._schema(f"get_{which}_args")
                fields = describe(schema)
                if which == "predict":
                    for field in fields:
                        _tidy_accept(field)
                self._fields[which] = fields
                self._arguments[which] = OldArguments(schema, fields)
            self._read_at = time.monotonic()

    def _schema(self, function: str) -> marshmallow.Schema:
        declared: Any = {}
        if self._has(function):
            try:
                declared = getattr(self._target, function)()
            except (NotImplementedError, AttributeError) as error:
                # As DEEPaaS: without arguments. It says nothing; here the log does.
                if isinstance(error, AttributeError):
                    print(f"{function}() failed: {error}", file=sys.stderr, flush=True)
            except (Exception, SystemExit) as error:
                raise told(error, f"declaring its arguments ({function})") from error
        try:
            return schema_of({} if declared is None else declared)
        except Exception as error:  # marshmallow and the module's own fields raise anything
            raise self._fault(
                f"what {function}() returns is no set of arguments: {error}",
                "Return a dict of webargs or marshmallow fields.",
            ) from error

    def _response_schema(self) -> marshmallow.Schema | None:
        declared = getattr(self._target, "schema", None)
        if declared is None:
            return None
        try:
            return schema_of(declared)
        except Exception as error:
            raise self._fault(
                f"its response schema cannot be used: {error}",
                "Make `schema` a dict of marshmallow fields, a Schema class, or None.",
            ) from error

    # -- calls --------------------------------------------------------------------------------

    def load(self, weights: Path | None, device: str, warm: bool = True) -> None:
        """Old modules choose weights and device themselves: only warms up."""
        if not (warm and self._has("warm")):
            return
        try:
            with plugin_code("warming up"):
                self._target.warm()
        except NotSupported:
            return

    def arguments(
        self, which: str, request: RequestData, pinned: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        if not self._has(which):
            raise NotSupported(
                f"Not implemented by underlying model (loaded {self._source.name!r}): it has no "
                f"{which}()."
            )
        with plugin_code("checking its arguments"):
            try:
                return self._arguments[which].load(request, pinned)
            except InvalidArguments:
                # A choice may have come since, such as a file in the module's model folder.
                if time.monotonic() < self._read_at + _READ_AGAIN_S:
                    raise
                self._read()
                return self._arguments[which].load(request, pinned)

    def fields_of(self, which: str) -> dict[str, Any]:
        return self._arguments[which].declared()

    def record_of(self, which: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return self._arguments[which].record(arguments)

    def secrets_of(self, which: str, arguments: Mapping[str, Any]) -> list[str]:
        return self._arguments[which].secrets(arguments)

    def secret_texts(self, which: str, request: RequestData) -> list[str]:
        return self._arguments[which].secret_texts(request) if which in self._arguments else []

    def predict(self, arguments: Mapping[str, Any]) -> Any:
        with plugin_code("predicting"):
            result = self._target.predict(**self._as_module_knows("predict", arguments))
            if isinstance(result, Exception) and hasattr(result, "status"):
                raise result  # `return HTTPBadRequest(...)`
            return result

    def predict_batch(self, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
        return [self.predict(call) for call in calls]

    def train(self, run: Run, arguments: Mapping[str, Any]) -> Any:
        given = self._as_module_knows("train", arguments)
        with plugin_code("training"):
            return training.train(run, lambda: self._target.train(**given))

    def train_alone(self, arguments: Mapping[str, Any]) -> Any:
        """The module's train() as it is, for the command line.

        No server shows what it writes there or keeps it: its own TensorBoard is to start, and its
        files stay where it puts them.
        """
        given = self._as_module_knows("train", arguments)
        with plugin_code("training"):
            return self._target.train(**given)

    def method(self, name: str) -> None:
        """The optional methods are of the native contract: what has their name here is no such."""

    def answer(
        self,
        which: str,
        result: Any,
        arguments: Mapping[str, Any],
        folder: Path | str,
        request: RequestData | None = None,
    ) -> Answer:
        if which == "train":
            return json_answer(result, folder, self.answer_limit)
        wanted = str(arguments.get("accept") or JSON)
        answer = file_answer(result, wanted, Path(folder), self.answer_limit)
        if answer is not None:
            return answer
        if self._response is not None:
            self._check_response(result)
            return json_answer(result, folder, self.answer_limit)
        told = {"status": "OK", "predictions": result}
        return json_answer(told, folder, self.answer_limit)

    def _check_response(self, result: Any) -> None:
        """As DEEPaaS: the schema reads the answer, and the answer leaves as it was."""
        assert self._response is not None
        try:
            with plugin_code("encoding its answer"):
                self._response.load(json_value(result))
        except InvalidArguments as error:
            faults = "; ".join(f"{key}: {error.errors[key]}" for key in error.errors)
            raise PluginFailed(
                f"The model's answer does not fit its own response schema: {faults}"
            ) from error

    def _as_module_knows(self, which: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if not self._arguments[which].has_files:
            return dict(arguments)
        return {name: as_module_knows(value) for name, value in arguments.items()}

    def _has(self, name: str) -> bool:
        return callable(getattr(self._target, name, None))

    def _fault(self, problem: str, remedy: str) -> PluginFailed:
        return PluginFailed(
            f"Model {self._source.name!r} ({self._source.value}): {problem.rstrip('.')}. {remedy}",
            original_type="ContractFault",
        )


def _tidy_accept(field: FieldDescription) -> None:
    """`*/*` is no content type, and the header fills what the argument does not say."""
    if field.name != "accept" or not field.choices:
        return
    field.choices = [choice for choice in field.choices if choice != "*/*"]
    field.required, field.place = False, "any"
    if field.default not in field.choices and field.choices:
        field.has_default, field.default = True, field.choices[0]
