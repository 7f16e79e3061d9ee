"""Kinds of settings: what a text in a file, a variable or a flag may say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from marshmallow import fields


class NameList(fields.List):
    """A list that a flag or variable may give as one text, divided by commas."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list | tuple):
            texts = [part.strip() for text in texts for part in str(text).split(",")]
            texts = [part for part in texts if part]
        return tuple(super()._deserialize(texts, *args, **kwargs))


class LocalPath(fields.String):
    """A path as text; `~` is the user's home."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = os.fspath(value) if isinstance(value, os.PathLike) else value
        return Path(super()._deserialize(text, *args, **kwargs)).expanduser().absolute()


class Switch(fields.Boolean):
    """On or off, in any letters: `True`, `on`, `yes`, `1`, as oslo.config takes them too."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = value.strip().lower() if isinstance(value, str) else value
        return super()._deserialize(text, *args, **kwargs)


class Size(fields.Integer):
    """A number of bytes; `512M` and `2G` are understood (powers of 1024)."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        factor = 1
        if isinstance(value, str) and value[-1:].upper() in "KMGT" and value[:-1].strip():
            factor = 1024 ** ("KMGT".index(value[-1].upper()) + 1)
            value = value[:-1]
        return super()._deserialize(value, *args, **kwargs) * factor
