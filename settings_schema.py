"""Every setting, once: names, types, limits, words. Runs in the front and the command line.

The marshmallow schema below is the only declaration: the command line makes its flags from it, the
environment its variable names, and the documents their table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marshmallow import Schema, fields, post_load, validate

from .addresses import is_loopback_host
from .settings_disk import DiskSettings, DiskSettingsSchema
from .settings_fields import CpuSet, LocalPath, NameList, Size, Switch, UrlRules
from .settings_http import PortSettings, PortSettingsSchema
from .settings_oidc import OidcSettings, OidcSettingsSchema


@dataclass(frozen=True)
class ModelSettings:
    """One model's own settings: the table `[models.NAME]`. None means: as for all models."""

    predict_timeout: float | None = None
    workers: int | None = None
    device: str | None = None
    cpus: tuple[int, ...] | None = None
    max_wait_ms: float | None = None
    latency_target_ms: float | None = None
    memory_limit: int | None = None
    python: str | None = None
    urls: str | None = None
    torch_files: bool = False
    weights_folder: Path | None = None
    keep_last: int | None = None
    keep_best_by: str | None = None
    keep_runs: int | None = None
    max_seconds: float | None = None
    restart_on_failure: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings(PortSettings, OidcSettings, DiskSettings):
    """What the server runs with. Times are in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = 5000
    grpc_port: int | None = None
    home: Path = Path("modelyard-home")
    data: Path | None = None
    storage: str | None = None
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
    queue_seconds: float = 0.7
    queue_items: int = 10_000
    queue_size: int = 256 * 1024**2
    client_calls: int = 0
    memory_budget: int = 0
    memory_limit: int = 0
    answer_max_size: int = 2 * 1024**3
    device: str = "auto"
    threads: int | None = None
    max_trainings: int = 1
    keep_runs: int | None = None
    training_threads: int | None = None
    training_cpus: tuple[int, ...] | None = None
    training_nice: int = 19
    training_max_seconds: float | None = None
    training_grace: float = 30.0
    restart_on_failure: int = 0
    on_stop: str = "leave"
    stop_timeout: float = 10.0
    listen_when_loaded: bool = False
    warm_start: bool = True
    debug: bool = False
    tracing: str | None = None
    log_level: str = "info"
    log_file: Path | None = None
    log_size: int = 128 * 1024**2
    models: Mapping[str, ModelSettings] = field(default_factory=dict)

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach the server."""
        return is_loopback_host(self.host)


_DEVICE = validate.Regexp(
    r"(auto|cpu|cuda(:\d+)?)\Z", error="Not a device: give auto, cpu, cuda or cuda:N."
)
_SECONDS = validate.Range(min=0.05, max=86_400)
_WORKERS = validate.Range(min=1, max=64)
_TRAINING_SECONDS = validate.Range(min=0.05, max=100_000_000)
_RESTARTS = validate.Range(min=0, max=100)


def _about(text: str, *aliases: str, **more: Any) -> dict[str, Any]:
    return {"description": text, "aliases": aliases, **more}


class ModelSettingsSchema(Schema):
    """The table `[models.NAME]` of the settings file."""

    predict_timeout = fields.Float(validate=_SECONDS)
    workers = fields.Integer(validate=_WORKERS)
    device = fields.String(validate=_DEVICE)
    cpus = CpuSet(metadata=_about("CPUs that the model's workers use, such as 0-3,6"))
    max_wait_ms = fields.Float(
        validate=validate.Range(min=0, max=60_000),
        metadata=_about("milliseconds that an idle worker waits for a fuller batch (default: 0)"),
    )
    latency_target_ms = fields.Float(
        validate=validate.Range(min=0.1, max=3_600_000),
        metadata=_about("milliseconds that a batch may take: it gets fewer calls then"),
    )
    memory_limit = Size(
        validate=validate.Range(min=0),
        metadata=_about("bytes of memory that one worker or training of the model may take"),
    )
    python = fields.String(
        metadata=_about("interpreter of the model's own environment, such as /venv/bin/python")
    )
    urls = UrlRules(metadata=_about("where clients' URLs may lead: public, none, any, hosts"))
    torch_files = Switch(metadata=_about("read weights in .pt files (weights only)"))
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
    keep_runs = fields.Integer(
        validate=validate.Range(min=1),
        metadata=_about("ended runs that are kept, as keep_runs for all models"),
    )
    max_seconds = fields.Float(
        validate=_TRAINING_SECONDS, metadata=_about("seconds that a training may take at most")
    )
    restart_on_failure = fields.Integer(
        validate=_RESTARTS,
        metadata=_about("how often a training is begun again after a failure"),
    )
    env = fields.Dict(keys=fields.String(), values=fields.String())

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> ModelSettings:
        return ModelSettings(**data)


class SettingsSchema(PortSettingsSchema, OidcSettingsSchema, DiskSettingsSchema):
    """The settings as files, variables and flags give them."""

    host = fields.String(
        metadata=_about("address to listen on", "--listen-ip"),
    )
    port = fields.Integer(
        validate=validate.Range(min=0, max=65535),
        metadata=_about("port to listen on; 0 takes a free one", "--listen-port"),
    )
    grpc_port = fields.Integer(
        validate=validate.Range(min=0, max=65535),
        metadata=_about(
            "port for gRPC (the Open Inference Protocol) at the same address; 0 takes a free one "
            "(default: none); needs the extra grpc"
        ),
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
            "who may call: 'open' is everybody, as long as the home has no key, and has to be said "
            "for an address that other machines can reach"
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
    queue_seconds = fields.Float(
        validate=_SECONDS,
        metadata=_about(
            "seconds of work that may wait for a model, by what it took of late; 64 calls always"
        ),
    )
    queue_items = fields.Integer(
        validate=validate.Range(min=1), metadata=_about("calls that may wait for a model at most")
    )
    queue_size = Size(
        validate=validate.Range(min=1), metadata=_about("bytes that may wait for a model at most")
    )
    client_calls = fields.Integer(
        validate=validate.Range(min=0),
        metadata=_about("predictions of one client at the same time; 0 is no limit"),
    )
    memory_budget = Size(
        validate=validate.Range(min=0),
        metadata=_about(
            "bytes of memory that the workers of all models may have; the least recently used are "
            "unloaded, and loaded again for the next call; 0 is no limit"
        ),
    )
    memory_limit = Size(
        validate=validate.Range(min=0),
        metadata=_about(
            "bytes of memory that one worker, or one training, may take with all that it starts; "
            "the call or run that takes more fails; 0 is no limit"
        ),
    )
    answer_max_size = Size(
        validate=validate.Range(min=0),
        metadata=_about("largest answer of a model in bytes; 0 is no limit"),
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
    keep_runs = fields.Integer(
        validate=validate.Range(min=1),
        metadata=_about(
            "ended runs of each model that are kept, with log and checkpoints; older ones are "
            "purged, their weights versions stay (default: all)"
        ),
    )
    training_threads = fields.Integer(
        validate=_WORKERS,
        metadata=_about("CPU threads of a training (default: the cores divided by max-trainings)"),
    )
    training_cpus = CpuSet(
        metadata=_about("CPUs that trainings use, such as 0-3,6 (default: all of the server's)")
    )
    training_nice = fields.Integer(
        validate=validate.Range(min=0, max=19),
        metadata=_about("niceness of trainings: 0 shares the CPU evenly with predictions"),
    )
    training_max_seconds = fields.Float(
        validate=_TRAINING_SECONDS,
        metadata=_about("seconds that a training may take at most (default: as long as it needs)"),
    )
    training_grace = fields.Float(
        validate=_SECONDS,
        metadata=_about(
            "seconds that a training gets to save a checkpoint when its time is over or it is "
            "paused"
        ),
    )
    restart_on_failure = fields.Integer(
        validate=_RESTARTS,
        metadata=_about("how often a training is begun again after a failure, if not said with it"),
    )
    on_stop = fields.String(
        validate=validate.OneOf(["leave", "pause", "cancel"]),
        metadata=_about("what becomes of running trainings when the server is stopped"),
    )
    stop_timeout = fields.Float(
        validate=_SECONDS,
        metadata=_about("seconds that requests under way get to end when the server is stopped"),
    )
    listen_when_loaded = Switch(
        metadata=_about("open the port only when the models have been loaded, or failed to be"),
    )
    warm_start = Switch(
        metadata=_about("keep torch preloaded so that trainings start at once (about 200 MB)"),
    )
    debug = Switch(metadata=_about("log everything: the same as --log-level debug", "-d"))
    tracing = fields.URL(
        schemes={"http", "https"},
        require_tld=False,
        metadata=_about(
            "OpenTelemetry collector that gets a trace of each request (OTLP over HTTP, such as "
            "http://127.0.0.1:4318); needs the extra otel"
        ),
    )
    log_level = fields.String(
        validate=validate.OneOf(["debug", "info", "warning", "error"]),
        metadata=_about("least severe message that is logged"),
    )
    log_file = LocalPath(
        metadata=_about("file that the server's log goes to, and not standard error", "--logfile")
    )
    log_size = Size(
        validate=validate.Range(min=0),
        metadata=_about(
            "bytes at which a new log file is begun; three older ones stay; 0 is no limit"
        ),
    )
    models = fields.Dict(
        keys=fields.String(),
        values=fields.Nested(ModelSettingsSchema),
        metadata=_about(
            "one table per model: predict_timeout, workers, device, cpus, max_wait_ms, "
            "latency_target_ms, memory_limit, python, urls, torch_files, weights_folder, "
            "keep_last, keep_best_by, keep_runs, max_seconds, restart_on_failure, env",
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
