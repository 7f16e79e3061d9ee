"""Every setting of the server in one typed place: files, `MODELYARD_*`, flags; later wins.

They are declared in `schema.py` and its parts. Runs in the front and the command line, before
anything is started.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from marshmallow import EXCLUDE, Schema, ValidationError

from ..errors import InvalidSettings
from .checks import setting_names
from .environ import ENV_PREFIX, settings_of
from .files import files_in, read_settings_file
from .machine import readable_by_all
from .models import ModelSettingsSchema, secrets_in
from .schema import Settings, SettingsSchema

DEEPAAS_MODEL = "DEEPAAS_V2_MODEL"
"""DEEPaaS's variable for the model's name: what our own sources say wins over it."""

log = logging.getLogger(__name__)


class Source(NamedTuple):
    """Settings that stand in one place; `where` tells it in messages."""

    where: str
    values: Mapping[str, Any]


def load_settings(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    config_files: Sequence[Path] = (),
    config_dirs: Sequence[Path] = (),
) -> Settings:
    """The settings from files, then the environment, then flags; a later one wins.

    `flags` holds only those that were given. Raises InvalidSettings, which names each wrong
    setting, where it stands, and what would be right.
    """
    return settings_from(read_sources(flags, environ, config_files, config_dirs))


def read_sources(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    config_files: Sequence[Path] = (),
    config_dirs: Sequence[Path] = (),
) -> list[Source]:
    """What each place says, in rising precedence; files of folders come after single files.

    `MODELYARD_CONFIG_FILE` and `MODELYARD_CONFIG_DIR` name one more of each, which comes first.
    Raises InvalidSettings.
    """
    environ = os.environ if environ is None else environ
    schema = SettingsSchema()
    sources = []
    if environ.get(DEEPAAS_MODEL):
        sources.append(Source(f"in {DEEPAAS_MODEL}", {"model_name": environ[DEEPAAS_MODEL]}))
    for path in [*_named(environ, "CONFIG_FILE"), *config_files]:
        sources.append(_from_file(path, schema))
    for folder in [*_named(environ, "CONFIG_DIR"), *config_dirs]:
        sources += [_from_file(path, schema) for path in files_in(folder)]
    sources.append(Source("in the environment", settings_of(environ, setting_names())))
    sources.append(Source("on the command line", dict(flags or {})))
    return sources


def settings_from(sources: Sequence[Source]) -> Settings:
    """The settings; a later source wins. Raises InvalidSettings, which names all that is wrong."""
    schema = SettingsSchema()
    merged: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    for where, values in sources:
        for name, messages in schema.validate(dict(values)).items():
            texts = _told(str(name), messages, schema)
            errors.setdefault(str(name), []).extend(f"{text} ({where})" for text in texts)
        merged.update(values)
    if errors:
        raise InvalidSettings.of(errors)
    try:
        settings: Settings = schema.load(merged, unknown=EXCLUDE)
    except ValidationError as error:  # every source was valid by itself, so this is one of them
        raise InvalidSettings(str(error), {"settings": [str(error)]}) from error
    return settings


def _from_file(path: Path, schema: Schema) -> Source:
    read = read_settings_file(path, _ini_names(schema))
    for name in read.unknown:
        log.warning("%s: %s is no setting of this server; it has no effect", path, name)
    secret = secrets_in(read.values)
    if secret and readable_by_all(path):
        log.warning(
            "every user of this machine may read %s, which holds a secret (%s): chmod o-r %s",
            path,
            secret[0],
            path,
        )
    return Source(f"in {path}", read.values)


def _ini_names(schema: Schema) -> dict[str, str]:
    """What an ini may call each setting: its name, and those of its flags, by underscores."""
    names = {}
    for name, declared in schema.fields.items():
        if declared.metadata.get("flag", True):
            long = [alias for alias in declared.metadata["aliases"] if alias.startswith("--")]
            for known in (name, *long):
                names[known.lstrip("-").replace("-", "_")] = name
    return names


def _named(environ: Mapping[str, str], name: str) -> list[Path]:
    text = environ.get(ENV_PREFIX + name)
    return [Path(text).expanduser()] if text else []


def _told(name: str, messages: Any, schema: Schema) -> list[str]:
    """What is wrong with one setting, each with the names below it that lead there."""
    texts = []
    for path, text in _flat(messages):
        if text == schema.error_messages["unknown"]:
            text = _nearest(path[-1]) if path else _nearest(name, _ini_names(schema))
        # The models are a dict, and each `env` is one: for marshmallow, all in it is its `value`.
        names = [part for place, part in enumerate(path) if place not in (1, 4)]
        texts.append(": ".join([*names, text]))
    return texts


def _nearest(name: str, names: Mapping[str, str] | None = None) -> str:
    """`names` are what settings may be called, and the setting; None: those of one model."""
    known = {**names, "models": "models"} if names else {n: n for n in ModelSettingsSchema().fields}
    found = difflib.get_close_matches(name.replace("-", "_").lower(), known, 1)
    elsewhere = "See docs/settings.md." if names else f"Known are {', '.join(known)}."
    return f"There is no such setting. {f'Is {known[found[0]]} meant?' if found else elsewhere}"


def _flat(messages: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(messages, Mapping):
        for key, value in messages.items():
            yield from _flat(value, path if key == "_schema" else (*path, str(key)))
    else:
        texts = messages if isinstance(messages, list) else [messages]
        yield from ((path, str(text)) for text in texts)
