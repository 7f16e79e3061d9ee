"""The options of `predict` and `train`, made of a model's arguments, and the request they give.

Python 3.8 syntax.
"""

from __future__ import annotations

import argparse
import ast
import json
import mimetypes
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ...schemas.description import FieldDescription
from ...schemas.transport import FilePart, RequestData
from ..answers import json_value

OUTPUT, SPAWN, NO_SPAWN = (
    "--deepaas_method_output",
    "--deepaas_with_multiprocessing",
    "--nodeepaas_with_multiprocessing",
)
_LITERALS = ("list", "dict", "object", "tensor")
_TEXTS = ("string", "any", "url", "email")
_TRUE = ("yes", "true", "t", "1", "y", "on")
_FALSE = ("no", "false", "f", "0", "n", "off")
_TYPES = {
    "integer": "int", "number": "float", "boolean": "bool", "file": "str (filepath)",
    "list": 'list, enclosed as string: "[...]"', "dict": 'dict, enclosed as string: "{...}"',
    "object": 'dict, enclosed as string: "{...}"', "tensor": 'list, enclosed as string: "[...]"',
}  # fmt: skip


class MethodOptions:
    """The parser of one method's options."""

    def __init__(self, method: str, fields: Sequence[FieldDescription]) -> None:
        self._fields = list(fields)
        names = {field.name for field in fields}
        self.parser = argparse.ArgumentParser(
            prog=f"deepaas-cli {method}",
            allow_abbrev=False,  # `--d` is an argument's name, and no short form of another's
            add_help=False,
            formatter_class=_formatter,
        )
        helping = ["-h"] if "help" in names else ["-h", "--help"]
        self.parser.add_argument(*helping, action="help", help="show this help message and exit")
        for place, field in enumerate(fields):
            self.parser.add_argument(
                f"--{field.name}",
                dest=f"argument-{place}",
                metavar=_metavar(field),
                required=field.required,
                help=_help(field),
            )
        self._add_general(names)
        self._names = names
        # Written here: argparse takes what it has joined apart again to break the lines, and fails
        # by an assertion at names with brackets or spaces.
        self.parser.usage = _usage(f"%(prog)s [{helping[0]}]", self.parser.prog, fields)

    def _add_general(self, names: set[str]) -> None:
        """The command's own options may stand behind the method too, but for a module's own."""
        if OUTPUT[2:] not in names:
            self.parser.add_argument(OUTPUT, dest="output", help=argparse.SUPPRESS)
        for option, value in ((SPAWN, True), (NO_SPAWN, False)):
            if option[2:] not in names:
                self.parser.add_argument(
                    option, dest="spawn", action="store_const", const=value, help=argparse.SUPPRESS
                )

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Exits with 2 and a message if the words are not what the options are, with 0 for help."""
        return self.parser.parse_args([self._respelled(word) for word in words])

    def _respelled(self, word: str) -> str:
        """`--some-name` means `some_name` too, unless that is another argument."""
        name, equals, value = word[2:].partition("=")
        if not word.startswith("--") or name in self._names:
            return word
        others = {name.replace("_", "-"), name.replace("-", "_")} & self._names
        return f"--{others.pop()}{equals}{value}" if len(others) == 1 else word

    def request(self, given: argparse.Namespace, folder: str, copies: Path) -> RequestData:
        """The request with the values given; a file is copied to `copies`.

        `folder` is where relative paths start. Exits with 2 and a message.
        """
        values = vars(given)
        request = RequestData(document={})
        for place, field in enumerate(self._fields):
            text = values.get(f"argument-{place}")
            if text is None:
                continue
            if _is_file(field):
                for path in self._paths(field, text):
                    request.files.append(self._copy(field, path, folder, copies))
            else:
                _put(request, field, self._value(field, text))
        return request

    def refuse(self, errors: Mapping[str, Any]) -> NoReturn:
        """Tells what is wrong with each argument, and exits with 2."""
        self.parser.print_usage(sys.stderr)
        for name, messages in errors.items():
            what = f"argument --{name}: " if name != "_schema" else ""
            for message in _flat(messages):
                sys.stderr.write(f"{self.parser.prog}: error: {what}{message}\n")
        raise SystemExit(2)

    def _value(self, field: FieldDescription, text: str) -> Any:
        kind = field.kind
        if field.nullable and kind not in _TEXTS and text.lower() in ("null", "none"):
            return None
        if kind == "boolean":
            word = text.strip().lower()
            return True if word in _TRUE else False if word in _FALSE else text
        if kind == "integer":
            try:
                return int(text)
            except ValueError:
                return text
        return self._literal(field, text) if kind in _LITERALS else text

    def _literal(self, field: FieldDescription, text: str) -> Any:
        for read in (json.loads, ast.literal_eval):
            try:
                return read(text.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
        if text.strip()[:1] in tuple("[{("):
            self.refuse({field.name: ["This is neither JSON nor a Python literal."]})
        return text

    def _paths(self, field: FieldDescription, text: str) -> list[str]:
        if field.kind != "list":
            return [text]
        paths = self._literal(field, text)
        return [str(path) for path in paths] if isinstance(paths, (list, tuple)) else [str(paths)]

    def _copy(self, field: FieldDescription, path: str, folder: str, copies: Path) -> FilePart:
        """A copy: modules delete what they are handed."""
        copy = copies / f"{len(list(copies.iterdir()))}{Path(path).suffix}"
        try:
            with Path(folder, path).open("rb") as source, copy.open("xb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        except OSError as error:
            self.refuse({field.name: [f"{path}: {error.strerror}"]})
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        return FilePart(field.name, str(copy), path, kind, copy.stat().st_size)


def _put(request: RequestData, field: FieldDescription, value: Any) -> None:
    """Where the field looks for it."""
    if field.place not in ("query", "form", "headers"):
        assert request.document is not None
        request.document[field.name] = value
        return
    text = value if isinstance(value, str) else json.dumps(json_value(value))
    if field.place == "headers":
        request.headers[field.name.lower()] = text
    else:
        getattr(request, field.place).append((field.name, text))


def _metavar(field: FieldDescription) -> str:
    return re.sub(r"\W", "_", field.name).upper() or "VALUE"


def _usage(begin: str, prog: str, fields: Sequence[FieldDescription]) -> str:
    """Laid out as argparse does it; an argument is never broken."""
    width = shutil.get_terminal_size().columns - 2
    indent = " " * len(f"usage: {prog} ")
    lines = [begin]
    taken = len(indent) + len("[-h]")
    for field in fields:
        option = f"--{field.name} {_metavar(field)}".replace("\n", " ")
        part = option if field.required else f"[{option}]"
        if taken + 1 + len(part) > width:
            lines.append(indent[:-1])
            taken = len(indent) - 1
        lines[-1] += " " + part.replace("%", "%%")
        taken += 1 + len(part)
    return "\n".join(lines)


def _is_file(field: FieldDescription) -> bool:
    return field.kind == "file" or (field.items is not None and field.items.kind == "file")


def _help(field: FieldDescription) -> str:
    lines = [field.description] if field.description else []
    lines.append(f"Type: {_TYPES.get(field.kind, 'str')}")
    if field.required:
        lines.append("*Required*")
    elif field.has_default and not field.secret:
        lines.append(f"Default: {field.default}")
    choices = field.choices or (field.items.choices if field.items else None)
    if choices:
        lines.append(f"Choices: {choices}")
    if field.minimum is not None or field.maximum is not None:
        lines.append(f"Range: {_bound(field.minimum)} to {_bound(field.maximum)}")
    return "\n".join(lines).replace("%", "%%")


def _bound(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"


def _flat(messages: Any) -> list[str]:
    if isinstance(messages, Mapping):
        return [f"{key}: {text}" for key, value in messages.items() for text in _flat(value)]
    if isinstance(messages, (list, tuple)):
        return [text for message in messages for text in _flat(message)]
    return [str(messages)]


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawTextHelpFormatter(prog, max_help_position=10)
