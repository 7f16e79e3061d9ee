"""`deepaas-run`: the server under DEEPaaS's command, so that images and guides work unchanged.

What DEEPaaS does without being told, this does too: everybody is let in, requests have no limit,
and its default settings files are read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..api.server import serve as run_server
from ..errors import InvalidSettings, StorageUnavailable
from ..records.home import Home
from ..records.keyring import has_keys
from ..settings import ENV_PREFIX, Settings, Source, read_sources, settings_from
from ..settings.files import deepaas_dirs, deepaas_files
from ..streams import end_streams, open_closed_streams
from .serve import given_flags, refuse_other_platforms, setting_options

DEFAULTS = {
    "access": "open",
    "client_max_size": 0,
    "listen_when_loaded": True,
    # DEEPaaS waits without end. Modules download weights while they are imported, and answer some
    # calls after minutes; a process that is dead or stopped is noticed whatever these say.
    "load_timeout": 1800.0,
    "predict_timeout": 3600.0,
}
_NAME = "deepaas-run"
_OSLO_SWITCHES = ("use-journal", "use-json", "use-syslog", "watch-log-file")
_OSLO_VALUES = {
    "log_dir": ("--log-dir", "--logdir"),
    "log_date_format": ("--log-date-format",),
    "log_config_append": ("--log-config-append", "--log-config", "--log_config"),
    "syslog_log_facility": ("--syslog-log-facility",),
}


def _oslo_options() -> list[click.Parameter]:
    """Flags of oslo.log, which `deepaas-run` has: taken, so that a command with them starts."""
    hidden: dict[str, Any] = {"hidden": True, "default": None}
    options: list[click.Parameter] = [
        click.Option([f"oslo_{name}".replace("-", "_"), f"--{name}/--no{name}"], **hidden)
        for name in _OSLO_SWITCHES
    ]
    for name, spellings in _OSLO_VALUES.items():
        options.append(click.Option([f"oslo_{name}", *spellings], **hidden))
    return options


@click.command(
    params=[*setting_options(DEFAULTS), *_oslo_options()],
    epilog="This is `modelyard serve` with DEEPaaS's defaults; see docs/settings.md.",
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="deepaas-run (modelyard)")
@click.pass_context
def deepaas_run(
    ctx: click.Context, config_file: tuple[Path, ...], config_dir: tuple[Path, ...], **flags: Any
) -> None:
    """Serve the installed models as DEEPaaS does, until Ctrl-C or SIGTERM."""
    refuse_other_platforms()
    given = given_flags(flags)
    for name in [name for name in given if name.startswith("oslo_")]:
        del given[name]
        spelled = name.removeprefix("oslo_").replace("_", "-")
        _say(f"--{spelled} is oslo.log's and has no effect here; see --log-file, --log-level.")
    try:
        settings = _settings(given, config_file, config_dir)
    except (InvalidSettings, StorageUnavailable) as error:
        _say(error.message)
        ctx.exit(getattr(error, "exit_code", 1))
    ctx.exit(run_server(settings))


def _settings(
    given: Mapping[str, Any], files: tuple[Path, ...], dirs: tuple[Path, ...]
) -> Settings:
    environ = os.environ
    if not files and not environ.get(f"{ENV_PREFIX}CONFIG_FILE"):
        files = tuple(deepaas_files(environ, _NAME))
    if not dirs and not environ.get(f"{ENV_PREFIX}CONFIG_DIR"):
        dirs = tuple(deepaas_dirs(environ, _NAME))
    sources = read_sources(given, environ, files, dirs)
    settings = settings_from([Source("by deepaas-run", DEFAULTS), *sources])
    said = any("access" in source.values for source in sources)
    if has_keys(Home(settings.home).database):
        _say("this home has keys: callers need one, whatever --access says.")
    elif settings.oidc_issuer is not None:
        _say("there is an issuer: callers need a token, whatever --access says.")
    elif not said:
        here = settings.is_loopback
        reaching = f"everybody who reaches {settings.host} port {settings.port}"
        _say(
            f"{'every user of this machine' if here else reaching} may train and predict, as under "
            "DEEPaaS (--access open). Where that is not meant, "
            f"{'' if here else 'listen on 127.0.0.1 and '}say --access keys."
        )
    return settings


def _say(text: str) -> None:
    click.echo(f"deepaas-run: {text}", err=True)


def main() -> None:
    """The console script's entry point."""
    open_closed_streams()
    try:
        deepaas_run(prog_name="deepaas-run")
    finally:
        end_streams()


if __name__ == "__main__":
    main()
