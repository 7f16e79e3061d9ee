"""Puts the plugin's face before an object of the native contract, after checking it.

Runs in workers and run processes. Each mistake is told with the plugin, the field and the remedy.
Python 3.8 syntax.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import marshmallow

from ..errors import NotSupported, PluginFailed
from ..schemas.checking import ContractFault, check_schema
from ..schemas.description import FieldDescription, ModelDescription
from ..schemas.introspect import describe_schema
from ..schemas.tensors import NPY, answer_tensor
from ..schemas.transport import RequestData
from .accept import choose
from .answers import JSON, bytes_answer, file_answer, json_answer, json_value
from .arguments import Arguments
from .contract import Run
from .inference import Wanted, named_arrays, read_request, unnamed_array, write_answer
from .npy import document_of_array, npy_bytes
from .plain import PlainArguments, plain_arguments
from .plugin import Answer, PluginSource
from .refusals import plugin_code
from .stored_weights import StoredWeights

_FORMAT = re.compile(r"[a-z0-9_]{1,50}\Z")
_FORMS = {
    "load": "load(self, weights, device)",
    "warm": "warm(self)",
    "export": "export(self, format, folder)",
    "read_dataset": "read_dataset(self, folder)",
}


class NativePlugin:
    """See `plugin.Plugin`. Raises PluginFailed if the object does not keep the contract."""

    def __init__(self, source: PluginSource, target: Any) -> None:
        self._source = source
        self.answer_limit = 0
        self._target = target
        self._can_predict = self.method("predict") or self.method("predict_batch")
        self._can_train = self.method("train")
        if not (self._can_predict or self._can_train):
            raise self._fault(
                "it has neither a predict() nor a train() method",
                "Write predict(self, **arguments), train(self, run, **arguments), or both.",
            )
        self.max_batch = self._checked_max_batch()
        self._schemas: dict[str, marshmallow.Schema | None] = {}
        self._fields: dict[str, list[FieldDescription] | None] = {}
        self._arguments: dict[str, Arguments] = {}
        self._plain: dict[str, PlainArguments | None] = {}
        self._read_schemas()
        for method, which, first in (
            ("predict", "predict", 0),
            ("train", "train", 1),
        ):
            if self.method(method):
                self._check_signature(method, which, first)
        for name, count in (("load", 2), ("warm", 0), ("export", 2), ("read_dataset", 1)):
            self._check_positions(name, count)

    # -- describing ---------------------------------------------------------------------------

    def describe(self) -> ModelDescription:
        self._read_schemas()
        accept = next(
            (f for f in self._fields["predict_arguments"] or () if f.name == "accept"), None
        )
        return ModelDescription(
            name=self._source.name,
            contract="native",
            metadata=self._metadata(),
            predict_arguments=self._fields["predict_arguments"] if self._can_predict else None,
            train_arguments=self._fields["train_arguments"] if self._can_train else None,
            predict_response=self._fields["predict_response"],
            train_response=self._fields["train_response"],
            content_types=self._content_types(accept),
            capabilities=self._capabilities(),
            export_formats=self._export_formats(),
            distribution=self._source.distribution,
            distribution_version=self._source.distribution_version,
        )

    def _content_types(self, accept: FieldDescription | None) -> list[str]:
        if accept is not None and accept.choices:
            return [str(choice) for choice in accept.choices]
        one_tensor = accept is None and answer_tensor(self._fields["predict_response"])
        return [JSON, NPY] if one_tensor else [JSON]

    def _capabilities(self) -> list[str]:
        words = [
            ("predict", self._can_predict),
            ("predict_batch", self.method("predict_batch")),
            ("train", self._can_train),
            ("weights_optional", bool(getattr(self._target, "weights_optional", False))),
            ("read_dataset", self.method("read_dataset")),
            ("torch", "torch" in sys.modules),
        ]
        if not self.method("load"):
            words[3] = ("weights_optional", True)
        return [word for word, true in words if true]

    def _export_formats(self) -> list[str]:
        said = getattr(self._target, "export_formats", ())
        if not isinstance(said, (list, tuple)) or any(not isinstance(one, str) for one in said):
            raise self._fault(
                f"export_formats is {said!r}", 'Make it a tuple of names, such as ("onnx",).'
            )
        if any(_FORMAT.match(name) is None for name in said):
            raise self._fault(
                f"export_formats is {list(said)}",
                "Name formats in at most 50 small letters, digits and underscores.",
            )
        return list(said) if self.method("export") else []

    def _metadata(self) -> dict[str, Any]:
        value = getattr(self._target, "metadata", {})
        if callable(value):
            with plugin_code("describing itself (metadata)"):
                value = value()
        if not isinstance(value, Mapping):
            raise self._fault(
                f"its metadata is {type(value).__name__}, not a dict",
                "Make metadata a dict of JSON values, or a method that returns one.",
            )
        return dict(json_value(dict(value)))

    def _read_schemas(self) -> None:
        for part in ("predict_arguments", "predict_response", "train_arguments", "train_response"):
            value = getattr(self._target, part, {} if part.endswith("arguments") else None)
            if callable(value) and not isinstance(value, type):
                with plugin_code(f"making its {part}"):
                    value = value()
            if value is None:
                self._schemas[part] = self._fields[part] = None
                continue
            try:
                schema = check_schema(value, part)
                self._schemas[part] = schema
                self._fields[part] = describe_schema(schema, part.endswith("_response"))
            except ContractFault as fault:
                raise self._fault(
                    "{}: {}".format(
                        ".".join(filter(None, [fault.where, fault.field])), fault.problem
                    ),
                    fault.remedy,
                ) from fault
        for which in ("predict", "train"):
            schema = self._schemas[which + "_arguments"] or check_schema({}, which + "_arguments")
            fields = self._fields[which + "_arguments"] or []
            self._arguments[which] = arguments = Arguments(schema, fields)
            self._plain[which] = plain_arguments(schema, arguments.slots)

    # -- calls --------------------------------------------------------------------------------

    def load(self, weights: Path | None, device: str, warm: bool = True) -> None:
        stored = None if weights is None else StoredWeights(weights)
        if stored is not None:
            stored.open()
        try:
            with plugin_code("loading its weights"):
                if self.method("load"):
                    self._target.load(weights, device)
        except PluginFailed as error:
            raise (error if stored is None else stored.explained(error)) from error.__cause__
        with plugin_code("warming up"):
            if warm and self.method("warm"):
                self._target.warm()
        if stored is not None:
            stored.check()

    def arguments(
        self, which: str, request: RequestData, pinned: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        if not (self._can_predict if which == "predict" else self._can_train):
            raise NotSupported(f"The model {self._source.name!r} cannot {which}.")
        fields = self._fields[which + "_arguments"] or []
        if request.kind == "tensor":
            request = replace(request, document=document_of_array(request, fields), raw=None)
        elif request.kind == "infer":
            request.document, request.wanted = read_request(request, fields)
        with plugin_code("checking its arguments"):
            plain = None if pinned else self._plain[which]
            loaded = None if plain is None else plain.load(request)
            return self._arguments[which].load(request, pinned) if loaded is None else loaded

    def fields_of(self, which: str) -> dict[str, Any]:
        return self._arguments[which].declared()

    def record_of(self, which: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return self._arguments[which].record(arguments)

    def secrets_of(self, which: str, arguments: Mapping[str, Any]) -> list[str]:
        return self._arguments[which].secrets(arguments)

    def secret_texts(self, which: str, request: RequestData) -> list[str]:
        return self._arguments[which].secret_texts(request) if which in self._arguments else []

    def predict(self, arguments: Mapping[str, Any]) -> Any:
        if not self.method("predict"):
            return self.predict_batch([arguments])[0]
        with plugin_code("predicting"):
            return self._target.predict(**arguments)

    def predict_batch(self, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
        with plugin_code("predicting a batch"):
            answers = list(self._target.predict_batch([dict(call) for call in calls]))
        if len(answers) != len(calls):
            raise PluginFailed(
                f"predict_batch() of the model {self._source.name!r} got {len(calls)} calls "
                f"and returned {len(answers)} answers."
            )
        return answers

    def train(self, run: Run, arguments: Mapping[str, Any]) -> Any:
        with plugin_code("training"):
            return self._target.train(run, **arguments)

    def method(self, name: str) -> Callable[..., Any] | None:
        value = getattr(self._target, name, None)
        if value is not None and not callable(value):
            raise self._fault(
                f"{name} is {type(value).__name__}, not a method",
                f"Make {name} a method, or rename it.",
            )
        return value

    def answer(
        self,
        which: str,
        result: Any,
        arguments: Mapping[str, Any],
        folder: Path | str,
        request: RequestData | None = None,
    ) -> Answer:
        if request is not None and request.kind == "infer":
            return self._inferred(result, request.wanted, folder)
        if request is not None and "npy" in request.accept and "accept" not in arguments:
            array = self._tensor_of(result, request.accept)
            if array is not None:
                return bytes_answer(npy_bytes(array), NPY, folder, self.answer_limit)
        file = file_answer(result, arguments.get("accept"), folder, self.answer_limit)
        if file is not None:
            return file
        schema = self._schemas[which + "_response"]
        if schema is not None:
            return json_answer(self._checked(schema, result, which), folder, self.answer_limit)
        if which == "predict":
            result = {"status": "OK", "predictions": result}
        return json_answer(result, folder, self.answer_limit)

    def _inferred(self, result: Any, wanted: Wanted, folder: Path | str) -> Answer:
        with plugin_code("encoding its answer"):
            told = write_answer(
                result, self._schemas["predict_response"], wanted, self._source.name
            )
        answer = bytes_answer(told.body, told.content_type, folder, self.answer_limit)
        answer.headers = told.headers
        return answer

    def _tensor_of(self, result: Any, accept: str) -> Any:
        """The array that is the whole answer, if the client likes `.npy` best; else None."""
        if choose(accept, [JSON, NPY]) != NPY:
            return None
        fields = self._fields["predict_response"]
        if fields is None:
            return unnamed_array(result) if hasattr(result, "dtype") else None
        if answer_tensor(fields) is None:
            return None
        with plugin_code("encoding its answer"):
            schema = self._schemas["predict_response"]
            assert schema is not None
            return next(iter(named_arrays(result, schema).values()))

    def _checked(self, schema: marshmallow.Schema, result: Any, which: str) -> Any:
        with plugin_code("encoding its answer"):
            dumped = schema.dump(result)
            # Finds what dump() lets pass: wrong values, and required members that are missing. What
            # is only dumped is "unknown" to validate(), and never an error of a dumped answer.
            unknown = [str(schema.error_messages["unknown"])]
            faults = _without(schema.validate(json_value(dumped), partial=False), unknown)
        if faults:
            raise PluginFailed(
                "The model's answer does not fit its own {}_response schema: {}".format(
                    which, "; ".join(f"{key}: {faults[key]}" for key in faults)
                )
            )
        return dumped

    # -- the contract -------------------------------------------------------------------------

    def _checked_max_batch(self) -> int:
        value = getattr(self._target, "max_batch", 32)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self._fault(f"max_batch is {value!r}", "Make max_batch a whole number from 1.")
        return value

    def _check_signature(self, method: str, which: str, leading: int) -> None:
        """Compares a method's parameters with the fields of its schema."""
        schema = self._schemas[which + "_arguments"]
        declared = (
            {field.attribute or name for name, field in schema.load_fields.items()}
            if schema
            else set()
        )
        parameters = list(_parameters(getattr(self._target, method)))
        if leading and not parameters:
            raise self._fault(f"{method}() takes no run", f"Write {method}(self, run, ...).")
        parameters = parameters[leading:]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        named = {p.name: p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        for name in sorted(declared - set(named)):
            if not takes_any:
                raise self._fault(
                    f"{which}_arguments.{name}: {method}() does not take this argument",
                    f"Add the parameter {name!r} to {method}(), or take **arguments.",
                )
        for name, parameter in named.items():
            if parameter.default is parameter.empty and name not in declared:
                raise self._fault(
                    f"{method}() needs {name!r}, which {which}_arguments does not declare",
                    f"Add a field {name!r} to {which}_arguments, or give the parameter a default.",
                )

    def _check_positions(self, name: str, count: int) -> None:
        method = self.method(name)
        if method is None:
            return
        try:
            inspect.signature(method).bind(*[None] * count)
        except TypeError as error:
            raise self._fault(
                f"{name}() cannot be called with {count} arguments ({error})",
                f"Write {_FORMS[name]}.",
            ) from error
        except ValueError:  # a built-in without a signature: believed
            return

    def _fault(self, problem: str, remedy: str) -> PluginFailed:
        return PluginFailed(
            "Model {!r} ({}): {}. {}".format(
                self._source.name, self._source.value, problem.rstrip("."), remedy
            ),
            original_type="ContractFault",
        )


def _without(faults: Any, messages: list[str]) -> Any:
    """Error messages by member without those that are exactly `messages`."""
    if not isinstance(faults, Mapping):
        return faults
    kept = {key: _without(value, messages) for key, value in faults.items() if value != messages}
    return {key: value for key, value in kept.items() if value}


def _parameters(method: Callable[..., Any]) -> Sequence[inspect.Parameter]:
    try:
        return list(inspect.signature(method).parameters.values())
    except (TypeError, ValueError):
        return []
