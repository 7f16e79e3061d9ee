"""`train` and `predict`: their sub-commands are the models of the server that is talked to.

So `modelyard train image-classifier --help` lists that model's arguments, as it describes them now.
"""

from __future__ import annotations

from typing import Any

import click

from ..client import Argument, ArgumentsRefused, Client, ClientError, Model, NotFound
from ..client.errors import flat_messages
from .connection import client_of, described
from .options import ModelOptions, normalize
from .server_options import make_connection_options

_OWN = frozenset({"url", "json", "help"})


class ModelGroup(click.Group):
    """A group that asks the server for its commands."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.subcommand_metavar = "MODEL [OPTIONS]"
        self.params.extend(make_connection_options())

    def command_of(self, client: Client, model: Model) -> click.Command:
        """The command for one model, its options made of the model's arguments."""
        raise NotImplementedError

    def list_commands(self, ctx: click.Context) -> list[str]:
        try:
            return [model.name for model in client_of(ctx).models()]
        except ClientError:  # for shell completion
            return []

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, rest = args[0], args[1:]
        if name.startswith("-"):
            return super().resolve_command(ctx, args)
        client = client_of(ctx, rest)
        try:
            model = described(client, name)
        except NotFound as error:
            known = ", ".join(model.name for model in client.models()) or "none"
            raise click.UsageError(f"No model {name!r} there. Models: {known}.", ctx) from error
        return name, self.command_of(client, model), rest

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name.startswith("-"):
            return None
        client = client_of(ctx)
        return self.command_of(client, described(client, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Models"):
            try:
                found = client_of(ctx).models()
            except ClientError as error:
                formatter.write_text(error.message)
                return
            rows = [(model.name, model.error or model.summary) for model in found]
            formatter.write_dl(rows or [("none", "")])


class ModelCommand(click.Command):
    """The command of one model; arguments that the server refuses are told by their option."""

    def __init__(self, model: Model, options: ModelOptions, **kwargs: Any) -> None:
        super().__init__(
            model.name,
            context_settings={"token_normalize_func": normalize, "max_content_width": 100},
            **kwargs,
        )
        self._options = options

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ArgumentsRefused as error:
            click.echo(f"modelyard: {ctx.info_name} refuses:", err=True)
            for name, messages in error.errors.items():
                words = " ".join(flat_messages(messages))
                click.echo(f"  {self._options.option_of(name)}: {words}", err=True)
            ctx.exit(2)


def model_command(
    model: Model,
    arguments: tuple[Argument, ...],
    own: list[click.Parameter],
    help_text: str,
    callback: Any,
) -> click.Command:
    """A command whose callback is called with the collected arguments and its `own` parameters."""
    taken = {option[2:] for param in own for option in param.opts if option.startswith("--")}
    options = ModelOptions(arguments, _OWN | taken)

    @click.pass_context
    def run(ctx: click.Context, **params: Any) -> Any:
        mine = {param.name: params.get(param.name or "") for param in own}
        return callback(ctx, options, options.collect(params), **mine)

    return ModelCommand(
        model,
        options,
        params=[*options.params, *own, *make_connection_options()],
        callback=run,
        help=help_text,
    )
