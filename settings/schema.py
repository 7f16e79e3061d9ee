"""Every setting, once: names, types, limits, words. Runs in the front and the command line.

The marshmallow schema below is the only declaration: the command line makes its flags from it, the
environment its variable names, and the documents their table. Its parts are in a file for each
theme, and the kinds of values in `fields.py`, `numbers.py` and
`addresses.py`. What settings must not be together, or on this machine, is looked at when a
server starts: `together.py`, `machine.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marshmallow import fields, post_load, validate

from ..addresses import is_loopback_host
from .addresses import BasePath, CollectorUrl, DatasetSource, HostName, ListenAddress
from .disk import DiskSettings, DiskSettingsSchema
from .fields import LocalPath, NameList, Switch, Text, about
from .http import PortSettings, PortSettingsSchema
from .models import ModelSettings, ModelSettingsSchema
from .numbers import Amount, Count, Size
from .oidc import OidcSettings, OidcSettingsSchema
from .serving import PATIENCE, ServingSettings, ServingSettingsSchema
from .training import TrainingSettings, TrainingSettingsSchema

_LEAST_LOG = 64 * 1024
_PORTS = (0, 65535)


@dataclass(frozen=True)
class Settings(PortSettings, OidcSettings, DiskSettings, ServingSettings, TrainingSettings):
    """What the server runs with. Times are in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = 5000
    grpc_port: int | None = None
    home: Path = Path("modelyard-home")
    data: Path | None = None
    storage: str | None = None
    dataset_sources: tuple[str, ...] = ()
    model_name: tuple[str, ...] = ()
    base_path: str = ""
    access: str = "keys"
    allowed_hosts: tuple[str, ...] = ()
    client_max_size: int = 2 * 1024**3
    train_endpoint: bool = True
    predict_endpoint: bool = True
    doc_endpoint: bool = True
    debug_endpoint: bool = False
    stop_timeout: float = 10.0
    listen_when_loaded: bool = False
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


class SettingsSchema(
    PortSettingsSchema,
    OidcSettingsSchema,
    DiskSettingsSchema,
    ServingSettingsSchema,
    TrainingSettingsSchema,
):
    """The settings as files, variables and flags give them."""

    host = ListenAddress(
        metadata=about("address to listen on", "--listen-ip"),
    )
    port = Count(
        *_PORTS,
        metadata=about("port to listen on; 0 takes a free one", "--listen-port"),
    )
    grpc_port = Count(
        *_PORTS,
        metadata=about(
            "port for gRPC (the Open Inference Protocol) at the same address; 0 takes a free one "
            "(default: none); needs the extra grpc"
        ),
    )
    home = LocalPath(
        metadata=about("folder of all state: records, runs, weights, logs"),
    )
    data = LocalPath(
        metadata=about("folder whose sub-folders trainings may name as their dataset"),
    )
    storage = Text(
        metadata=about(
            "store shared by servers, s3://bucket/prefix or a folder: weights and datasets are "
            "published there (default: the home alone keeps them)"
        ),
    )
    dataset_sources = NameList(
        DatasetSource(),
        metadata=about(
            "prefixes of s3:// addresses that datasets may be taken from; divide by commas"
        ),
    )
    model_name = NameList(
        Text(),
        metadata=about("model to serve; repeat it or divide by commas (default: all installed)"),
    )
    base_path = BasePath(
        metadata=about("prefix of every path, for a server behind a proxy"),
    )
    access = fields.String(
        validate=validate.OneOf(["keys", "open"]),
        metadata=about(
            "who may call: 'open' is everybody, as long as the home has no key, and has to be said "
            "for an address that other machines can reach"
        ),
    )
    allowed_hosts = NameList(
        HostName(),
        metadata=about("names that the server may be called by, beside its own; divide by commas"),
    )
    client_max_size = Size(
        zero="no limit",
        metadata=about("largest request in bytes (512M and 2G are understood); 0 is no limit"),
    )
    train_endpoint = Switch(metadata=about("answer on the routes of trainings; else with 402"))
    predict_endpoint = Switch(metadata=about("answer on the route of predictions; else with 402"))
    doc_endpoint = Switch(metadata=about("serve Swagger UI at /api and /ui"))
    debug_endpoint = Switch(
        metadata=about("show at /v2/debug/ what the server and the models print")
    )
    stop_timeout = Amount(
        *PATIENCE,
        metadata=about("seconds that requests under way get to end when the server is stopped"),
    )
    listen_when_loaded = Switch(
        metadata=about("open the port only when the models have been loaded, or failed to be"),
    )
    debug = Switch(metadata=about("log everything: the same as --log-level debug", "-d"))
    tracing = CollectorUrl(
        metadata=about(
            "OpenTelemetry collector that gets a trace of each request (OTLP over HTTP, such as "
            "http://127.0.0.1:4318); needs the extra otel"
        ),
    )
    log_level = fields.String(
        validate=validate.OneOf(["debug", "info", "warning", "error"]),
        metadata=about("least severe message that is logged"),
    )
    log_file = LocalPath(
        metadata=about("file that the server's log goes to, and not standard error", "--logfile")
    )
    log_size = Size(
        _LEAST_LOG,
        zero="no limit",
        metadata=about(
            "bytes at which a new log file is begun; three older ones stay; 0 is no limit"
        ),
    )
    models = fields.Dict(
        keys=Text(),
        values=fields.Nested(ModelSettingsSchema),
        metadata=about(
            "one table per model: predict_timeout, workers, device, cpus, max_wait_ms, "
            "latency_target_ms, memory_limit, python, urls, torch_files, weights_folder, "
            "keep_last, keep_best_by, keep_runs, max_seconds, restart_on_failure, env",
            flag=False,
        ),
    )

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Settings:
        if data.get("debug"):
            data["log_level"] = "debug"
        return Settings(**data)
