"""`modelyard weights`: versions on their way: to the store and back, into files, to others."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import click

from ..client import Client, Weights
from . import printing, versions
from .connection import client_of
from .numbers import Seconds
from .server_options import connection_options, wants_json
from .transfers import Transfer, shown

ARCHIVES = ("tar.gz", "tar.xz", "zip")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+)([smhd]?)\Z")


class Duration(click.ParamType):
    """`90m`, `24h`, `7d`, or seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        match = _DURATION.match(str(value))
        if match is None:
            self.fail(f"{value!r} is no duration: write 90m, 24h or 7d.", param, ctx)
        return int(match[1]) * _UNITS[match[2] or "s"]


@click.command()
@versions.model_argument
@versions.version_argument
@click.option(
    "--mend",
    is_flag=True,
    help="Read again all that the store has of it; put again what is missing or wrong.",
)
@click.option(
    "--timeout",
    type=Seconds(),
    metavar="SECONDS",
    help="Wait no longer; the server goes on trying.",
)
@connection_options
@click.pass_context
def push(ctx: click.Context, model: str, version: str, mend: bool, timeout: float | None) -> None:
    """Bring a VERSION of MODEL to the server's shared store now, and wait until it is there.

    The server does that by itself after each training, and goes on trying while the store is away.
    With --mend the store is mended from the server's own copy, which must be whole.
    """
    client = client_of(ctx)
    chosen = versions.find(client, model, version)
    with shown(ctx, "The server goes on trying.") as transfer:

        def watch(now: Weights) -> None:
            what = "Reading it again" if mend else "To the store"
            what = f"{what} ({now.reason})" if now.reason else what
            _tell_transfer(transfer, what, now)

        done = client.push_weights(model, chosen.id, mend=mend, timeout_s=timeout, watch=watch)
    _tell(ctx, done, "is whole in the store." if mend else "is in the store.")


@click.command()
@versions.model_argument
@versions.version_argument
@connection_options
@click.pass_context
def pull(ctx: click.Context, model: str, version: str) -> None:
    """Bring a VERSION of MODEL from the shared store to the server's own disk.

    The server does that by itself when the version is used for the first time.
    """
    client = client_of(ctx)
    chosen = versions.find(client, model, version)
    with shown(ctx, "The server goes on.") as transfer:

        def watch(now: Weights) -> None:
            _tell_transfer(transfer, "From the store", now)

        done = client.pull_weights(model, chosen.id, watch=None if chosen.local else watch)
    _tell(ctx, done, "is on the server's disk.")


def _tell_transfer(transfer: Transfer, what: str, now: Weights) -> None:
    done, total = (now.transfer.done, now.transfer.total) if now.transfer else (0, now.size)
    transfer.tell(what, done, total)


def _tell(ctx: click.Context, version: Weights, how: str) -> None:
    if wants_json(ctx):
        printing.print_json(versions.data_of(version))
    else:
        click.echo(f"{version.id} ({printing.size(version.size)}) {how}")


@click.command()
@versions.model_argument
@versions.version_argument
@click.option(
    "--format",
    "wanted",
    metavar="FORMAT",
    help=f"An archive ({', '.join(ARCHIVES)}), or what the model exports (safetensors, onnx, ...); "
    f"without it what FILE ends with, else {ARCHIVES[0]}.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to; a folder will do.",
)
@click.option("--force", is_flag=True, help="Replace a file of that name.")
@click.option(
    "--timeout",
    type=Seconds(),
    metavar="SECONDS",
    help="What the model may take for its format; 600 without it. An archive needs none.",
)
@connection_options
@click.pass_context
def export(
    ctx: click.Context,
    model: str,
    version: str,
    wanted: str | None,
    output: Path | None,
    force: bool,
    timeout: float | None,
) -> None:
    """Save a VERSION of MODEL as one file.

    An archive holds its files, its manifest and its model card: `modelyard weights import` takes
    it in on another server. Other formats run elsewhere; they are compared with the model first.
    """
    client = client_of(ctx)
    chosen = versions.find(client, model, version)
    wanted = wanted or _told_by(output)
    is_archive = wanted in ARCHIVES
    if is_archive and timeout is not None:
        raise click.UsageError("--timeout is for what the model makes: an archive needs none.", ctx)
    with shown(ctx, "No file was written.") as transfer:
        name, told = f"{model}-{chosen.id[:8]}.{wanted}", ""
        if not is_archive:
            _check_format(ctx, client, chosen, wanted)
            transfer.tell(f"The server makes {wanted}")
            made = client.make_export(model, chosen.id, wanted, timeout_s=timeout)
            name = f"{model}-{chosen.id[:8]}{Path(made.file).suffix}"
            if made.samples:
                told = f"  largest difference {made.max_difference:.3g} in {made.samples} samples"
        path = _target(ctx, output, name, force)
        size = _save(client, transfer, chosen, wanted, path)
    if wants_json(ctx):
        printing.print_json({"path": str(path), "size": size, "version": chosen.id})
    else:
        click.echo(f"Written to {path} ({printing.size(size)}).{told}")


def _told_by(output: Path | None) -> str:
    """The archive that a file of this name would be."""
    name = "" if output is None else output.name
    return next((kind for kind in ARCHIVES if name.endswith(f".{kind}")), ARCHIVES[0])


def _check_format(ctx: click.Context, client: Client, chosen: Weights, wanted: str) -> None:
    formats = client.exports(chosen.model, chosen.id).formats
    if wanted in formats:
        return
    if formats:
        known = f"{wanted!r} is not one of: {', '.join([*formats, *ARCHIVES])}."
    else:
        *first, last = ARCHIVES
        known = (
            f"{chosen.model} exports to no other format, so not to {wanted!r}; "
            f"{', '.join(first)} and {last} always work."
        )
    raise click.UsageError(f"--format: {known}", ctx)


def _target(ctx: click.Context, output: Path | None, name: str, force: bool) -> Path:
    path = output or Path(name)
    if path.is_dir():
        path /= name
    if path.exists() and not force:
        raise click.UsageError(f"{path} is there already: add --force, or --output FILE.", ctx)
    return path


def _save(client: Client, transfer: Transfer, chosen: Weights, wanted: str, path: Path) -> int:
    def progress(done: int, total: int | None) -> None:
        transfer.tell(path.name, done, total)

    if wanted in ARCHIVES:
        return client.export_archive(
            chosen.model, chosen.id, path, format=wanted, progress=progress
        )
    return client.download_export(chosen.model, chosen.id, wanted, path, progress=progress)


@click.command("import")
@versions.model_argument
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@connection_options
@click.pass_context
def import_(ctx: click.Context, model: str, archive: Path) -> None:
    """Have the server take in an ARCHIVE of a version of MODEL: verified, under its own id."""
    client = client_of(ctx)
    with shown(ctx) as transfer:

        def progress(done: int, total: int | None) -> None:
            transfer.tell(archive.name, done, total)
            if done == total:
                transfer.tell("The server verifies it")

        taken = client.import_archive(model, archive, progress=progress)
    if wants_json(ctx):
        printing.print_json(versions.data_of(taken))
        return
    click.echo(f"Weights: {taken.id}  {printing.metrics(taken.metrics)}".rstrip())
    click.echo(f"Predict with it:  modelyard predict {model} --weights {taken.id}")


@click.command()
@versions.model_argument
@versions.version_argument
@click.option(
    "--expires", type=Duration(), default="24h", show_default=True, metavar="TIME",
    help="When it ends: 90m, 24h, 7d.",
)  # fmt: skip
@click.option(
    "--format", "wanted", type=click.Choice(ARCHIVES), default=ARCHIVES[0], show_default=True
)
@connection_options
@click.pass_context
def link(ctx: click.Context, model: str, version: str, expires: int, wanted: str) -> None:
    """Make an address that gives a VERSION of MODEL, as an archive, to whoever has it."""
    client = client_of(ctx)
    chosen = versions.find(client, model, version)
    made = client.share_link(model, chosen.id, expires_s=expires, format=wanted)
    if wants_json(ctx):
        printing.print_json(versions.in_data(made))
        return
    click.echo(made.url)
    if made.expires_at is not None:
        left = printing.in_time((made.expires_at - datetime.now(UTC)).total_seconds())
        by = "the store" if made.by == "store" else "this server"
        until = printing.moment(made.expires_at)
        click.echo(f"Until {until} ({left}), from {by}.", err=True)
