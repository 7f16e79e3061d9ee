"""Checks an author's schema at the door, so that a mistake is told once, by name and with a remedy.

Runs in the worker. marshmallow 3 and 4, Python 3.8 syntax.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import marshmallow
from marshmallow import fields

from .fields import Tensor
from .jsonform import NoJsonForm, json_form
from .kinds import kind_of

_FIELD_OF = {
    "int": "fields.Integer()", "float": "fields.Float()", "str": "fields.String()",
    "bool": "fields.Boolean()", "list": "fields.List(fields.Raw())", "dict": "fields.Dict()",
    "tuple": "fields.Tuple((...))", "bytes": "File()", "datetime": "fields.DateTime()",
    "date": "fields.Date()", "ndarray": "Tensor()",
}  # fmt: skip
"""What an author meant who wrote a Python type."""

_SHOWN = 80  # characters of a default that a message repeats


class ContractFault(ValueError):
    """A schema is not what the contract asks for.

    `where` is the part (`predict_arguments`), `field` the dotted name in it (or empty), `problem`
    what is wrong and `remedy` what to write instead; both are sentences for the author.
    """

    def __init__(self, where: str, field: str, problem: str, remedy: str) -> None:
        self.where = where
        self.field = field
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{where}{'.' if field else ''}{field}: {problem} {remedy}")


def check_schema(value: Any, where: str) -> marshmallow.Schema:
    """A schema instance of whatever an author may write: a class, an instance, a dict of fields.

    Raises ContractFault for what is no schema, an argument that is no field, a schema that cannot
    be built, and a default that its own field refuses or that has no JSON form.
    """
    schema = _build(value, where)
    if schema.many:
        raise ContractFault(
            where,
            "",
            "The schema has many=True.",
            "Describe one object; a list of them is a field fields.List(fields.Nested(...)) in it.",
        )
    for path, field in _loaded_fields(schema, where, "", ()):
        _check_default(where, path, field)
    return schema


def _build(value: Any, where: str) -> marshmallow.Schema:
    if isinstance(value, marshmallow.Schema):
        _check_attributes(type(value), where)
        return value
    if isinstance(value, Mapping):
        for name, field in value.items():
            _check_field(where, name, field)
        return _made(lambda: marshmallow.Schema.from_dict(dict(value))(), where)
    if isinstance(value, type) and issubclass(value, marshmallow.Schema):
        _check_attributes(value, where)
        return _made(value, where)
    raise ContractFault(
        where,
        "",
        f"{_told(value)} is no schema.",
        "Write a dict of marshmallow fields, a marshmallow.Schema class, or an instance of one.",
    )


def _made(make: Any, where: str) -> marshmallow.Schema:
    try:
        return make()
    except Exception as error:  # marshmallow and an author's __init__ raise whatever they like
        raise ContractFault(
            where,
            "",
            f"The schema cannot be built: {type(error).__name__}: {str(error).rstrip('.')}.",
            "Mend the schema: marshmallow itself refuses it.",
        ) from error


def _check_field(where: str, name: Any, value: Any) -> None:
    if not isinstance(name, str) or not name:
        raise ContractFault(
            where,
            str(name),
            f"{name!r} is no name of a field.",
            "Use text as the keys of the dict.",
        )
    if not isinstance(value, fields.Field):
        raise ContractFault(where, name, f"{_told(value)} is no field.", _remedy(value))


def _remedy(value: Any) -> str:
    if isinstance(value, type) and issubclass(value, fields.Field):
        return f"Make an instance of it: fields.{value.__name__}()."
    if isinstance(value, marshmallow.Schema) or (
        isinstance(value, type) and issubclass(value, marshmallow.Schema)
    ):
        return "Put it into fields.Nested(...)."
    if isinstance(value, Mapping):
        return "Put it into fields.Nested({...})."
    name = value.__name__ if isinstance(value, type) else type(value).__name__
    meant = _FIELD_OF.get(name)
    if meant is None:
        return "Write a marshmallow field, such as fields.Float()."
    if isinstance(value, type):
        return f"Write {meant}."
    return f"Write {meant[:-1]}load_default={_short(value)}) if this is meant as its default."


def _check_attributes(cls: type, where: str) -> None:
    """Finds `x = int` and `x: int` in a schema class, which marshmallow passes over in silence."""
    for owner in cls.__mro__:
        if owner.__module__.partition(".")[0] in ("marshmallow", "webargs", "builtins", "typing"):
            continue
        for name, value in vars(owner).items():
            if isinstance(value, type) and (
                value.__name__ in _FIELD_OF or issubclass(value, fields.Field)
            ):
                _check_field(where, name, value)
        _check_annotations(owner, cls, where)


def _check_annotations(owner: type, cls: type, where: str) -> None:
    declared = getattr(cls, "_declared_fields", {})
    # Read from __dict__: before Python 3.10 the attribute is inherited. An annotation is a text
    # where the author wrote `from __future__ import annotations`.
    for name, annotation in dict(vars(owner).get("__annotations__", {})).items():
        word = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
        if word in _FIELD_OF and name not in declared and name not in vars(owner):
            raise ContractFault(
                where,
                name,
                f"It is only annotated as {word}, and is no field.",
                f"Write {name} = {_FIELD_OF[word]}.",
            )


def _loaded_fields(
    schema: marshmallow.Schema, where: str, prefix: str, above: tuple[type, ...]
) -> Iterator[tuple[str, Any]]:
    """Every field that takes values, by its dotted path; nested ones too, each class once."""
    for name, field in schema.load_fields.items():
        path = prefix + (field.data_key if field.data_key is not None else name)
        yield path, field
        inner = field.inner if isinstance(field, fields.List) else field
        if not isinstance(inner, fields.Nested):
            continue
        try:
            nested = inner.schema
        except Exception as error:  # a name that nothing has, a function that raises
            raise ContractFault(
                where,
                path,
                f"Its nested schema cannot be built: {str(error).rstrip('.')}.",
                "Mend what stands in fields.Nested(...).",
            ) from error
        if type(nested) not in (*above, type(schema)):
            yield from _loaded_fields(nested, where, path + ".", (*above, type(schema)))


def _check_default(where: str, path: str, field: Any) -> None:
    """Defaults made by a function are left alone: they may depend on what is there at the call.

    None is a default whatever the field says of null: "absent".
    """
    default = field.load_default
    if default is marshmallow.missing or default is None or callable(default):
        return
    if isinstance(field, fields.Constant):
        return
    secret = field.load_only or field.metadata.get("format") == "password"
    shown = "" if secret else " " + _short(default)
    try:
        form = json_form(field, default)
    except NoJsonForm as error:
        raise ContractFault(
            where,
            path,
            f"Its default{shown} cannot be written as JSON ({error}).",
            "Give a default that the field can serialise, or a function that makes it.",
        ) from error
    refused = _refusal(field, form, default)
    if refused:
        raise ContractFault(
            where,
            path,
            f"Its default{shown} is refused by the field itself: {refused.rstrip('.')}.",
            "Change the default, or what the field allows.",
        )


def _refusal(field: Any, form: Any, default: Any) -> str:
    """Why the field does not take its own default; empty if it does."""
    try:
        loaded = field.deserialize(form)
        if isinstance(field, Tensor) or kind_of(field)[0] in ("any", "object", "file"):
            return ""
        if _same(loaded, default):
            return ""
        if not isinstance(default, type(loaded)):
            return f"a client's value becomes {type(loaded).__name__}, " + (
                f"this is {type(default).__name__}."
            )
        # The way to JSON and back may lose digits (a timedelta's), so the value itself is asked.
        for validator in field.validators:
            validator(default)
    except marshmallow.ValidationError as error:
        return "; ".join(_texts(error.messages))
    except Exception as error:  # a validator of the author's own may raise anything
        return f"{type(error).__name__}: {error}"
    return ""


def _same(loaded: Any, default: Any) -> bool:
    if isinstance(loaded, (list, tuple)) and isinstance(default, (list, tuple)):
        return len(loaded) == len(default) and all(map(_same, loaded, default))
    if isinstance(loaded, bool) is not isinstance(default, bool):
        return False
    return bool(loaded == default)


def _texts(messages: Any) -> list[str]:
    if isinstance(messages, Mapping):
        return [f"{key}: {text}" for key in messages for text in _texts(messages[key])]
    if isinstance(messages, (list, tuple)):
        return [str(item) for item in messages]
    return [str(messages)]


def _told(value: Any) -> str:
    if isinstance(value, type):
        return f"The class {value.__name__}"
    return f"{_short(value)} ({type(value).__name__})"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
