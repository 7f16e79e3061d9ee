"""Every setting of the server in one typed place: files, `MODELYARD_*`, flags; later wins.

The marshmallow schema below is the only declaration: the command line makes its flags from it,
the environment its variable names, and the documents their table. Runs in the front and the
command line, before anything is started.
"""

from __future__ import annotations

import difflib
import ipaddress
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate

from .errors import InvalidSettings
from .settings_fields import LocalPath, NameList, Size, Switch
from .settings_files import files_in, read_settings_file

ENV_PREFIX = "MODELYARD_"
DEEPAAS_MODEL = "DEEPAAS_V2_MODEL"
"""DEEPaaS's variable for the model's name: what our own sources say wins over it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelSettings:
    """One model's own settings: the table `[models.NAME]`. None means: as for all models."""

    predict_timeout: float | None = None
    workers: int | None = None
    device: str | None = None
    python: str | None = None
    weights_folder: Path | None = None
    keep_last: int | None = None
    keep_best_by: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """What the server runs with. Times are in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = 5000
    home: Path = Path("modelyard-home")
    data: Path | None = None
    storage: str | None = None
    storage_cache: int = 20 * 1024**3
    dataset_sources: tuple[str, ...] = ()
    model_name: tuple[str, ...] = ()
    workers: int = 1
    base_path: str = ""
    access: str = "keys"
    allowed_hosts: tuple[str, ...] = ()
    client_max_size: int = 2 * 1024**3
    train_endpoint: bool = True
    predict_endpoint: bool = True
    doc_endpoint: bool = True
    debug_endpoint: bool = False
    warm: bool = True
    predict_timeout: float = 60.0
    load_timeout: float = 60.0
    device: str = "auto"
    threads: int | None = None
    max_trainings: int = 1
    training_threads: int | None = None
    training_nice: int = 10
    on_stop: str = "leave"
    listen_when_loaded: bool = False
    warm_start: bool = True
    debug: bool = False
    log_level: str = "info"
    log_file: Path | None = None
    models: Mapping[str, ModelSettings] = field(default_factory=dict)

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


_DEVICE = validate.Regexp(
    r"(auto|cpu|cuda(:\d+)?)\Z", error="Not a device: give auto, cpu, cuda or cuda:N."
)
_SECONDS = validate.Range(min=0.05, max=86_400)
_WORKERS = validate.Range(min=1, max=64)


def _about(text: str, *aliases: str, **more: Any) -> dict[str, Any]:
    return {"description": text, "aliases": aliases, **more}


class ModelSettingsSchema(Schema):
    """The table `[models.NAME]` of the settings file."""

    predict_timeout = fields.Float(validate=_SECONDS)
    workers = fields.Integer(validate=_WORKERS)
    device = fields.String(validate=_DEVICE)
    python = fields.String(
        metadata=_about("interpreter of the model's own environment, such as /venv/bin/python")
    )
    weights_folder = LocalPath(
        metadata=_about("folder where the model's train() leaves its weights")
    )
    keep_last = fields.Integer(
        validate=validate.Range(min=1),
        metadata=_about("weights versions that are kept, beside those with an alias and the best"),
    )
    keep_best_by = fields.String(
        validate=validate.Length(min=1),
        metadata=_about("metric whose best version is kept; `-loss`: the smallest is the best"),
    )
    env = fields.Dict(keys=fields.String(), values=fields.String())

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> ModelSettings:
        return ModelSettings(**data)


class SettingsSchema(Schema):
    """The settings as files, variables and flags give them."""

    host = fields.String(
        metadata=_about("address to listen on", "--listen-ip"),
    )
    port = fields.Integer(
        validate=validate.Range(min=0, max=65535),
        metadata=_about("port to listen on; 0 takes a free one", "--listen-port"),
    )
    home = LocalPath(
        metadata=_about("folder of all state: records, runs, weights, logs"),
    )
    data = LocalPath(
        metadata=_about("folder whose sub-folders trainings may name as their dataset"),
    )
    storage = fields.String(
        validate=validate.Length(min=1),
        metadata=_about(
            "store shared by servers, s3://bucket/prefix or a folder: weights and datasets are "
            "published there (default: the home alone keeps them)"
        ),
    )
    storage_cache = Size(
        validate=validate.Range(min=0),
        metadata=_about(
            "bytes of weights and datasets fetched from the store that are kept in the home; the "
            "least recently used go first; 0 is no limit"
        ),
    )
    dataset_sources = NameList(
        fields.String(),
        metadata=_about(
            "prefixes of s3:// addresses that datasets may be taken from; divide by commas"
        ),
    )
    model_name = NameList(
        fields.String(),
        metadata=_about("model to serve; repeat it or divide by commas (default: all installed)"),
    )
    workers = fields.Integer(
        validate=_WORKERS,
        metadata=_about("worker processes of each model", "-p"),
    )
    base_path = fields.String(
        validate=validate.Regexp(
            r"(/[A-Za-z0-9._~-]+)*/?\Z", error="Not a path prefix: write it like /models/a."
        ),
        metadata=_about("prefix of every path, for a server behind a proxy"),
    )
    access = fields.String(
        validate=validate.OneOf(["keys", "open"]),
        metadata=_about(
            "who may call: 'open' is everybody, and has to be said for an address that other "
            "machines can reach"
        ),
    )
    allowed_hosts = NameList(
        fields.String(),
        metadata=_about("names that the server may be called by, beside its own; divide by commas"),
    )
    client_max_size = Size(
        validate=validate.Range(min=0),
        metadata=_about("largest request in bytes (512M and 2G are understood); 0 is no limit"),
    )
    train_endpoint = Switch(metadata=_about("answer on the routes of trainings; else with 402"))
    predict_endpoint = Switch(metadata=_about("answer on the route of predictions; else with 402"))
    doc_endpoint = Switch(metadata=_about("serve Swagger UI at /api and /ui"))
    debug_endpoint = Switch(
        metadata=_about("show at /v2/debug/ what the server and the models print")
    )
    warm = Switch(metadata=_about("call a model's warm() before its first prediction"))
    predict_timeout = fields.Float(
        validate=_SECONDS,
        metadata=_about("seconds until a prediction is given up and its worker replaced"),
    )
    load_timeout = fields.Float(
        validate=_SECONDS,
        metadata=_about("seconds that a model may take to be imported and loaded"),
    )
    device = fields.String(
        validate=_DEVICE,
        metadata=_about("device of predictions and trainings: auto, cpu, cuda or cuda:N"),
    )
    threads = fields.Integer(
        validate=_WORKERS,
        metadata=_about("CPU threads of a worker (default: the cores divided by the workers)"),
    )
    max_trainings = fields.Integer(
        validate=_WORKERS,
        metadata=_about("trainings that run at the same time; more are queued"),
    )
    training_threads = fields.Integer(
        validate=_WORKERS,
        metadata=_about("CPU threads of a training (default: the cores divided by max-trainings)"),
    )
    training_nice = fields.Integer(
        validate=validate.Range(min=0, max=19),
        metadata=_about("niceness of trainings: 0 shares the CPU evenly with predictions"),
    )
    on_stop = fields.String(
        validate=validate.OneOf(["leave", "pause", "cancel"]),
        metadata=_about("what becomes of running trainings when the server is stopped"),
    )
    listen_when_loaded = Switch(
        metadata=_about("open the port only when the models have been loaded, or failed to be"),
    )
    warm_start = Switch(
        metadata=_about("keep torch preloaded so that trainings start at once (about 200 MB)"),
    )
    debug = Switch(metadata=_about("log everything: the same as --log-level debug", "-d"))
    log_level = fields.String(
        validate=validate.OneOf(["debug", "info", "warning", "error"]),
        metadata=_about("least severe message that is logged"),
    )
    log_file = LocalPath(
        metadata=_about("file that the server's log goes to, and not standard error", "--logfile")
    )
    models = fields.Dict(
        keys=fields.String(),
        values=fields.Nested(ModelSettingsSchema),
        metadata=_about(
            "one table per model: predict_timeout, workers, device, python, weights_folder, "
            "keep_last, keep_best_by, env",
            flag=False,
        ),
    )

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Settings:
        if "base_path" in data:
            data["base_path"] = data["base_path"].rstrip("/")
        if data.get("debug"):
            data["log_level"] = "debug"
        return Settings(**data)


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
    sources.append(Source("in the environment", _from_environ(environ, schema)))
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
        lines = "\n".join(f"  {name}: {' '.join(texts)}" for name, texts in errors.items())
        raise InvalidSettings(f"Some settings are not valid:\n{lines}", errors)
    try:
        settings: Settings = schema.load(merged, unknown=EXCLUDE)
    except ValidationError as error:  # every source was valid by itself, so this is one of them
        raise InvalidSettings(str(error), {"settings": [str(error)]}) from error
    return settings


def _from_file(path: Path, schema: Schema) -> Source:
    read = read_settings_file(path, _ini_names(schema))
    for name in read.unknown:
        log.warning("%s: %s is no setting of this server; it has no effect", path, name)
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


def _from_environ(environ: Mapping[str, str], schema: Schema) -> dict[str, str]:
    values = {}
    for name, declared in schema.fields.items():
        text = environ.get(ENV_PREFIX + name.upper())
        if text is not None and declared.metadata.get("flag", True):
            values[name] = text
    return values


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
