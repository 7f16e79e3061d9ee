"""`modelyard weights`: a model's versions, looked at. What changes or moves them stands in
`weights_change.py` and `weights_move.py`."""

from __future__ import annotations

import click

from . import printing, versions
from .connection import client_of
from .lazy import LazyGroup, Place
from .server_options import connection_options, wants_json

_PLACES = {
    "list": Place("weights", "list_versions", "List the versions of a model."),
    "show": Place("weights", "show", "Show one version."),
    "lineage": Place("weights", "lineage", "Where a version comes from."),
    "card": Place("weights", "card", "Write the model card of a version, in Markdown."),
    "alias": Place("weights_change", "alias", "List, set and remove aliases."),
    "rollback": Place("weights_change", "rollback", "Move an alias back to what it named before."),
    "tag": Place("weights_change", "tag", "Give a version tags, or take them away."),
    "notes": Place("weights_change", "notes", "Set the notes of a version."),
    "promote": Place("weights_change", "promote", "Make a version of a run's other checkpoint."),
    "delete": Place("weights_change", "delete", "Delete a version, in the shared store too."),
    "push": Place("weights_move", "push", "Bring a version to the server's shared store now."),
    "pull": Place("weights_move", "pull", "Bring a version to the server's own disk."),
    "export": Place("weights_move", "export", "Save a version as an archive, as ONNX, ..."),
    "import": Place("weights_move", "import_", "Have a server take in an archive."),
    "link": Place("weights_move", "link", "Make an address that gives a version to others."),
}


class WeightsGroup(LazyGroup):
    """`modelyard weights MODEL` is `modelyard weights list MODEL`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.list_commands(ctx) and not args[0].startswith("-"):
            return "list", self.get_command(ctx, "list"), args
        return super().resolve_command(ctx, args)


@click.group(cls=WeightsGroup, places=_PLACES, subcommand_metavar="MODEL | COMMAND [ARGS]...")
@connection_options
def weights() -> None:
    """The weights versions that predictions can use: kept, named and shared.

    `modelyard weights MODEL` lists those of a model. A VERSION is an id, the first six characters
    of one or more, or an alias such as `latest` (which is meant where none is given) or
    `production` (what predictions use that name no version).
    """


@click.command("list")
@versions.model_argument
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the newest N.")
@click.option("--tag", metavar="TAG", help="Only versions with this tag.")
@click.option("--state", type=click.Choice(["publishing", "ready", "failed"]), help="Only these.")
@connection_options
@click.pass_context
def list_versions(
    ctx: click.Context, model: str, limit: int | None, tag: str | None, state: str | None
) -> None:
    """List the weights versions of MODEL, newest first."""
    found = client_of(ctx).weights(model, limit=limit, tag=tag, state=state)
    if wants_json(ctx):
        printing.print_json([versions.data_of(version) for version in found])
        return
    chosen = tag is not None or state is not None
    empty = "has no such weights." if chosen else "has no weights yet: train it first."
    printing.print_table(
        ("weights", "state", "created", "run", "step", "size", "metrics", ""),
        [
            (
                version.id,
                version.state,
                printing.moment(version.created_at),
                (version.run or "")[:12],
                version.step,
                printing.size(version.size),
                printing.metrics(version.metrics),
                ", ".join([*version.aliases, *(f"#{tag}" for tag in version.tags)]),
            )
            for version in found
        ],
        f"{model} {empty}",
    )


@click.command()
@versions.model_argument
@versions.version_argument
@connection_options
@click.pass_context
def show(ctx: click.Context, model: str, version: str) -> None:
    """Show a VERSION of MODEL with its files."""
    client = client_of(ctx)
    versions.write(wants_json(ctx), client, versions.find(client, model, version))


@click.command()
@versions.model_argument
@versions.version_argument
@connection_options
@click.pass_context
def card(ctx: click.Context, model: str, version: str) -> None:
    """Write the model card of a VERSION of MODEL: Markdown, to standard output."""
    client = client_of(ctx)
    text = client.model_card(model, versions.find(client, model, version).id)
    if wants_json(ctx):
        printing.print_json({"card": text})
    else:
        click.echo(text, nl=not text.endswith("\n"))


@click.command()
@versions.model_argument
@versions.version_argument
@connection_options
@click.pass_context
def lineage(ctx: click.Context, model: str, version: str) -> None:
    """Tell which data, code, environment, arguments and seed a VERSION of MODEL comes from."""
    client = client_of(ctx)
    found = client.lineage(model, versions.find(client, model, version).id)
    if wants_json(ctx):
        printing.print_json(found.data)
        return
    dataset, code, environment = found.dataset or {}, found.code or {}, found.environment or {}
    rows = [
        ("version", found.id),
        ("created", printing.moment(found.created_at)),
        ("origin", found.origin),
        ("run", found.run),
        ("resumed from", found.resumed_from),
        ("repeats", found.repeats),
        ("parent", found.parent),
        ("checkpoint", _joined(found.checkpoint, found.step and f"step {found.step}")),
        ("metrics", printing.metrics(found.metrics)),
        ("dataset", _joined(dataset.get("name"), dataset.get("id"))),
        ("data hash", dataset.get("digest") or dataset.get("problem")),
        *(("upload", _joined(u.get("filename"), u.get("sha256"))) for u in found.uploads),
        ("code", _joined(code.get("distribution"), code.get("version"))),
        ("git", _git(code.get("git"))),
        ("python", environment.get("python")),
        ("torch", _torch(environment.get("torch"))),
        ("seed", found.seed),
        *((f"--{name}", value) for name, value in (found.arguments or {}).items()),
        *((f"--{name}", "(secret, not recorded)") for name in found.secrets),
    ]
    printing.print_table(("", ""), [row for row in rows if row[1] not in (None, "")], "")
    click.echo(f"\nRepeat it:  modelyard train {model} --like {found.id}")


def _joined(*words: object) -> str:
    return "  ".join(str(word) for word in words if word)


def _git(told: object) -> str:
    if not isinstance(told, dict):
        return ""
    return _joined(told.get("commit"), told.get("dirty") and "with changes that are not committed")


def _torch(told: object) -> str:
    return str(told.get("version") or "") if isinstance(told, dict) else str(told or "")
