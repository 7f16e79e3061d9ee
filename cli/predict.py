"""`modelyard predict MODEL`: one prediction with the model's own arguments."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from ..client import Client, ClientError, Model, Prediction
from .model_group import ModelGroup, model_command
from .numbers import Seconds
from .options import CallArguments, ModelOptions
from .printing import console
from .server_options import wants_json


class PredictGroup(ModelGroup):
    """Each model of the server that can predict, with its arguments."""

    def command_of(self, client: Client, model: Model) -> click.Command:
        assert model.description is not None
        arguments = model.description.predict_arguments
        if arguments is None:
            raise ClientError(f"The model {model.name} cannot predict.")
        names = {argument.name for argument in arguments}
        own = _own_options(names)

        def predict(
            ctx: click.Context,
            options: ModelOptions,
            given: CallArguments,
            output: Path | None,
            weights: str | None,
            timeout: float | None,
            file: tuple[Path, ...] = (),
            accept: str | None = None,
        ) -> None:
            _put_files(ctx, model, options, given, file)
            prediction = client.predict(
                model.name,
                weights=weights,
                accept=accept,
                timeout_s=timeout,
                save_to=output,
                **vars(given),
            )
            _tell(ctx, prediction)

        return model_command(model, arguments, own, f"Predict with {model.name}.", predict)


def _own_options(names: set[str]) -> list[click.Parameter]:
    """The command's own options. Where the model has an argument `weights`, `accept` or `file`,
    the short name is the model's, as it is in the query of a request."""
    weights = "--modelyard-weights" if "weights" in names else "--weights"
    options: list[click.Parameter] = [
        click.Option(
            ["output", "--output"],
            type=click.Path(dir_okay=False, writable=True, path_type=Path),
            metavar="FILE",
            help="Write the answer to a file, as it comes.",
        ),
        click.Option(["weights", weights], metavar="ID", help="Weights version: an id or latest."),
        click.Option(
            ["timeout", "--modelyard-timeout" if "timeout" in names else "--timeout"],
            type=Seconds(),
            metavar="SECONDS",
            help="Give up after so long.",
        ),
    ]
    if "accept" not in names:
        options.append(
            click.Option(["accept", "--accept"], metavar="TYPE", help="Content type wished for.")
        )
    if "file" not in names:
        options.append(
            click.Option(
                ["file", "--file"],
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                multiple=True,
                metavar="PATH",
                help="The file to predict for, whatever its argument is called; repeatable.",
            )
        )
    return options


def _put_files(
    ctx: click.Context,
    model: Model,
    options: ModelOptions,
    given: CallArguments,
    files: tuple[Path, ...],
) -> None:
    if not files:
        return
    argument = options.file_argument()
    if argument is None:
        raise click.UsageError(f"{model.name} takes no file.", ctx)
    if argument.kind == "list":
        given.files[argument.name] = [*given.files.get(argument.name, ()), *files]
    elif len(files) > 1 or argument.name in given.files:
        raise click.UsageError(f"{model.name} takes one file ({argument.name}).", ctx)
    else:
        given.files[argument.name] = files[0]


def _tell(ctx: click.Context, prediction: Prediction) -> None:
    if prediction.path is not None:
        click.echo(f"Written to {prediction.path} ({prediction.content_type}).", err=True)
    elif prediction.is_json:
        wide = wants_json(ctx) or not sys.stdout.isatty()
        answer = prediction.json()
        click.echo(json.dumps(answer, ensure_ascii=False, indent=None if wide else 2))
    elif sys.stdout.isatty() and not prediction.content_type.startswith("text/"):
        name = prediction.filename or "FILE"
        raise click.UsageError(
            f"The answer is {prediction.content_type}, nothing for a terminal: add --output {name}",
            ctx,
        )
    else:
        sys.stdout.buffer.write(prediction.content)
        sys.stdout.buffer.flush()
    if prediction.weights and sys.stderr.isatty():
        console(stderr=True).print(f"weights {prediction.weights}", style="dim")


@click.group(cls=PredictGroup)
def predict(**_: Any) -> None:
    """Predict with MODEL.

    `modelyard predict MODEL --help` lists the arguments of that model.
    """
