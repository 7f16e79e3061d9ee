"""As much of `pkg_resources` as modules use to read their own metadata. Python 3.8 syntax.

DEEPaaS brought setuptools along; newer environments lack pkg_resources.
"""

from __future__ import annotations

import importlib
import importlib.metadata as metadata
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any


class DistributionNotFound(Exception):
    """No installed distribution has that name."""


class Distribution:
    """One installed distribution."""

    def __init__(self, found: metadata.Distribution) -> None:
        self._found = found
        self.project_name = self._found.metadata["Name"]
        self.key = self.project_name.lower()
        self.version = self._found.version

    @property
    def location(self) -> str:
        return str(self._found.locate_file(""))

    def has_metadata(self, name: str) -> bool:
        return bool(self._text(name))

    def get_metadata(self, name: str) -> str:
        """The text of a metadata file; of `PKG-INFO` and `METADATA` the one that there is."""
        text = self._text(name)
        if text is None:
            raise FileNotFoundError(name)
        return text

    def get_metadata_lines(self, name: str) -> Iterator[str]:
        """Its lines without empty ones and comments."""
        for line in self.get_metadata(name).splitlines():
            stripped = line.strip()
            if stripped and not stripped.startswith("#"):
                yield stripped

    def __str__(self) -> str:
        return f"{self.project_name} {self.version}"

    def _text(self, name: str) -> Any:
        names = ("METADATA", "PKG-INFO") if name in ("METADATA", "PKG-INFO") else (name,)
        texts = (self._found.read_text(one) for one in names)
        return next((text for text in texts if text), None)


def get_distribution(name: str) -> Distribution:
    try:
        return Distribution(metadata.distribution(name))
    except metadata.PackageNotFoundError as error:
        raise DistributionNotFound(name) from error


def find_distributions(path: Any, only: bool = False) -> Iterator[Distribution]:
    """Those that stand in this folder: with an editable install, the repository's own."""
    for found in metadata.distributions(path=[str(path)]):
        if found.metadata["Name"]:
            yield Distribution(found)


def require(*names: str) -> list[Distribution]:
    return [get_distribution(name) for name in names]


def _folder(package: Any) -> Path:
    module = importlib.import_module(package) if isinstance(package, str) else package
    return Path(str(module.__file__)).parent


def resource_filename(package: Any, name: str) -> str:
    return str(_folder(package) / name)


def resource_string(package: Any, name: str) -> bytes:
    return (_folder(package) / name).read_bytes()


def resource_exists(package: Any, name: str) -> bool:
    return (_folder(package) / name).exists()


def parse_version(text: str) -> Any:
    version: Any = importlib.import_module("packaging.version")
    return version.parse(text)


def fill(module: ModuleType, model_name: str) -> None:
    """The contents of `pkg_resources`."""
    vars(module).update(
        Distribution=Distribution,
        DistributionNotFound=DistributionNotFound,
        find_distributions=find_distributions,
        get_distribution=get_distribution,
        require=require,
        resource_filename=resource_filename,
        resource_string=resource_string,
        resource_exists=resource_exists,
        parse_version=parse_version,
    )
