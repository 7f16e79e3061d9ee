"""Settings files: TOML, and the ini files of DEEPaaS; which one it is, its content says.

The ini dialect is oslo.config's: `key = value` or `key: value` under `[DEFAULT]`, comments on
lines of their own, a line that begins with a space goes on with the one before, quotes round a
whole value are dropped (https://docs.openstack.org/oslo.config/latest/configuration/format.html).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InvalidSettings

_INI = re.compile(r"^\[DEFAULT\][ \t]*\r?$", re.MULTILINE)
_SUFFIXES = (".conf", ".toml")


class SettingsFile(NamedTuple):
    """What one file says. `unknown` are names in it that are nobody's, with their section."""

    values: Mapping[str, Any]
    unknown: Sequence[str] = ()


def read_settings_file(path: Path, names: Mapping[str, str]) -> SettingsFile:
    """One file; `names` are what an ini may call a setting, by underscores, and the setting.

    A name in an ini that is none of them is only listed: oslo's own options, such as `log_dir`, are
    common there. Raises InvalidSettings.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InvalidSettings(
            f"The settings file {path} cannot be read: {error.strerror}."
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidSettings(f"The settings file {path} is not UTF-8: {error}.") from error
    if _INI.search(text):
        return _read_ini(path, text, names)
    try:
        return SettingsFile(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettings(
            f"The settings file {path} is not valid TOML: {error}. "
            "(An ini file of DEEPaaS has a section [DEFAULT].)"
        ) from error


def files_in(folder: Path) -> list[Path]:
    """The settings files of a folder, in the order of their names. Raises InvalidSettings."""
    try:
        found = [path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file()]
    except OSError as error:
        raise InvalidSettings(
            f"The settings folder {folder} cannot be read: {error.strerror}."
        ) from error
    return sorted(found)


def deepaas_files(environ: Mapping[str, str], command: str) -> list[Path]:
    """DEEPaaS's settings files that exist here, as `command` reads them without being told.

    oslo.config's `find_config_files`.
    """
    return _first_of_each(environ, command, ".conf")


def deepaas_dirs(environ: Mapping[str, str], command: str) -> list[Path]:
    """The same of settings folders: oslo.config's `find_config_dirs`."""
    return _first_of_each(environ, command, ".conf.d")


def _first_of_each(environ: Mapping[str, str], command: str, suffix: str) -> list[Path]:
    home = Path(environ.get("HOME") or Path.home())
    folders = [home / ".deepaas", home, Path("/etc/deepaas"), Path("/etc")]
    found = []
    for name in ("deepaas", command):
        candidates = (folder / f"{name}{suffix}" for folder in folders)
        found += [path for path in candidates if path.exists()][:1]
    return found


def _read_ini(path: Path, text: str, names: Mapping[str, str]) -> SettingsFile:
    values: dict[str, str] = {}
    unknown = []
    for section, key, value in _assignments(path, text):
        name = names.get(key.replace("-", "_").lower()) if section == "DEFAULT" else None
        if name is None:
            unknown.append(key if section == "DEFAULT" else f"[{section}] {key}")
        elif value:  # `model_name =` is how these files leave a setting as it is
            values[name] = value
    return SettingsFile(values, unknown)


def _assignments(path: Path, text: str) -> Iterator[tuple[str, str, str]]:
    """Section, key and value of each assignment."""
    section = ""
    pending: tuple[str, str, str] | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.rstrip()
        if pending and line[:1] in (" ", "\t"):
            pending = (*pending[:2], f"{pending[2]}\n{line.strip()}")
            continue
        if pending:
            yield pending
            pending = None
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            section = line.strip("[]")
            continue
        match = re.match(r"([^\s=:][^=:]*?)\s*[=:]\s*(.*)", line)
        if match is None:
            raise InvalidSettings(
                f"The settings file {path} is not a valid ini file: line {number} is no "
                f"assignment: {line[:100]!r}."
            )
        pending = (section, match[1], _unquoted(match[2]))
    if pending:
        yield pending


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
