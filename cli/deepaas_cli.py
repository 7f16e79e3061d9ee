"""`deepaas-cli`: one method of one installed model, without a server, as under DEEPaaS.

Options of the command stand before the method, the model's arguments behind it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from .. import __version__
from ..errors import InvalidSettings, ModelFailedToLoad
from ..models_plugin.command import process
from ..models_plugin.command.options import NO_SPAWN, OUTPUT, SPAWN
from ..models_plugin.command.order import METHODS, LogOptions, Order
from ..models_plugin.deepaas.preparing import ready_spawned_child
from ..models_plugin.discovery import list_sources
from ..models_plugin.environment import plugin_environment
from ..models_plugin.interpreter import Interpreter, command
from ..models_plugin.plugin import DEEPAAS_GROUP, PluginSource
from ..settings import ENV_PREFIX, Settings, load_settings
from ..settings.files import deepaas_dirs, deepaas_files
from ..streams import open_closed_streams

if multiprocessing.current_process().name != "MainProcess":  # in one that the module spawned
    ready_spawned_child()

_USAGE = "%(prog)s [options] {get_metadata,warm,predict,train} [--ARGUMENT VALUE ...]"
_ABOUT = """methods:
  get_metadata  what the model says of itself (also without a method)
  warm          prepare the model for execution
  predict       predict; "predict --help" lists the model's arguments
  train         train; "train --help" lists the model's arguments
"""
# Options of DEEPaaS's server and of oslo.log: taken, and without effect here.
_IGNORED_VALUES = ("--client-max-size", "--workers", "--syslog-log-facility")
_IGNORED_SWITCHES = (
    "warm", "train-endpoint", "predict-endpoint", "doc-endpoint", "debug-endpoint", "use-journal",
    "use-json", "use-syslog", "watch-log-file",
)  # fmt: skip


class Call(NamedTuple):
    """A command line, divided at its method."""

    options: argparse.Namespace
    method: str | None
    words: list[str]


def read_command_line(words: Sequence[str]) -> Call:
    """Exits with 2 and a message for what is no option or method, with 0 for help."""
    parser = _parser()
    values = {
        name for action in parser._actions if action.nargs is None for name in action.option_strings
    }
    end = 0
    while end < len(words) and words[end].startswith("-"):
        end += 2 if words[end] in values else 1
    options = parser.parse_args(words[:end])
    method, rest = (words[end], list(words[end + 1 :])) if end < len(words) else (None, [])
    if method is not None and method not in METHODS:
        choices = ", ".join(map(repr, METHODS))
        parser.error(f"argument methods: invalid choice: {method!r} (choose from {choices})")
    return Call(options, method, rest)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepaas-cli",
        usage=_USAGE,
        epilog=_ABOUT,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model-name", metavar="NAME", help="the model (also DEEPAAS_V2_MODEL), if not the only")
    add(OUTPUT, dest="output", metavar="FILE", help="write the result to this file")
    add(SPAWN, dest="spawn", action="store_true", default=True,
        help="let the model start processes by spawning them (the default)")  # fmt: skip
    add(NO_SPAWN, dest="spawn", action="store_false", help="let it start them as it likes")
    add("--config-file", metavar="PATH", action="append", default=[], type=Path,
        help="settings file, ini or TOML; may be repeated")  # fmt: skip
    add("--config-dir", metavar="DIR", action="append", default=[], type=Path,
        help="folder with settings files")  # fmt: skip
    add("--debug", "-d", dest="debug", action="store_true", help="log at the level DEBUG")
    add("--nodebug", dest="debug", action="store_false", help=argparse.SUPPRESS)
    add("--log-file", "--logfile", metavar="PATH", help="log there, not to standard output")
    add("--log-dir", "--logdir", metavar="DIR", help="folder of the log file")
    add("--log-date-format", metavar="FORMAT", help="of the times in the log")
    add("--log-config-append", "--log-config", "--log_config", metavar="PATH",
        help="logging configuration file, in the place of the options above")  # fmt: skip
    add("--version", action="version", version=f"{__version__} (modelyard)")
    for name in _IGNORED_VALUES:
        add(name, help=argparse.SUPPRESS)
    for name in _IGNORED_SWITCHES:
        add(f"--{name}", f"--no{name}", action="store_true", help=argparse.SUPPRESS)
    return parser


def find_source(settings: Settings) -> PluginSource:
    """The model to call. Exits with 1 and the list of models if it is not clear which."""
    interpreters = {
        name: Interpreter(own.python, own.env)
        for name, own in settings.models.items()
        if own.python is not None
    }
    names = settings.model_name
    try:
        found = list_sources(names or None, interpreters)
    except ModelFailedToLoad:
        every = [source.name for source in list_sources(None, interpreters)]
        missing = [name for name in names if name not in every]
        _fail(f"[ERROR]: The model {missing[0]} is not available.\nAvailable models: {every}")
    if not found:
        _fail("[ERROR]: No model is installed: no package offers an entry point deepaas.v2.model.")
    # Models of our own contract, which DEEPaaS does not see, do not make a command ambiguous.
    old = [source for source in found if source.group == DEEPAAS_GROUP]
    if len(old) == 1 and not names:
        return old[0]
    if len(found) > 1:
        _fail(
            f"[ERROR]: There are several models available ({[one.name for one in found]}).\n"
            "You have to choose one and set it in the DEEPAAS_V2_MODEL environment variable or "
            "using the --model-name option."
        )
    return found[0]


def run(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """The exit code: 0 done, 1 failed, 2 wrong arguments, 130 after Ctrl-C."""
    call = read_command_line(words)
    options = call.options
    flags: dict[str, Any] = {}
    if options.model_name:
        flags["model_name"] = options.model_name
    if options.debug:
        flags["debug"] = True
    try:
        settings = load_settings(flags, environ, *_settings_files(options, environ))
    except InvalidSettings as error:
        _fail(f"deepaas-cli: {error.message}", 2)
    source = find_source(settings)
    own = settings.models.get(source.name)
    log = LogOptions(
        debug=settings.debug,
        file=options.log_file,
        folder=options.log_dir,
        config=options.log_config_append,
    )
    log.date_format = options.log_date_format or log.date_format
    order = Order(
        source=source.to_data(),
        method=call.method,
        words=call.words,
        folder=os.getcwd(),  # noqa: PTH109
        output=options.output,
        spawn=options.spawn,
        device=own.device if own is not None and own.device else settings.device,
        log=log,
    )
    env = own.env if own is not None else {}
    if source.python is not None and source.problem is None:
        _become(order, source, env)
    os.environ.update(env)
    return process.call(order)


def _settings_files(
    options: argparse.Namespace, environ: Mapping[str, str]
) -> tuple[list[Path], list[Path]]:
    """Those named; without any, those that DEEPaaS's command reads by itself."""
    files, dirs = options.config_file, options.config_dir
    if not files and not environ.get(f"{ENV_PREFIX}CONFIG_FILE"):
        files = deepaas_files(environ, "deepaas-cli")
    if not dirs and not environ.get(f"{ENV_PREFIX}CONFIG_DIR"):
        dirs = deepaas_dirs(environ, "deepaas-cli")
    return files, dirs


def _become(order: Order, source: PluginSource, env: Mapping[str, str]) -> NoReturn:
    """Goes on in the model's own interpreter, as the same process: signals reach it."""
    words = [*command(source.python, process.__name__), json.dumps(order.to_data())]
    sys.stdout.flush()
    os.execve(words[0], words, plugin_environment(source, env))


def _fail(text: str, code: int = 1) -> NoReturn:
    sys.stderr.write(f"{text}\n")
    sys.exit(code)


def main() -> None:
    """The console script's entry point."""
    open_closed_streams()
    try:
        code = run(sys.argv[1:], os.environ)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
