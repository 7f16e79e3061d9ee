"""The command `modelyard`: what it offers, and how its failures are told.

Exit codes: 0 done; 1 failed, or the server cannot be reached; 2 wrong usage or arguments;
3 and 4 from `serve` (a named model cannot be loaded; the home is in use); 130 after Ctrl-C.
"""

from __future__ import annotations

import io
import re
import sys

import click

from .. import __version__
from ..streams import end_streams, open_closed_streams
from .lazy import LazyGroup, Place
from .server_options import connection_options

_PLACES = {
    "serve": Place("serve", "serve", "Start a server on this machine."),
    "models": Place("models", "models", "List the models of a server, or describe one."),
    "train": Place("train", "train", "Start a training."),
    "predict": Place("predict", "predict", "Predict with a model."),
    "runs": Place("runs", "runs", "List, watch, pause, resume and cancel trainings."),
    "weights": Place("weights", "weights", "List, name, share, move and delete weights versions."),
    "datasets": Place("datasets", "datasets", "Send, list and remove datasets."),
    "login": Place("login", "login", "Sign in to a server, or keep a key for it."),
    "logout": Place("login", "logout", "Forget what is kept for a server."),
    "keys": Place("keys", "keys", "Make, list and end the keys that callers show."),
    "doctor": Place("doctor", "doctor", "Say whether a home and its store are well."),
    "backup": Place("backup", "backup", "Copy a home, also while its server runs."),
    "plugin": Place("plugin", "plugin", "Check a plugin before it is served."),
    "demo": Place("demo", "demo", "Train and predict on real images, to see how it works."),
}


@click.group(cls=LazyGroup, places=_PLACES, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="modelyard")
@connection_options
def cli() -> None:
    """Describe, train, watch, keep and serve models over HTTP.

    `modelyard serve` starts a server; the other commands talk to one.
    """


def main() -> None:
    """Runs the command line; the console script's entry point."""
    open_closed_streams()
    try:
        _run()
    finally:
        end_streams()


def _run() -> None:
    try:
        code = cli.main(prog_name="modelyard", standalone_mode=False)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)  # with the usage, where that was wrong
        # As all else that is told of a failure, by the server too: whose word it is, in any log.
        text = re.sub(r"^Error: ", "modelyard: ", said.getvalue(), count=1, flags=re.MULTILINE)
        click.echo(text, nl=False, err=True)
        sys.exit(error.exit_code)
    except click.Abort as error:
        click.echo("Aborted!", err=True)
        sys.exit(130 if isinstance(error.__cause__, KeyboardInterrupt) else 1)
    except Exception as error:
        from .failures import told  # knows the client, which would cost a server 4 MB

        message, code = told(error)
        click.echo(f"modelyard: {message}", err=True)
        sys.exit(code)
    sys.exit(code if isinstance(code, int) else 0)
