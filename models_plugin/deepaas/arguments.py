"""From a request to the arguments of an old module, as DEEPaaS's webargs 5 reads one.

Unknown arguments are ignored, of a repeated one the first counts, one value is a list of one. Where
webargs took anything (a text as a file, `enum` without a validator) it is refused here. Runs in the
worker and in the run process. Python 3.8 syntax, marshmallow 3 or 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import marshmallow
from marshmallow import fields, validate

from ...errors import InvalidArguments, NotAcceptable
from ...schemas.description import FieldDescription
from ...schemas.introspect import describe_field, is_secret
from ..accept import choose_offer
from ..arguments import Arguments, Slot
from ..values import UploadedFile

_ANYTHING = "*/*"
_JSON_VALUES = (dict, list, bool, int, float)


class OldArguments(Arguments):
    """See `Arguments`."""

    def __init__(self, schema: marshmallow.Schema, described: Sequence[FieldDescription]) -> None:
        super().__init__(schema, described, strict=False)
        self.has_files = any(slot.is_file for slot in self.slots.values())
        if self._accepts is not None:
            # As an argument and as a header, wherever the module says that it is.
            self.slots["accept"].place = "any"
            self._offers = [str(one) for one in self._accepts.choices or () if one != _ANYTHING]

    def _from_json(self, slot: Slot, value: Any) -> Any:
        if slot.is_file and value is not None:
            raise self._no_text(slot)
        one = slot.item_kind is not None and not isinstance(value, (list, tuple))
        return [value] if one and value is not None else value

    def _from_text(self, slot: Slot, values: list[str]) -> Any:
        if slot.is_file:
            raise self._no_text(slot)
        return super()._from_text(slot, values)

    def _one_of(self, slot: Slot, values: list[str]) -> str:
        return values[0]

    def _one_file(self, slot: Slot, files: list[UploadedFile]) -> UploadedFile:
        return files[0]

    def _serialized(self, field: Any, name: str, arguments: Mapping[str, Any]) -> Any:
        value = arguments[name]
        if isinstance(field, fields.String) and isinstance(value, _JSON_VALUES):
            # A text field of the author's own that reads JSON: marshmallow would write its repr.
            return value
        return super()._serialized(field, name, arguments)

    def _no_text(self, slot: Slot) -> InvalidArguments:
        return InvalidArguments(
            {slot.key: ["Send a file (multipart/form-data, with a file name), not a text."]}
        )

    def _negotiate(self, given: dict[str, Any], accept: str) -> None:
        """Fills `accept` from the header; the argument itself wins, as DEEPaaS has it.

        The module gets one of its own choices, never `*/*`: without any wish the declared default,
        else the first choice.
        """
        if self._accepts is None or "accept" in given or not self._offers:
            return
        default = self._accepts.default
        offers = sorted(self._offers, key=lambda offer: offer != default)
        chosen = choose_offer(accept, offers)
        if chosen is None:
            raise NotAcceptable(
                "This model answers with {}; the Accept header asks for {}.".format(
                    ", ".join(self._offers), accept[:200]
                )
            )
        given["accept"] = chosen[0]


# -- schemas -----------------------------------------------------------------------------------


def schema_of(value: Any) -> marshmallow.Schema:
    """A schema of what a module hands over: a dict of fields, a schema class, an instance.

    Dicts inside a dict are nested schemas, field classes are made instances, and a list of choices
    in `enum=` is checked. Raises TypeError or ValueError for what is no schema.
    """
    if isinstance(value, Mapping):
        members = {str(name): _field_of(name, field) for name, field in value.items()}
        schema = marshmallow.Schema.from_dict(members)()
    elif isinstance(value, type) and issubclass(value, marshmallow.Schema):
        schema = value()
    elif isinstance(value, marshmallow.Schema):
        schema = value
    else:
        raise TypeError(f"{type(value).__name__} is no schema: write a dict of fields")
    for field in schema.fields.values():
        _check_choices(field)
    return schema


def _field_of(name: Any, value: Any) -> Any:
    if isinstance(value, fields.Field):
        return value
    if isinstance(value, type) and issubclass(value, fields.Field):
        return value()
    if isinstance(value, Mapping):
        return fields.Nested(type(schema_of(value)))
    if isinstance(value, marshmallow.Schema):
        return fields.Nested(value)
    if isinstance(value, type) and issubclass(value, marshmallow.Schema):
        return fields.Nested(value)
    raise TypeError(f"{name!r} is {type(value).__name__}, and no field")


def describe(schema: marshmallow.Schema, response: bool = False) -> list[FieldDescription]:
    """Describes the fields; one that cannot be described is told as anything, not as an error."""
    chosen = schema.dump_fields if response else schema.load_fields
    names = [name for name in schema.declared_fields if name in chosen]
    names += sorted(set(chosen) - set(names))
    described = []
    for name in names:
        field = chosen[name]
        key = field.data_key if field.data_key is not None else name
        try:
            described.append(describe_field(key, field, response))
        except Exception:  # an author's field, default or metadata may raise anything
            told = FieldDescription(name=key, required=bool(field.required))
            told.secret = is_secret(field)
            described.append(told)
    return described


class Listed(validate.OneOf):
    """The choices of `enum=`: compared as texts too, for they are often written so."""

    def __call__(self, value: Any) -> Any:
        _refuse_unless(value in self.choices or _text(value) in map(_text, self.choices), self)
        return value


class ListedItems(validate.ContainsOnly):
    """The choices of `enum=` of a list: they are those of its items."""

    def __call__(self, value: Any) -> Any:
        texts = [_text(choice) for choice in self.choices]
        _refuse_unless(all(_text(item) in texts for item in value), self)
        return value


def _refuse_unless(good: bool, rule: Any) -> None:
    if not good:
        choices = ", ".join(str(choice) for choice in rule.choices)
        raise marshmallow.ValidationError(f"Must be one of: {choices}.")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_choices(field: Any) -> None:
    inner = getattr(field, "inner", None)
    if isinstance(inner, fields.Field):
        _check_choices(inner)
    choices = field.metadata.get("enum")
    if isinstance(choices, (str, bytes)) or not isinstance(choices, Iterable):
        return
    choices = list(choices)
    if not choices:
        return
    if any(isinstance(rule, validate.OneOf) for rule in field.validators):
        return
    rule = ListedItems if isinstance(field, fields.List) else Listed
    # A new list: the old one is shared with the module's own field.
    field.validators = [*field.validators, rule(choices)]
