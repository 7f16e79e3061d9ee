"""The model card: what a version is, in Markdown, made of its manifest alone.

Everything in a manifest may be a stranger's text (a dataset's name, an argument, an imported
manifest as a whole), so all of it is escaped, and no member need have the shape that ours have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .curves import chosen, curves_of, sparkline
from .markdown import escaped, table

FILES_SHOWN, PACKAGES_SHOWN, ROWS_SHOWN, CURVES_SHOWN, POINTS_SHOWN = 50, 300, 300, 30, 20

_OWN_SECTION = ("dataset", "uploads", "arguments", "curves", "code", "environment")
"""Members of a lineage that have a section; what else is in it is under More."""


def model_card(manifest: Mapping[str, Any]) -> bytes:
    """The card as UTF-8; the same for the same manifest."""
    lineage = _object(manifest.get("lineage"))
    lines = [f"# {escaped(manifest.get('model'))}", ""]
    lines += _version(manifest)
    lines += _section("Data", _data(manifest, lineage), "Not recorded.")
    lines += _section("Arguments", _pairs(("Argument", "Value"), lineage.get("arguments")),
                      "Not recorded.")  # fmt: skip
    lines += _section("Metrics", _pairs(("Metric", "Value"), manifest.get("metrics")), "None.")
    lines += _section("Curves", _curves(_object(lineage.get("curves"))), "None.")
    lines += _section("Code", _rows(_flat(_object(lineage.get("code")))), "Not recorded.")
    lines += _section("Environment", _environment(lineage), "Not recorded.")
    lines += _section("More", _more(lineage))
    lines += _section("Licence", _licence(lineage))
    lines += _section("Files", _files(manifest), "None.")
    return ("\n".join(lines).rstrip() + "\n").encode("utf-8", "replace")


def _section(title: str, lines: Sequence[str], otherwise: str | None = None) -> list[str]:
    if not lines:
        if otherwise is None:
            return []
        lines = [otherwise, ""]
    return [f"## {title}", "", *lines]


def _version(manifest: Mapping[str, Any]) -> list[str]:
    rows = [
        ("Version", manifest.get("id")),
        ("Created", manifest.get("created_at")),
        ("Origin", manifest.get("origin")),
        ("Run", manifest.get("run")),
        ("Step", manifest.get("step")),
        ("Checkpoint", manifest.get("checkpoint")),
        ("Made from the version", manifest.get("parent")),
        ("Size", _bytes(_size(manifest))),
    ]
    return table(("", ""), [row for row in rows if row[1] is not None])


def _size(manifest: Mapping[str, Any]) -> int:
    sizes = [_object(item).get("size") for item in _list(manifest.get("files"))]
    return sum(size for size in sizes if isinstance(size, int))


def _data(manifest: Mapping[str, Any], lineage: Mapping[str, Any]) -> list[str]:
    dataset = _object(manifest.get("dataset"))
    uploads = [_object(item) for item in _list(lineage.get("uploads"))]
    shown = [(i.get("filename"), _bytes(i.get("size")), i.get("sha256")) for i in uploads]
    return [
        *_rows(_flat(dataset or _object(lineage.get("dataset")))),
        *table(("Uploaded file", "Size", "SHA-256"), shown[:FILES_SHOWN]),
        *_and_more(len(shown), FILES_SHOWN, "files"),
    ]


def _environment(lineage: Mapping[str, Any]) -> list[str]:
    # A run may use fewer threads than the server lets it have, and the latter is what is recorded.
    environment = {
        "thread_limit" if name == "threads" else name: value
        for name, value in _object(lineage.get("environment")).items()
    }
    packages = _object(environment.pop("packages", None))
    shown = sorted((str(name), _value(version)) for name, version in packages.items())
    lines = _rows(_flat(environment))
    lines += table(("Package", "Version"), shown[:PACKAGES_SHOWN])
    return [*lines, *_and_more(len(shown), PACKAGES_SHOWN, "packages")]


def _more(lineage: Mapping[str, Any]) -> list[str]:
    return _rows(_flat({n: value for n, value in lineage.items() if n not in _OWN_SECTION}))


def _licence(lineage: Mapping[str, Any]) -> list[str]:
    licence = _object(lineage.get("code")).get("licence")
    if licence:
        return table(("", ""), [("Licence of the code", _value(licence))])
    return ["Not stated. Ask who trained it before you pass it on.", ""]


def _files(manifest: Mapping[str, Any]) -> list[str]:
    files = [_object(item) for item in _list(manifest.get("files"))]
    rows = [(i.get("path"), _bytes(i.get("size")), i.get("sha256")) for i in files[:FILES_SHOWN]]
    return [
        *table(("File", "Size", "SHA-256"), rows),
        *_and_more(len(files), FILES_SHOWN, "files"),
    ]


def _curves(curves: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, points in curves_of(curves, CURVES_SHOWN).items():
        values = [value for _, value in points]
        lines += [f"### {escaped(name)}", "", f"`{sparkline(values)}`", ""]
        lines += table(
            ("Step", "Value"),
            [(step, f"{value:.6g}") for step, value in chosen(points, POINTS_SHOWN)],
        )
    return [*lines, *_and_more(len(curves), CURVES_SHOWN, "curves")]


def _and_more(count: int, shown: int, what: str) -> list[str]:
    return [f"And {count - shown} more {what}; manifest.json has all.", ""] if count > shown else []


def _rows(rows: Sequence[tuple[str, str]]) -> list[str]:
    return [
        *table(("", ""), [(_title(name), value) for name, value in rows[:ROWS_SHOWN]]),
        *_and_more(len(rows), ROWS_SHOWN, "entries"),
    ]


def _pairs(head: tuple[str, str], value: Any) -> list[str]:
    rows = [(str(name), _value(value)) for name, value in _object(value).items()]
    return [*table(head, rows[:ROWS_SHOWN]), *_and_more(len(rows), ROWS_SHOWN, "entries")]


def _flat(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values; an object in it is told by its members, one level deep."""
    return [pair for name, item in value.items() for pair in _pairs_of(str(name), item)]


def _pairs_of(name: str, item: Any) -> Iterator[tuple[str, str]]:
    if isinstance(item, Mapping):
        for inner, value in item.items():
            if value is not None:
                yield f"{name} {inner}", _value(value)
    elif item is not None and item != []:
        yield name, _value(item)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(_value(item) for item in value[:ROWS_SHOWN])
    return str(value)


def _title(name: str) -> str:
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def _bytes(size: Any) -> str | None:
    if not isinstance(size, int):
        return None
    if size < 1024:
        return f"{size} bytes"
    number, units = size / 1024, ["KiB", "MiB", "GiB"]
    while number >= 1024 and len(units) > 1:
        number, units = number / 1024, units[1:]
    return f"{number:.1f} {units[0]} ({size} bytes)"


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
