"""One method of one plugin, called in this process. By hand, with an `Order` as JSON:

    python -m modelyard.models_plugin.command.process ORDER

Also runs in the interpreter of a model's own environment. Python 3.8 syntax.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import sys
import tempfile
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ...errors import InvalidArguments, ModelyardError, NotSupported, PluginFailed
from ...schemas.transport import RequestData
from ..answers import JSON, json_value
from ..deepaas.adapter import DeepaasPlugin
from ..device import resolve_device
from ..loading import open_plugin
from ..plugin import Plugin, PluginSource
from .logs import FAILED, LOG, set_up
from .options import OUTPUT, MethodOptions
from .order import Order
from .outcome import Output
from .run import CommandRun

EXIT_DONE, EXIT_FAILED, EXIT_REFUSED = 0, 1, 2
_SIGNALLED = 128


class Interruption:
    """Ctrl-C and SIGTERM: the first is raised in the plugin's code, the second ends at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._raise)

    def _raise(self, number: int, frame: Any) -> None:
        self.signal = number
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_DFL)
        raise KeyboardInterrupt


def call(order: Order) -> int:
    """Calls the method and tells its result; the exit code."""
    interruption = Interruption()
    set_up(order.log, order.folder)
    try:
        with tempfile.TemporaryDirectory(prefix="deepaas-cli-") as scratch:
            _Call(order, Path(scratch), interruption).make()
    except (ModelyardError, OSError, KeyboardInterrupt) as error:
        if interruption.signal is not None:
            sys.stderr.write("deepaas-cli: stopped\n")
            return _SIGNALLED + interruption.signal
        _tell(error)
        return EXIT_FAILED
    return EXIT_DONE


class _Call:
    def __init__(self, order: Order, scratch: Path, interruption: Interruption) -> None:
        self._order = order
        self._scratch = scratch
        self._interruption = interruption
        self._plugin: Plugin = open_plugin(PluginSource.from_data(order.source))
        self._output = Output(order.output, order.folder)

    def make(self) -> None:
        method = self._order.method
        {
            None: self._get_metadata,
            "get_metadata": self._get_metadata,
            "warm": self._warm,
            "predict": self._predict,
            "train": self._train,
        }[method]()

    def _get_metadata(self) -> None:
        self._request("get_metadata", [])
        if self._order.method is None:
            LOG.warning("No Method was requested! Return get_metadata()")
        plugin = self._plugin
        if isinstance(plugin, DeepaasPlugin):
            self._output.metadata(plugin.metadata())
        else:
            self._output.metadata(plugin.describe().metadata)

    def _warm(self) -> None:
        self._request("warm", [])
        self._load()
        LOG.info("return: Finished warm() method")

    def _predict(self) -> None:
        arguments = self._arguments("predict")
        if not isinstance(self._plugin, DeepaasPlugin):
            self._load()
        result = self._plugin.predict(arguments)
        self._output.prediction(result, str(arguments.get("accept") or JSON), self._scratch)

    def _train(self) -> None:
        arguments = self._arguments("train")
        start = datetime.now()
        record: dict[str, Any] = {
            "date": str(start),
            "args": self._plugin.record_of("train", arguments),
            "status": "done",
            "uuid": uuid.uuid4().hex,
            "result": {},
        }
        result = self._trained(arguments)
        end = datetime.now()
        LOG.info("Elapsed time:  %s", end - start)
        try:
            output = json_value(result)
        except PluginFailed as error:
            LOG.warning("What train() returned is not in the record: %s", error)
            output = None
        record["result"] = {
            "finish_date": str(end),
            "duration": str(end - start),
            "output": output,
        }
        self._output.training(record)

    def _trained(self, arguments: Mapping[str, Any]) -> Any:
        if isinstance(self._plugin, DeepaasPlugin):
            return self._plugin.train_alone(arguments)
        run = CommandRun(
            Path(self._order.folder),
            resolve_device(self._order.device),
            lambda: self._interruption.signal is not None,
        )
        try:
            return self._plugin.train(run, arguments)
        finally:
            if run.kept is not None:
                LOG.info("The files of this training are in %s", run.kept)

    def _set_spawning(self, spawn: bool) -> None:
        """As DEEPaaS: a module with CUDA or threads does not survive a fork."""
        if spawn:
            multiprocessing.set_start_method("spawn", force=True)

    def _load(self) -> None:
        if "weights_optional" not in self._plugin.describe().capabilities:
            raise PluginFailed(
                f"The model {self._order.source['name']!r} needs weights, which a server keeps: "
                "use modelyard serve and modelyard predict."
            )
        self._plugin.load(None, resolve_device(self._order.device), warm=True)

    def _arguments(self, which: str) -> dict[str, Any]:
        description = self._plugin.describe()
        fields = description.predict_arguments if which == "predict" else None
        fields = description.train_arguments if which == "train" else fields
        # Without the function there are no arguments, and the plugin says what is missing.
        return self._request(which, fields or [], fields is None)

    def _request(self, which: str, fields: Any, missing: bool = False) -> dict[str, Any]:
        if missing:
            return self._plugin.arguments(which, RequestData(document={}))
        options = MethodOptions(which, fields)
        given = options.parse(self._order.words)
        output = getattr(given, "output", None) or self._order.output
        if output and Path(self._order.folder, output).is_dir():
            options.parser.error(f"argument {OUTPUT}: {output} is a folder. Name a file in it.")
        self._output = Output(output, self._order.folder)
        LOG.info("%s was called.", self._order.method)
        spawn = getattr(given, "spawn", None)
        self._set_spawning(self._order.spawn if spawn is None else spawn)
        if which not in ("predict", "train"):
            return {}
        try:
            copies = self._scratch / "files"
            copies.mkdir()
            request = options.request(given, self._order.folder, copies)
            return self._plugin.arguments(which, request)
        except InvalidArguments as error:
            options.refuse(error.errors)


def _tell(error: BaseException) -> None:
    """As DEEPaaS in the log, and in one line on standard error."""
    cause = error.__cause__ if isinstance(error, (PluginFailed, NotSupported)) else None
    if cause is None:
        FAILED.critical("%s", error)
    else:
        FAILED.critical("Unhandled error: %s: %s", type(cause).__name__, cause, exc_info=cause)
    sys.stderr.write(f"deepaas-cli: {error}\n")


def main() -> int:
    """The interpreter's exit code; the order is its argument."""
    return call(Order.from_data(json.loads(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
