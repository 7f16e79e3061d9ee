"""`modelyard datasets`: the data that trainings read, kept as versions."""

from __future__ import annotations

import click

from ..client import Client, Dataset, Upload
from . import printing
from .asking import ask
from .connection import client_of
from .server_options import connection_options, wants_json
from .transfers import Transfer, shown

_SAID = ("files", "size")


@click.group()
@connection_options
def datasets() -> None:
    """Datasets: sent once, kept as versions of a name, named by trainings.

    A DATASET is an id, a name (its newest version is meant) or NAME@NUMBER.
    """


@datasets.command()
@click.argument("sources", nargs=-1, required=True, metavar="PATH ... | s3://BUCKET/KEY")
@click.option("--name", metavar="NAME", help="Its name; without it that of the file or folder.")
@click.option("--model", metavar="MODEL", help="The model whose reader looks at it.")
@connection_options
@click.pass_context
def add(ctx: click.Context, sources: tuple[str, ...], name: str | None, model: str | None) -> None:
    """Send a dataset: an archive, a folder, one or several files, or the address of an object.

    Content that the server has already is found and stored once. An upload that was interrupted
    goes on where it stopped when the same command is given again.
    """
    client = client_of(ctx)
    address = len(sources) == 1 and sources[0].startswith("s3://")
    with shown(ctx, "Give the same command again to go on.") as transfer:
        if address:
            transfer.tell("The server fetches it")
        made = _add(client, transfer, sources, name, model)
    if wants_json(ctx):
        printing.print_json({**made.data, "created": made.created})
        return
    told = "" if made.created else "  (was there already)"
    click.echo(f"{made.reference}  {made.id}{told}")
    click.echo(f"{_files(made)}, {printing.size(made.size)}{_problems(made)}")
    if (made.problems or {}).get("errors"):
        click.echo(f"See them:       modelyard datasets report {made.reference}")
    click.echo(f"Train with it:  modelyard train MODEL --from-dataset {made.reference}")


def _add(
    client: Client,
    transfer: Transfer,
    sources: tuple[str, ...],
    name: str | None,
    model: str | None,
) -> Dataset:
    sent = False

    def progress(done: int, total: int | None) -> None:
        nonlocal sent
        if done != total or not sent:
            transfer.tell("Sending", done, total)
        sent = done == total
        if sent:
            transfer.tell("The server unpacks and reads it")

    def watch(upload: Upload) -> None:
        if upload.progress is not None and upload.state == "ingesting":
            told = upload.progress
            transfer.tell("The server unpacks and reads it", told.done, told.total)

    source = sources[0] if len(sources) == 1 else sources
    return client.add_dataset(source, name=name, model=model, progress=progress, watch=watch)


@datasets.command("list")
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the newest N.")
@connection_options
@click.pass_context
def list_datasets(ctx: click.Context, name: str | None, limit: int | None) -> None:
    """List the datasets, newest first: all, or the versions of NAME."""
    found = client_of(ctx).datasets(name=name, limit=limit)
    if wants_json(ctx):
        printing.print_json([dataset.data for dataset in found])
        return
    printing.print_table(
        ("dataset", "id", "state", "created", "files", "size", "problems"),
        [
            (
                one.reference,
                one.id,
                one.state,
                printing.moment(one.created_at),
                one.files,
                printing.size(one.size),
                _problems(one, ""),
            )
            for one in found
        ],
        "There are no datasets yet: modelyard datasets add PATH",
    )


@datasets.command()
@click.argument("dataset")
@connection_options
@click.pass_context
def show(ctx: click.Context, dataset: str) -> None:
    """Show a DATASET with what its reader counted."""
    found = client_of(ctx).dataset(dataset)
    if wants_json(ctx):
        printing.print_json(found.data)
        return
    statistics = found.statistics or {}
    rows = [
        ("dataset", found.reference),
        ("id", found.id),
        ("state", f"{found.state}: {found.reason}" if found.reason else found.state),
        ("created", printing.moment(found.created_at)),
        ("files", found.files),
        ("size", printing.size(found.size)),
        ("sha256", found.digest),
        ("model", found.model),
        ("problems", _problems(found, "") or (found.problems and "none")),
        *((name, _in_words(value)) for name, value in statistics.items() if name not in _SAID),
    ]
    printing.print_table(("", ""), [row for row in rows if row[1] not in (None, "")], "")


@datasets.command()
@click.argument("dataset")
@connection_options
@click.pass_context
def report(ctx: click.Context, dataset: str) -> None:
    """Tell what is wrong with a DATASET, with file and line. Exits with 1 if there are errors."""
    found = client_of(ctx).dataset_report(dataset)
    if wants_json(ctx):
        problems = [vars(problem) for problem in found.problems]
        printing.print_json({**vars(found), "problems": problems})
    else:
        for one in found.problems:
            place = ":".join(str(part) for part in (one.file, one.line) if part is not None)
            click.echo(f"{place or 'the dataset'}: {one.level}: {one.message}")
        if found.left_out:
            click.echo(f"... and {found.left_out} more.")
        if found.model is None:
            click.echo("No model's reader has looked at it: add it with --model MODEL.")
        elif not found.problems:
            click.echo(f"{found.model} has found nothing wrong.")
    if found.errors:
        raise click.exceptions.Exit(1)


@datasets.command()
@click.argument("dataset")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also if ended runs could still be resumed with it.")
@connection_options
@click.pass_context
def remove(ctx: click.Context, dataset: str, yes: bool, force: bool) -> None:
    """Remove a DATASET. Refused while a run or a weights version refers to it."""
    client = client_of(ctx)
    found = client.dataset(dataset)
    if not yes:
        ask(ctx, f"Remove {found.reference} ({_files(found)}, {printing.size(found.size)})?")
    client.remove_dataset(found.id, force=force)
    if not wants_json(ctx):
        click.echo(f"{found.reference} is removed.")


def _files(dataset: Dataset) -> str:
    return "1 file" if dataset.files == 1 else f"{dataset.files} files"


def _problems(dataset: Dataset, start: str = ", ") -> str:
    """`, 2 errors, 1 warning`; nothing if there are none or nobody has looked."""
    told = [
        f"{count} {name[:-1] if count == 1 else name}"
        for name, count in (dataset.problems or {}).items()
        if count
    ]
    return start + ", ".join(told) if told else ""


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        shown = [f"{key} {_in_words(item)}" for key, item in list(value.items())[:12]]
        return "  ".join([*shown, "..."] if len(value) > 12 else shown)
    if isinstance(value, list):
        shown = [str(item) for item in value[:12]]
        return ", ".join([*shown, "..."] if len(value) > 12 else shown)
    return str(value)
