"""From a request's plain parts to validated arguments, by the plugin's own marshmallow schema.

Runs in the worker and in the run process. Places are looked in as DEEPaaS clients expect: query
over form over JSON, repeated names make lists; a field's `location` narrows it to one place.
Python 3.8 syntax, marshmallow 3 or 4.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import marshmallow

from ..errors import (
    InvalidArguments,
    InvalidRequest,
    ModelyardError,
    NotAcceptable,
    PluginFailed,
    UnsupportedMediaType,
)
from ..schemas.description import FieldDescription
from ..schemas.exactjson import beyond_floats, loads, nested_deeply
from ..schemas.jsonform import json_form
from ..schemas.secrecy import holds_secret, secret_texts, without_secrets
from ..schemas.tensors import BARE, NPY, body_tensor
from ..schemas.transport import FilePart, RequestData
from .accept import choose
from .answers import json_value
from .redaction import all_told_safely
from .values import UploadedFile, uploaded_file

_STRUCTURED = ("list", "dict", "object", "tensor")
_TEXT = ("string", "any", "url", "email")
_ITEMS_SHOWN = 1000
"""Numbers of a tensor up to which a record shows them; a larger one shows its shape and dtype."""


@dataclass
class Slot:
    """Where one field's value may come from."""

    key: str
    place: str
    kind: str
    nullable: bool
    item_kind: str | None

    def looks_in(self, place: str) -> bool:
        return self.place == place or (self.place == "any" and place != "headers")

    @property
    def is_file(self) -> bool:
        return self.kind == "file" or self.item_kind == "file"


_WORDS = {list: "an array", str: "a text", bool: "a truth value", type(None): "null"}
_MOST_UNKNOWN, _LONGEST_COMPARED = 50, 100
"""Unknown names that are told, and characters of one that is compared with the known ones."""


class Arguments:
    """One schema's way from requests to keyword arguments.

    `strict` refuses names that the schema does not know, with the nearest one that it does.
    """

    def __init__(
        self,
        schema: marshmallow.Schema,
        fields: Sequence[FieldDescription],
        strict: bool = True,
    ) -> None:
        self._schema = schema
        self._strict = strict
        self.slots = {
            field.name: Slot(
                field.name,
                field.place,
                field.kind,
                field.nullable,
                field.items.kind if field.kind == "list" and field.items else None,
            )
            for field in fields
        }
        self._accepts = next((field for field in fields if field.name == "accept"), None)
        self._secret = {field.name for field in fields if field.secret}
        self._holding_secrets = {field.name for field in fields if holds_secret(field)}
        self._described = {field.name: field for field in fields}

    def load(self, request: RequestData, pinned: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The validated arguments. Raises InvalidArguments and InvalidRequest's family."""
        given, wrong = self._collect(request)
        if not wrong:
            self._negotiate(given, request.accept)
        for key, value in (pinned or {}).items():
            if key not in given and self._is_to_be_pinned(key, value):
                given[key] = value
        try:
            loaded = self._schema.load(given, unknown=marshmallow.EXCLUDE)
        except marshmallow.ValidationError as error:
            messages = all_told_safely(error.normalized_messages())
            raise InvalidArguments({**messages, **wrong}) from error
        except Exception as error:
            if isinstance(error, OverflowError) and (huge := beyond_floats(given)):
                raise InvalidArguments({**huge, **wrong}) from error  # fields of times: marshmallow
            if isinstance(error, RecursionError) and (deep := nested_deeply(given)):
                raise InvalidArguments({**deep, **wrong}) from error  # fields that read any text
            if not wrong:  # an author's hook may stumble over what is left out as wrong
                raise
        if wrong:
            raise InvalidArguments(wrong)
        return dict(loaded)

    def secrets(self, arguments: Mapping[str, Any]) -> list[str]:
        """Names (as the client spells them) of the arguments given that are, or hold, secrets."""
        return [
            key
            for key, field in self.declared().items()
            if key in self._holding_secrets
            and arguments.get(field.attribute or field.name) is not None
        ]

    def secret_texts(self, request: RequestData) -> list[str]:
        """What a request gives for secret arguments, right or wrong; [] if it cannot be read."""
        if not self._holding_secrets:
            return []
        try:
            given = self._collect(request)[0]
        except ModelyardError:
            return []
        return [
            text
            for name in self._holding_secrets
            for text in secret_texts(given.get(name), self._described[name])
        ]

    def record(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """JSON values without secrets, uploaded files by the names that the client gave them."""
        record = {}
        for key, field in self.declared().items():
            name = field.attribute or field.name
            if key in self._secret or name not in arguments:
                continue
            record[key] = self._shown(field, name, arguments, self._described.get(key))
        return record

    # -- collecting ---------------------------------------------------------------------------

    def _collect(self, request: RequestData) -> tuple[dict[str, Any], dict[str, Any]]:
        """The values of the fields, and what is wrong with the rest, by its name."""
        given: dict[str, Any] = {}
        wrong: dict[str, Any] = {}
        document = _read_json(request) if request.document is None else request.document
        self._take(document, "json", given, wrong, self._from_json)
        self._take(_grouped(request.form), "form", given, wrong, self._from_form)
        self._take(_grouped(request.query), "query", given, wrong, self._from_text)
        self._take_files(request, given, wrong)
        for slot in self.slots.values():
            if slot.place == "headers" and slot.key.lower() in request.headers:
                given[slot.key] = request.headers[slot.key.lower()]
        return given, wrong

    def _take(
        self,
        values: Mapping[str, Any],
        place: str,
        given: dict[str, Any],
        wrong: dict[str, Any],
        convert: Any,
    ) -> None:
        for key, value in values.items():
            slot = self.slots.get(key)
            if slot is None:
                self._note_unknown(key, wrong)
            elif slot.looks_in(place) or (slot.is_file and place != "query"):
                try:
                    converted = convert(slot, value)
                except InvalidArguments as error:
                    wrong.update(error.errors)
                    continue
                if converted is not ABSENT:
                    given[key] = converted
            elif self._strict:
                wrong[key] = [f"Send it in the {slot.place}, not in the {place}."]

    def _take_files(
        self, request: RequestData, given: dict[str, Any], wrong: dict[str, Any]
    ) -> None:
        parts: dict[str, list[FilePart]] = {}
        for part in request.files:
            parts.setdefault(part.field, []).append(part)
        if request.raw is not None:
            parts.setdefault(self._only_file(request.raw.content_type), []).append(request.raw)
        for key, files in parts.items():
            slot = self.slots.get(key)
            if slot is None:
                self._note_unknown(key, wrong)
                continue
            uploaded = [uploaded_file(key, part) for part in files]
            try:
                given[key] = uploaded if slot.kind == "list" else self._one_file(slot, uploaded)
            except InvalidArguments as error:
                wrong.update(error.errors)

    def _only_file(self, content_type: str) -> str:
        """The field that a raw body is meant for."""
        names = [slot.key for slot in self.slots.values() if slot.is_file]
        required = [name for name in names if self._described[name].required]
        if len(required) == 1 or len(names) == 1:
            return (required if len(required) == 1 else names)[0]
        taken = "multipart/form-data"
        if not names:
            array = body_tensor(list(self._described.values())) is not None
            taken = f"application/json, {taken}" + (f", {NPY} or {BARE}" if array else " or a form")
        raise UnsupportedMediaType(
            f"This model does not take a body of the content type {content_type!r}: send {taken}."
        )

    # -- values -------------------------------------------------------------------------------

    def _from_json(self, slot: Slot, value: Any) -> Any:
        return value

    def _from_form(self, slot: Slot, values: list[str]) -> Any:
        # A browser's form sends '' for what was left empty; only a text can really be ''.
        if values == [""] and slot.kind not in _TEXT:
            return ABSENT
        return self._from_text(slot, values)

    def _from_text(self, slot: Slot, values: list[str]) -> Any:
        if slot.kind == "list":
            return _list_from_text(slot, values)
        text = self._one_of(slot, values)
        if slot.kind in _STRUCTURED:
            return _json_or_text(text)
        if text == "null" and slot.nullable and slot.kind not in _TEXT:
            return None
        return text

    def _one_of(self, slot: Slot, values: list[str]) -> str:
        if len(values) > 1:
            raise InvalidArguments({slot.key: [f"Given {len(values)} times: give it once."]})
        return values[0]

    def _one_file(self, slot: Slot, files: list[UploadedFile]) -> UploadedFile:
        if len(files) > 1:
            raise InvalidArguments({slot.key: [f"Send one file, not {len(files)}."]})
        return files[0]

    def _negotiate(self, given: dict[str, Any], accept: str) -> None:
        """Fills the plugin's `accept` argument from the Accept header; the argument itself wins."""
        if self._accepts is None or "accept" in given or not self._accepts.choices:
            return
        choices = [str(choice) for choice in self._accepts.choices]
        if self._accepts.has_default and self._accepts.default in choices:
            choices.sort(key=lambda choice: choice != self._accepts.default)  # type: ignore[union-attr]
        chosen = choose(accept, choices)
        if chosen is None:
            raise NotAcceptable(
                "This model answers with {}; the Accept header asks for {}.".format(
                    ", ".join(choices), accept
                )
            )
        if accept.strip() not in ("", "*/*"):
            given["accept"] = chosen

    def _is_to_be_pinned(self, key: str, recorded: Any) -> bool:
        """True if the field's default comes from a function that says something else now.

        A default need not be what the field itself takes: then the function is asked again.
        """
        field = self.declared().get(key)
        default = getattr(field, "load_default", None)
        if field is None or not callable(default):
            return False
        try:
            if json_form(field, default()) == recorded:
                return False
            field.deserialize(recorded)
        except Exception:  # of the author's function, field or validators
            return False
        return True

    def declared(self) -> dict[str, Any]:
        """The schema's fields by the name that a client uses."""
        return {
            field.data_key if field.data_key is not None else name: field
            for name, field in self._schema.load_fields.items()
        }

    def _shown(
        self,
        field: Any,
        name: str,
        arguments: Mapping[str, Any],
        described: FieldDescription | None,
    ) -> Any:
        value = arguments[name]
        if _is_files(value):
            return (
                [_name_of(item) for item in value] if isinstance(value, list) else _name_of(value)
            )
        if hasattr(value, "dtype") and getattr(value, "size", 0) > _ITEMS_SHOWN:
            return f"{value.dtype} array of shape {tuple(value.shape)}"
        try:
            shown = json_value(self._serialized(field, name, arguments))
        except Exception:
            # A field of the author's own may only know how to read: show the value itself; where it
            # may hold a secret, by names that the description need not have, its type alone.
            holds = described is None or holds_secret(described)
            shown = f"<{type(value).__name__}>" if holds else _json_or_type(value)
        return without_secrets(shown, described)

    def _serialized(self, field: Any, name: str, arguments: Mapping[str, Any]) -> Any:
        return field.serialize(name, arguments)

    def _note_unknown(self, key: str, unknown: dict[str, Any]) -> None:
        if self._strict and len(unknown) < _MOST_UNKNOWN:
            unknown[key[:_LONGEST_COMPARED]] = [self._no_such(key)]

    def _no_such(self, key: str) -> str:
        near = None
        if len(key) <= _LONGEST_COMPARED:
            near = difflib.get_close_matches(key, self.slots, n=1)
        if near:
            return f"Unknown argument. Did you mean {near[0]!r}?"
        takes = ", ".join(sorted(self.slots)[:40]) or "no arguments"
        return f"Unknown argument. This model takes: {takes}."


ABSENT = object()


def _read_json(request: RequestData) -> Mapping[str, Any]:
    if not request.body.strip():
        return {}
    try:
        document = loads(request.body)
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidRequest(
            "The JSON body must be an object with the arguments as its members, not {}.".format(
                _WORDS.get(type(document), "a number")
            )
        )
    return document


def _grouped(pairs: Sequence[Any]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for key, value in pairs:
        grouped.setdefault(key, []).append(value)
    return grouped


def _json_or_text(text: str) -> Any:
    """The value of a JSON text; any other text as it is, for the field to refuse in its words."""
    try:
        return loads(text.encode())
    except ValueError:
        return text


def _list_from_text(slot: Slot, values: list[str]) -> Any:
    if len(values) == 1 and values[0].lstrip().startswith("["):
        whole = _json_or_text(values[0])
        if isinstance(whole, list) and slot.item_kind != "list":
            return whole
        if isinstance(whole, list):
            return whole if all(isinstance(item, list) for item in whole) else [whole]
    if len(values) == 1 and values[0] == "null" and slot.nullable:
        return None
    if slot.item_kind in _STRUCTURED:
        return [_json_or_text(value) for value in values]
    return values


def _json_or_type(value: Any) -> Any:
    try:
        return json_value(value)
    except PluginFailed:
        return f"<{type(value).__name__}>"


def _is_files(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_files(item) for item in value)
    return hasattr(value, "original_filename") and hasattr(value, "filename")


def _name_of(value: Any) -> str:
    return str(value.original_filename)
