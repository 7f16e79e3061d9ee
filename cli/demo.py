"""`make demo`: from nothing to predictions with freshly trained weights, over the HTTP API only.

Starts a server, trains the built-in image classifier on real pictures of digits, predicts pictures
that the training never saw, tells the addresses, and serves until Ctrl-C. With DEMO_ONCE=1 it ends
after the predictions, and tells how to serve the same again; it exits with 1 if anything failed or
the accuracy is too low.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ..client import Client, ClientError, NotFound, Run, TimedOut
from . import printing
from .demo_server import DemoServer, ended_by_sigterm, free_port
from .follow import watch

MODEL = "image-classifier"
DATASET = "digits"
LEAST_ACCURACY = 0.97
"""Of the test split: 359 of the 1797 pictures, a fifth of each class, put aside before training."""

_PICTURES = 10  # shown at the end, one of each class
_READY_S = 120.0
_READY_STEP_S = 1.0


class DemoFailed(Exception):
    """The demo did not come to its end."""


@click.command()
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-home"),
    show_default=True,
    help="Folder for the data, the records and the weights; kept for the next time.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=5000,
    show_default=True,
    help="If taken, a free one.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1, 10_000),
    default=10,
    show_default=True,
    help="Epochs of the training.",
)
@click.option("--once", is_flag=True, envvar="DEMO_ONCE", help="End after the predictions.")
def demo(home: Path, port: int, epochs: int, once: bool) -> None:
    """Train and predict on real images, to see how it works.

    Starts a server of its own and serves until Ctrl-C.
    """
    if sys.platform != "linux":
        raise click.ClickException(
            "The demo runs a server, and the server runs on Linux only. Here the client and the "
            "other commands work, with a server elsewhere: --url."
        )
    console = printing.console()
    try:
        with ended_by_sigterm():
            _run(console, home.absolute(), port, epochs, once)
    except (DemoFailed, ClientError) as error:
        click.echo(f"The demo failed: {error}", err=True)
        raise click.exceptions.Exit(1) from error
    except KeyboardInterrupt:
        click.echo("\nStopped: nothing is left running.", err=True)
        raise click.exceptions.Exit(130) from None


def _run(console: Console, home: Path, port: int, epochs: int, once: bool) -> None:
    begun = time.monotonic()
    home.mkdir(parents=True, exist_ok=True)
    data = _write_data(console, home)
    # Nothing else runs on this server, so that its training need not be nice to anything.
    arguments = ["--model-name", MODEL, "--home", str(home / "server"), "--data", str(data)]
    arguments += ["--training-nice", "0"]
    server = DemoServer(free_port(port), arguments, home / "server.log")
    with server, Client(server.url) as client:
        if not server.url.endswith(f":{port}"):
            console.print(f"Port {port} is taken, so another one is used.")
        _wait_ready(console, server, client)
        run = _train(console, client, epochs)
        _tell_result(console, client, run)
        _predict(console, client, data / DATASET / "test", run.weights)
        if not once:
            _tell_addresses(console, server.url, data)
        console.print(f"From nothing to predictions in {time.monotonic() - begun:.0f} s.\n")
        if not once:
            _serve_on(console, server)
    if once:
        _tell_how_to_serve(console, home, data, server.url)


def _write_data(console: Console, home: Path) -> Path:
    """The data root, with the pictures in it; by the model's own command, in a process of its own:
    torch and scikit-learn are no business of the command line."""
    root = home / "data"
    folder = root / DATASET
    if not folder.exists():
        console.print("Writing 1797 pictures of handwritten digits (scikit-learn's) ...")
        unfinished = root / f".{DATASET}.{os.getpid()}"
        module = "modelyard.models_plugin.image_classifier.demo_data"
        done = subprocess.run(
            [sys.executable, "-P", "-m", module, str(unfinished)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise DemoFailed(f"the pictures could not be written:\n{done.stderr.strip()}")
        unfinished.rename(folder)
    console.print(f"Pictures: {folder}")
    return root


def _wait_ready(console: Console, server: DemoServer, client: Client) -> None:
    """Waits for the server and the model; a server that ended says why in its log."""
    console.print(f"Server:   {server.url}   (its log: {server.log})")
    deadline = time.monotonic() + _READY_S
    with console.status("Waiting for the server and the model ..."):
        while True:
            try:
                client.wait_ready(MODEL, timeout_s=_READY_STEP_S)
                return
            except (TimedOut, NotFound) as error:
                if server.exit_code is not None:
                    words = server.last_words()
                    raise DemoFailed(f"the server ended ({server.exit_code}):\n{words}") from error
                if time.monotonic() > deadline:
                    raise DemoFailed(f"{error}\n{server.last_words()}") from error


def _train(console: Console, client: Client, epochs: int) -> Run:
    arguments: dict[str, Any] = {"dataset": DATASET, "epochs": epochs, "seed": 1}
    console.print(f"\nPOST /v2/models/{MODEL}/train/  {arguments}", markup=False)
    run = client.train(MODEL, arguments)
    console.print(f"Run {run.id}")
    run = watch(client, MODEL, run.id)
    if not run.succeeded:
        raise DemoFailed(f"the training ended: {printing.state_of(run)}: {run.message}")
    return run


def _tell_result(console: Console, client: Client, run: Run) -> None:
    """Accuracy on the test split. Raises DemoFailed if it is too low."""
    output = (run.result or {}).get("output") or {}
    evaluation = output.get("evaluation") or {}
    accuracy = evaluation.get("accuracy")
    if not isinstance(accuracy, float) or evaluation.get("split") != "test":
        raise DemoFailed(f"the run's result tells no accuracy on the test split: {output}")
    console.print(f"Weights {run.weights}, trained in {printing.duration(run)}")
    console.print(f"Accuracy on the test split (pictures never trained on): {accuracy:.2%}\n")
    if accuracy < LEAST_ACCURACY:
        raise DemoFailed(f"the accuracy is {accuracy:.2%}, less than {LEAST_ACCURACY:.0%}")
    if not any(version.id == run.weights for version in client.weights(MODEL)):
        raise DemoFailed("the new weights are not listed")


def _predict(console: Console, client: Client, test: Path, weights: str | None) -> None:
    """One picture of each class that was held out, in one call, with the new weights."""
    pictures = [next(iter(sorted(folder.iterdir()))) for folder in sorted(test.iterdir())]
    pictures = pictures[:_PICTURES]
    answer = client.predict(MODEL, {"top_k": 1}, files={"image": pictures}, weights=weights)
    if answer.weights != weights:
        raise DemoFailed(f"predicted with {answer.weights}, not with the new weights {weights}")
    predictions = answer.json()["predictions"]
    table = Table("image", "true", "predicted", "probability", box=None, pad_edge=False)
    right = 0
    for picture, prediction in zip(pictures, predictions, strict=True):
        label = prediction["label"]
        right += label == picture.parent.name
        style = "" if label == picture.parent.name else "red"
        name = f"test/{picture.parent.name}/{picture.name}"
        probability = f"{prediction['probability']:.3f}"
        table.add_row(name, picture.parent.name, label, probability, style=style)
    console.print(table)
    console.print(f"{right} of {len(pictures)} right\n")


def _tell_addresses(console: Console, url: str, data: Path) -> None:
    picture = next((data / DATASET / "test" / "7").iterdir())
    lines = [
        f"Swagger UI   {url}/ui",
        f"TensorBoard  {url}/tensorboard/",
        f"Models       {url}/v2/models/",
        "",
        "Again, by hand:",
        f"  curl -F image=@{picture} {url}/v2/models/{MODEL}/predict/",
        f"  curl -H 'Content-Type: application/json' -d '{{\"dataset\": \"{DATASET}\"}}' "
        f"{url}/v2/models/{MODEL}/train/",
        f"  {sys.executable} -m modelyard --url {url} runs",
        "",
    ]
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def _tell_how_to_serve(console: Console, home: Path, data: Path, url: str) -> None:
    """For a demo whose server has ended: an address of it would lead nowhere."""
    port = url.rpartition(":")[2]
    words = ["--model-name", MODEL, "--home", str(home / "server"), "--data", str(data)]
    command = [sys.executable, "-m", "modelyard", "serve", *words, "--port", port]
    lines = [
        "The server has ended; the weights are kept. To serve them again:",
        f"  {shlex.join(command)}",
        f"and then open {url}/ui",
    ]
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def _serve_on(console: Console, server: DemoServer) -> None:
    console.print("Serving until Ctrl-C ...")
    try:
        code = server.wait()
    except KeyboardInterrupt:
        console.print("\nStopping.")
        return
    raise DemoFailed(f"the server ended ({code}):\n{server.last_words()}")


if __name__ == "__main__":
    demo()
