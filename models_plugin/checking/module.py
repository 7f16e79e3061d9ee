"""Checks a DEEPaaS module: its functions, what they declare, what they say. Python 3.8 syntax."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import marshmallow
from marshmallow import fields

from ..answers import json_value
from ..deepaas.arguments import schema_of
from .arguments import check_arguments
from .findings import DIFFERS, FAULT, NOTE, Report
from .importing import place_of
from .written import Written, written

_FUNCTIONS = ("get_metadata", "warm", "get_predict_args", "predict", "get_train_args", "train")


def check_module(target: Any, report: Report) -> None:
    """Everything that can be found without calling predict(), train() or warm()."""
    _check_functions(target, report)
    described: list[Written] = []
    for which in ("predict", "train"):
        report.doing(f"calling get_{which}_args()")
        schema = _schema(target, which, report)
        if schema is None:
            continue
        described += [written(field) for field in schema.load_fields.values()]
        check_arguments(which, schema, report)
        if callable(getattr(target, which, None)):
            _check_signature(target, which, schema, report)
    _tell_translated(described, report)
    report.doing("calling get_metadata()")
    _check_metadata(target, report)
    _check_response(target, report)


def _check_functions(target: Any, report: Report) -> None:
    there = {name: getattr(target, name, None) for name in _FUNCTIONS}
    for name, value in there.items():
        if value is None:
            continue
        if not callable(value):
            report.add(
                FAULT, "not-callable", f"{name} is {type(value).__name__}, and no function.", name,
                f"Make {name} a function, or give it another name.",
            )  # fmt: skip
        elif inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value):
            report.add(
                FAULT, "async",
                f"{name}() is asynchronous: it returns a coroutine, which nobody awaits.",
                _line_of(value), f"Write `def {name}`; for waiting inside it, asyncio.run().",
            )  # fmt: skip
    if there["predict"] is None and there["train"] is None:
        report.add(
            FAULT, "no-functions",
            "It has neither predict() nor train(): there is nothing to call.", "",
            "Write one of them, or name the module that has them in the entry point.",
        )  # fmt: skip
        return
    for name in ("predict", "train"):
        if there[name] is None:
            report.add(
                NOTE, "missing-function",
                f"It has no {name}(): POST .../{name}/ answers 501.", name, "Nothing, if so meant.",
            )  # fmt: skip
        elif there[f"get_{name}_args"] is None:
            report.add(
                NOTE, "missing-function",
                f"It has no get_{name}_args(): {name}() is called without arguments.",
                f"get_{name}_args", "Write it if there are arguments.",
            )  # fmt: skip


def _schema(target: Any, which: str, report: Report) -> marshmallow.Schema | None:
    name = f"get_{which}_args"
    function = getattr(target, name, None)
    if not callable(function) or inspect.iscoroutinefunction(function):
        return schema_of({}) if function is None else None
    try:
        declared = function()
    except NotImplementedError:
        return schema_of({})
    except (Exception, SystemExit) as error:
        lost = "the model has no arguments then" if isinstance(error, AttributeError) else ""
        report.add(
            FAULT, "arguments-fail",
            f"{name}() fails: {type(error).__name__}: {error}" + (f" ({lost})." if lost else "."),
            place_of(error), "It must work before any call, without files that a training makes.",
        )  # fmt: skip
        return None
    if isinstance(declared, Mapping) and not _all_fields(name, declared, function, report):
        return None
    try:
        return schema_of({} if declared is None else declared)
    except Exception as error:  # marshmallow and the module's own fields raise anything
        report.add(
            FAULT, "no-arguments",
            f"What {name}() returns is no set of arguments: {error}.",
            _line_of(function), "Return a dict of webargs or marshmallow fields.",
        )  # fmt: skip
        return None


def _all_fields(name: str, declared: Mapping[Any, Any], function: Any, report: Report) -> bool:
    good = True
    for key, value in declared.items():
        cls = value if isinstance(value, type) else type(value)
        if not (issubclass(cls, (fields.Field, marshmallow.Schema)) or isinstance(value, Mapping)):
            good = False
            report.add(
                FAULT, "no-field",
                f"{name}() has {key!r}: {value!r} ({cls.__name__}), which is no field.",
                _line_of(function), "Write a field, such as fields.Float(missing=...).",
            )  # fmt: skip
    return good


def _check_signature(target: Any, which: str, schema: Any, report: Report) -> None:
    function = getattr(target, which)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return
    # What wraps it may add and take away arguments: then this is only a hint.
    wrapped = hasattr(function, "__wrapped__")
    level = NOTE if wrapped else FAULT
    unless = ", unless the decorator round it does something about it" if wrapped else ""
    where = _line_of(function)
    fields_by_name = {field.attribute or name: field for name, field in schema.load_fields.items()}
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for name, field in fields_by_name.items():
        if takes_any or name in named:
            continue
        always = field.required or field.load_default is not marshmallow.missing
        report.add(
            level, "unknown-argument",
            f"{which}() does not take the argument {name!r}: "
            f"{'every call' if always else 'a call with it'} fails{unless}.",
            where, f"Add the parameter to {which}(), or take **kwargs.",
        )  # fmt: skip
    for name, parameter in named.items():
        if parameter.default is not parameter.empty:
            continue
        field = fields_by_name.get(name)
        if field is None:
            report.add(
                level, "no-such-argument",
                f"{which}() needs {name!r}, which get_{which}_args() does not have: every call "
                f"fails{unless}.",
                where, f"Add it to get_{which}_args(), or give the parameter a default.",
            )  # fmt: skip
        elif not field.required and field.load_default is marshmallow.missing:
            report.add(
                NOTE, "optional-but-needed",
                f"{which}() needs {name!r}, but the argument is neither required nor has it a "
                f"default: a call without it fails{unless}.",
                where, "Add required=True or missing= to the argument.",
            )  # fmt: skip


def _tell_translated(described: list[Written], report: Report) -> None:
    if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(fields.Field).parameters.values()):
        return  # marshmallow 3, for which they are written
    loose = sorted({name for one in described for name in one.loose})
    count = sum(1 for one in described if one.loose)
    if loose:
        report.add(
            NOTE, "old-keywords",
            f"{count} of {len(described)} arguments are written for marshmallow 3 "
            f"({', '.join(loose)}); they are translated in this model's own processes.",
            "", "Nothing. Without translation: load_default= and metadata={...}.",
        )  # fmt: skip


def _check_metadata(target: Any, report: Report) -> None:
    function = getattr(target, "get_metadata", None)
    if not callable(function):
        if function is None:
            report.add(
                NOTE, "missing-function",
                "It has no get_metadata(): a general description is shown.", "get_metadata",
                "Write it: clients and catalogues show what it returns.",
            )  # fmt: skip
        return
    if inspect.iscoroutinefunction(function):
        return
    where, problem = _line_of(function), ""
    try:
        said = function()
        if not isinstance(said, Mapping):
            problem = f"get_metadata() returns {type(said).__name__}, and no dict"
        else:
            json_value(dict(said))
    except (Exception, SystemExit) as error:
        where = place_of(error) or where
        problem = f"get_metadata() fails: {type(error).__name__}: {error}"
    if problem:
        report.add(
            DIFFERS, "metadata", f"{problem.rstrip('.')}. A general description is shown.", where,
            "Return a dict of JSON values, whatever is or is not installed.",
        )  # fmt: skip


def _check_response(target: Any, report: Report) -> None:
    declared = getattr(target, "schema", None)
    if declared is None:
        return
    try:
        schema_of(declared)
    except Exception as error:
        report.add(
            FAULT, "response-schema", f"Its response schema cannot be used: {error}.", "schema",
            "Make schema a dict of marshmallow fields, a Schema class, or None.",
        )  # fmt: skip


def _line_of(function: Any) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
