"""`modelyard train MODEL`: starts a training with the model's own arguments."""

from __future__ import annotations

import json
import uuid
from typing import Any

import click

from ..client import ArgumentsRefused, Client, ClientError, Model, Run
from . import printing, versions
from .follow import exit_code, follow
from .model_group import ModelGroup, model_command
from .options import CallArguments, ModelOptions
from .server_options import wants_json


class TrainGroup(ModelGroup):
    """Each model of the server that can be trained, with its arguments."""

    def command_of(self, client: Client, model: Model) -> click.Command:
        assert model.description is not None
        arguments = model.description.train_arguments
        if arguments is None:
            raise ClientError(f"The model {model.name} cannot be trained.")
        spelled = _own_names({argument.name for argument in arguments})
        own: list[click.Parameter] = [
            *_sources(spelled),
            *_limits(spelled),
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
            like: str | None,
            from_dataset: str | None,
            max_seconds: float | None,
            restart_on_failure: int | None,
        ) -> None:
            if like is not None:
                like = versions.find(client, model.name, like).id
            try:
                run = client.train(
                    model.name,
                    idempotency_key=idempotency_key or uuid.uuid4().hex,
                    like=like,
                    dataset=from_dataset,
                    max_seconds=max_seconds,
                    restart_on_failure=restart_on_failure,
                    **vars(given),
                )
            except ArgumentsRefused as error:
                ours = {
                    "like": like,
                    "dataset": from_dataset,
                    "max_seconds": max_seconds,
                    "restart_on_failure": restart_on_failure,
                }
                names = {spelled[name]: name for name, value in ours.items() if value is not None}
                raise _renamed(error, names) from error
            _tell(ctx, client, run, follow, log)

        about = f"Train {model.name}. The run goes on whether or not it is watched."
        return model_command(model, arguments, own, about, train)


def _own_names(names: set[str]) -> dict[str, str]:
    """How our own options about data are spelled, by the server's word. Where the model has an
    argument of that name, the short one is the model's."""
    from_dataset = names & {"from_dataset", "from-dataset"}
    return {
        "like": "modelyard-like" if "like" in names else "like",
        "dataset": "modelyard-dataset" if from_dataset else "from-dataset",
        **{name: _long(name, names) for name in ("max_seconds", "restart_on_failure")},
    }


def _long(name: str, names: set[str]) -> str:
    dashed = name.replace("_", "-")
    return f"modelyard-{dashed}" if names & {name, dashed} else dashed


def _limits(spelled: dict[str, str]) -> list[click.Parameter]:
    return [
        click.Option(
            ["max_seconds", f"--{spelled['max_seconds']}"],
            type=float,
            metavar="SECONDS",
            help="Stop the training after so long; its last checkpoint is kept.",
        ),
        click.Option(
            ["restart_on_failure", f"--{spelled['restart_on_failure']}"],
            type=int,
            metavar="TIMES",
            help="Begin it again after a failure, from its last checkpoint if it can.",
        ),
    ]


def _sources(spelled: dict[str, str]) -> list[click.Parameter]:
    return [
        click.Option(
            ["like", f"--{spelled['like']}"],
            metavar="VERSION",
            help="Repeat the training of this weights version: its arguments, seed and data, but "
            "for what is given. At the end it is told whether the result is the same.",
        ),
        click.Option(
            ["from_dataset", f"--{spelled['dataset']}"],
            metavar="DATASET",
            help="Train with this stored dataset: an id, a name or NAME@NUMBER.",
        ),
    ]


def _renamed(error: ArgumentsRefused, names: dict[str, str]) -> ArgumentsRefused:
    """What is wrong with our own options, under their names instead of the server's."""
    errors = dict(error.errors)
    for ours, name in names.items():
        if name in errors:
            errors[ours] = errors.pop(name)
    return ArgumentsRefused(error.message, error.status, errors)


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
        if run.message:  # of a repeat: whether it came to the same weights
            click.echo(run.message)
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
