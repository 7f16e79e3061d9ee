"""Checks the arguments that a DEEPaaS module declares, each by itself. Python 3.8 syntax."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import Any

import marshmallow
from marshmallow import fields, validate

from ...schemas.introspect import PLACES
from ...schemas.jsonform import NoJsonForm, json_form
from ...schemas.kinds import kind_of
from ..deepaas.arguments import Listed, ListedItems
from .findings import DIFFERS, FAULT, NOTE, Report
from .written import written

_MEDIA = re.compile("image|audio|video", re.IGNORECASE)


def check_arguments(function: str, schema: marshmallow.Schema, report: Report) -> None:
    """`function` is `predict` or `train`."""
    for name, field in schema.load_fields.items():
        key = field.data_key if field.data_key is not None else name
        place = written(field).where
        where = f"{function}.{key}" + (f" ({place})" if place else "")
        for check in (_default, _dumped_default, _location, _enum, _file, _validators, _unicode):
            check(key, field, where, report)
        if key == "accept" and function == "predict":
            _accept(field, where, report)


def _default(key: str, field: Any, where: str, report: Report) -> None:
    default = field.load_default
    made = ""
    if callable(default):
        made = " (of its function)"
        try:
            default = default()
        except Exception as error:  # the author's own function
            report.add(
                FAULT, "default-fails",
                f"The default of {key} is made by a function that fails: {type(error).__name__}: "
                f"{error}. Every call without {key} fails.",
                where, "Mend the function, or give a value as the default.",
            )  # fmt: skip
            return
    if default is marshmallow.missing or default is None:
        return
    if field.load_only or kind_of(field)[0] == "file":
        return
    try:
        form = json_form(field, default)
    except NoJsonForm as error:
        report.add(
            NOTE, "default-no-json",
            f"The default of {key} cannot be shown: it has no JSON form ({error}).",
            where, "Give a default that a client could send.",
        )  # fmt: skip
        return
    except Exception:  # a field of the author's own that cannot write what it reads
        form = default
    refused = _refused(field, form)
    if refused is None:
        return
    before = copy.copy(field)
    before.validators = [one for one in field.validators if not _added(one)]
    by_enum = _refused(before, form) is None
    report.add(
        DIFFERS if by_enum else NOTE,
        "default-refused",
        f"The default of {key}, {default!r}{made}, is refused by the argument itself when a client "
        f"sends it back, as forms do: {refused}"
        + (" (enum= is checked here; DEEPaaS only showed it.)" if by_enum else ""),
        where,
        "Change the default, or what the argument allows.",
    )


def _refused(field: Any, form: Any) -> str | None:
    try:
        field.deserialize(form)
    except marshmallow.ValidationError as error:
        messages = error.messages
        return " ".join(map(str, messages)) if isinstance(messages, list) else str(messages)
    except Exception as error:  # a validator of the author's own
        return f"{type(error).__name__}: {error}"
    return None


def _added(validator: Any) -> bool:
    return isinstance(validator, (Listed, ListedItems))


def _dumped_default(key: str, field: Any, where: str, report: Report) -> None:
    words = set(written(field).keywords)
    if words & {"default", "dump_default"} and not words & {"missing", "load_default"}:
        report.add(
            NOTE, "default-for-missing",
            f"The argument {key} has default=, which is used for answers only: a call without "
            f"{key} does not get it.",
            where, "Write missing= (marshmallow 3) or load_default=.",
        )  # fmt: skip


def _unicode(key: str, field: Any, where: str, report: Report) -> None:
    """Names of files in another encoding are the usual ones: os.listdir() gives such texts."""
    choices = field.metadata.get("enum")
    listed = list(choices) if isinstance(choices, (list, tuple, set, frozenset)) else []
    for validator in field.validators:
        if isinstance(validator, validate.OneOf):
            listed += list(validator.choices)
    for kind, values in (("choice", listed), ("default", [field.load_default])):
        for value in values:
            if not isinstance(value, str) or _is_utf_8(value):
                continue
            report.add(
                DIFFERS, "no-utf-8",
                f"The {kind} {value!r} of {key} is no UTF-8: no client can send it as it is.",
                where,
                "Rename the file, if it is one's name; or give another text for it, such as "
                "os.fsencode(name).decode('utf-8', 'replace').",
            )  # fmt: skip


def _is_utf_8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _location(key: str, field: Any, where: str, report: Report) -> None:
    location = field.metadata.get("location")
    if location is None or str(location) in PLACES:
        return
    report.add(
        DIFFERS, "location",
        f"The argument {key} has location={location!r}, which is no place of a request: it is "
        "looked for in the query, in the form and in the JSON body.",
        where, f"Write one of {', '.join(sorted(PLACES))}, or leave it out.",
    )  # fmt: skip


def _enum(key: str, field: Any, where: str, report: Report) -> None:
    choices = field.metadata.get("enum")
    if choices is None:
        return
    if isinstance(choices, (str, bytes)) or not isinstance(choices, Iterable):
        report.add(
            NOTE, "enum-no-list", f"enum= of {key} is {choices!r}, and no list: it is ignored.",
            where, "Write a list of the choices.",
        )  # fmt: skip
        return
    if not any(_added(one) for one in field.validators):
        return
    kinds = sorted({type(one).__name__ for one in choices})
    report.add(
        DIFFERS, "enum",
        f"enum= of {key} is checked: any other value is refused with 422, where DEEPaaS only "
        f"showed the choices ({len(list(choices))}, of type {', '.join(kinds)}; they are compared "
        "as texts too).",
        where, "Nothing, if only these values work. Otherwise list all of them, or drop enum=.",
    )  # fmt: skip


def _accept(field: Any, where: str, report: Report) -> None:
    if not any(isinstance(one, validate.OneOf) for one in field.validators):
        report.add(
            NOTE, "accept-without-choices",
            "The argument accept has no choices: documents cannot say which content types there "
            "are, and a client's Accept header is not looked at.",
            where, "Add validate=validate.OneOf([...]) with the content types of predict().",
        )  # fmt: skip


def _file(key: str, field: Any, where: str, report: Report) -> None:
    inner = field.inner if isinstance(field, fields.List) else field
    if kind_of(inner)[0] != "file":
        return
    about = f"{field.metadata.get('description', '')} {inner.metadata.get('description', '')}"
    if not _MEDIA.search(about):
        report.add(
            NOTE, "file-description",
            f"The description of the file {key} has none of the words image, audio, video: user "
            "interfaces choose how they ask for a file by them.",
            where, "Name the kind of file in the description, if it is one of these.",
        )  # fmt: skip


def _validators(key: str, field: Any, where: str, report: Report) -> None:
    if any(not isinstance(one, validate.Validator) for one in field.validators):
        report.add(
            NOTE, "validator-function",
            f"The argument {key} is validated by a function. If it returns False the value is "
            "refused, as in marshmallow 3 (marshmallow 4 would let it pass).",
            where, "Nothing. For marshmallow 4 alone, raise ValidationError.",
        )  # fmt: skip
