"""Makes command line options of a model's arguments, as the server describes them.

The server judges the values, by the model's own schema: an option only turns the text into the
kind of value that its argument has. Each argument `some_name` is the option `--some-name`;
underscores work too. One that is called like an option of the command itself is `--arg-some-name`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from ..client import Argument

_STRUCTURED = ("list", "dict", "object", "tensor")
_TEXT = ("string", "any", "url", "email")
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_METAVARS = {
    "string": "TEXT", "any": "TEXT", "integer": "INTEGER", "number": "NUMBER",
    "boolean": "true|false", "list": "JSON", "dict": "JSON", "object": "JSON", "tensor": "JSON",
    "file": "PATH", "duration": "SECONDS",
}  # fmt: skip
_CHOICES_SHOWN = 12
_NULL = object()
"""A null that was given: click takes None for an option that was not given."""


@dataclass
class CallArguments:
    """What the options came to, by the place where the server wants it."""

    arguments: dict[str, Any] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)
    as_form: bool = False

    def put(self, argument: Argument, value: Any) -> None:
        if argument.is_file:
            self.files[argument.name] = value
        elif argument.place == "query":
            self.query[argument.name] = value
        elif argument.place == "headers":
            self.headers[argument.name] = str(value)
        else:
            self.arguments[argument.name] = value
            self.as_form |= argument.place == "form"


def normalize(token: str) -> str:
    """`--some_name` is `--some-name`."""
    return token.replace("_", "-")


class ArgumentValue(click.ParamType):
    """The text of an option as a value of the argument's kind."""

    name = "argument"

    def __init__(self, argument: Argument) -> None:
        self._argument = argument

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        kind = self._argument.kind
        if value == "null" and self._argument.nullable and kind not in _TEXT:
            return None if kind == "list" else _NULL
        if kind == "boolean":
            return _WORDS.get(value.lower(), value)
        if kind in ("integer", "number", "duration"):
            return _number(value)
        if kind in _STRUCTURED:
            return self._structured(value, param, ctx)
        return value

    def _structured(
        self, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        if text.startswith("@"):
            try:
                text = Path(text[1:]).read_text()
            except OSError as error:
                self.fail(f"{text[1:]}: {error.strerror}", param, ctx)
        try:
            return json.loads(text)
        except ValueError as error:
            if self._argument.kind == "list":
                return text  # one item of a list of texts
            self.fail(f"not valid JSON: {error}", param, ctx)


def _number(text: str) -> Any:
    """An int or float; any other text as it is, for the server to refuse in its words."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text  # JSON has no NaN


class ModelOptions:
    """All options of one model's function; `taken` are the names of the command's own options."""

    def __init__(self, arguments: Iterable[Argument], taken: Collection[str]) -> None:
        self._taken = set(taken)
        self._arguments: dict[str, Argument] = {}  # by the option's parameter name
        self._spelled: dict[str, str] = {}  # option by the argument's name
        self.params: list[click.Parameter] = []
        for argument in arguments:
            self._add(argument)

    def option_of(self, argument: str) -> str:
        """`--some-name`, for messages; what is neither argument nor option stays as it is."""
        own = "--" + argument if argument in self._taken else argument
        return self._spelled.get(argument, own)

    def file_argument(self) -> Argument | None:
        """What `--file` means: the required file argument, else the first."""
        files = [argument for argument in self._arguments.values() if argument.is_file]
        first = files[0] if files else None
        return next((argument for argument in files if argument.required), first)

    def collect(self, params: Mapping[str, Any]) -> CallArguments:
        """The values that were given; the server has the defaults."""
        given = CallArguments()
        for name, argument in self._arguments.items():
            value = params.get(name)
            if argument.kind == "boolean" and params.get(f"no_{name}"):
                given.put(argument, False)
            elif value is not None and value != ():
                given.put(argument, _items(value) if argument.kind == "list" else _only(value))
        return given

    def _add(self, argument: Argument) -> None:
        spelled = "--" + normalize(argument.name)
        if spelled[2:] in self._taken:
            spelled = "--arg-" + spelled[2:]
        self._taken.add(spelled[2:])
        name = f"argument_{len(self._arguments)}"
        self._arguments[name] = argument
        self._spelled[argument.name] = spelled
        self.params.append(_option(name, spelled, argument))
        negated = "--no-" + spelled[2:]
        if argument.kind == "boolean" and negated[2:] not in self._taken:
            self._taken.add(negated[2:])
            self.params.append(click.Option([f"no_{name}", negated], is_flag=True, hidden=True))


def _items(values: Any) -> Any:
    """One list of what a repeated option gave: items, or whole JSON lists."""
    if len(values) == 1 and (values[0] is None or isinstance(values[0], list)):
        return values[0]
    return list(values)


def _only(value: Any) -> Any:
    return None if value is _NULL else value


def _option(name: str, spelled: str, argument: Argument) -> click.Option:
    extra: dict[str, Any] = {}
    if argument.is_file:
        extra["type"] = click.Path(exists=True, dir_okay=False, path_type=Path)
    else:
        extra["type"] = ArgumentValue(argument)
    if argument.kind == "boolean":
        extra |= {"is_flag": False, "flag_value": "true"}
    if argument.secret:  # given without a value it is asked for, and not seen in `ps`
        extra |= {"prompt": argument.name, "prompt_required": False, "hide_input": True}
    return click.Option(
        [name, spelled],
        metavar=_metavar(argument),
        multiple=argument.kind == "list",
        help=help_of(argument),
        **extra,
    )


def _metavar(argument: Argument) -> str:
    if argument.choices and len(argument.choices) <= _CHOICES_SHOWN:
        return "[" + "|".join(_shown(choice) for choice in argument.choices) + "]"
    if argument.is_file:
        return _METAVARS["file"]
    return _METAVARS.get(argument.kind, argument.kind.upper())


def help_of(argument: Argument) -> str:
    """The description with range, unit and default: `How often.  [1..100 epochs; default: 20]`."""
    notes = []
    if argument.required:
        notes.append("required")
    if bounds := bounds_of(argument):
        notes.append(bounds)
    if argument.choices and len(argument.choices) > _CHOICES_SHOWN:
        notes.append(f"{len(argument.choices)} choices, {_shown(argument.choices[0])} among them")
    if argument.kind == "list":
        notes.append("repeatable")
    if argument.has_default and argument.default is not None:
        notes.append(f"default: {_shown(argument.default)}")
    text = " ".join(argument.description.split())
    return f"{text}  [{'; '.join(notes)}]".strip() if notes else text


def bounds_of(argument: Argument) -> str:
    """`1..100 epochs`, `0<..1`, `2..`, or only the unit; empty if there is none."""
    low, high = argument.minimum, argument.maximum
    bounds = ""
    if low is not None or high is not None:
        start = "" if low is None else f"{low:.12g}" + ("<" if argument.exclusive_minimum else "")
        end = "" if high is None else ("<" if argument.exclusive_maximum else "") + f"{high:.12g}"
        bounds = f"{start}..{end}"
    return " ".join(part for part in (bounds, argument.unit or "") if part)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
