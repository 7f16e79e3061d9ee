"""Static files that a browser gets: Swagger UI, from our own files only."""

from __future__ import annotations

from pathlib import Path

SWAGGER_UI_VERSION = "5.35.0"

_STATIC = Path(__file__).parent / "static"


def static_file(folder: str, name: str) -> Path | None:
    """The path of a file under `static/<folder>/`, or None if there is no such file.

    `name` may come from an address: it is looked up among what is there, never joined into a path.
    """
    files = {path.name: path for path in (_STATIC / folder).iterdir() if path.is_file()}
    return files.get(name)
