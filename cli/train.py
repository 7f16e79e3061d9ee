"""`modelyard train MODEL`: starts a training with the model's own arguments."""

from __future__ import annotations

import json
import uuid
from typing import Any

import click

from ..client import Client, ClientError, Model, Run
from . import printing
from .connection import wants_json
from .follow import exit_code, follow
from .model_group import ModelGroup, model_command
from .options import CallArguments, ModelOptions


class TrainGroup(ModelGroup):
    """Each model of the server that can be trained, with its arguments."""

    def command_of(self, client: Client, model: Model) -> click.Command:
        assert model.description is not None
        arguments = model.description.train_arguments
        if arguments is None:
            raise ClientError(f"The model {model.name} cannot be trained.")
        own: list[click.Parameter] = [
            click.Option(["--follow"], is_flag=True, help="Watch the run until it has ended."),
            click.Option(["--log"], is_flag=True, help="With --follow: show its log too."),
            click.Option(
                ["--idempotency-key"],
                metavar="TEXT",
                help="The same key with the same arguments starts only one run in 24 hours.",
            ),
        ]

        def train(
            ctx: click.Context,
            _: ModelOptions,
            given: CallArguments,
            follow: bool,
            log: bool,
            idempotency_key: str | None,
        ) -> None:
            key = idempotency_key or uuid.uuid4().hex
            run = client.train(model.name, idempotency_key=key, **vars(given))
            _tell(ctx, client, run, follow, log)

        about = f"Train {model.name}. The run goes on whether or not it is watched."
        return model_command(model, arguments, own, about, train)


def _tell(ctx: click.Context, client: Client, run: Run, watched: bool, log: bool) -> None:
    as_json = wants_json(ctx)
    if not watched:
        if as_json:
            printing.print_json(run.data)
            return
        click.echo(f"Run {run.id} of {run.model}: {printing.state_of(run)}")
        click.echo(f"Watch it:   modelyard runs {run.model}/{run.id} --follow")
        click.echo(f"Cancel it:  modelyard runs {run.model}/{run.id} --cancel")
        return
    if not as_json:
        click.echo(f"Run {run.id} of {run.model}")
    tell_end(follow(client, run.model, run.id, log=log, as_json=as_json), as_json)


def tell_end(run: Run, as_json: bool) -> None:
    """Says how a run ended, and exits with 1 if not well."""
    if as_json:
        click.echo(json.dumps({"event": "end", "data": run.data}, ensure_ascii=False))
    elif run.succeeded:
        click.echo(f"Done in {printing.duration(run)}. Weights: {run.weights or 'none'}")
    else:
        click.echo(f"The run ended: {printing.state_of(run)}", err=True)
        if run.message:
            click.echo(run.message, err=True)
    code = exit_code(run)
    if code:
        raise click.exceptions.Exit(code)


@click.group(cls=TrainGroup, invoke_without_command=False)
def train(**_: Any) -> None:
    """Start a training of MODEL.

    `modelyard train MODEL --help` lists the arguments of that model.
    """
