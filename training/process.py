"""The run process: trains one run from its folder. By hand:

    python -m modelyard.training.process RUN_FOLDER

It reads run.json, opens the plugin, validates the arguments again (the recorded ones pinned),
trains, and finishes. Everything it has to say is in the run folder, so whoever started it may die.
If train() had returned in an earlier process, only the finish step is made.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import random
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..models_plugin.aftercare import Aftercare
from ..models_plugin.device import resolve_device
from ..models_plugin.loading import open_plugin
from ..models_plugin.originals import Originals
from ..models_plugin.plugin import Plugin, PluginSource
from ..models_plugin.redaction import Hide, hidden_in, hide_in_output, hiding, install_output
from ..models_plugin.scratch import use_temporary_folder
from ..schemas.states import Phase, Reason
from ..schemas.transport import FilePart, RequestData
from . import lineage
from .context import RunContext, stop_byte
from .data import DataHash
from .elapsed import this_moment
from .failures import DISK_FULL, EXIT_DISK_FULL, failure_of, is_disk_full, say
from .finish import finish
from .messages import LONGEST_TEXT, Failure, RunOrder, RunResult, Trained, cut
from .paths import RunPaths, read_json, write_bytes, write_json
from .reporting import Reporter

EXIT_DONE, EXIT_FAILED, EXIT_STOPPED = 0, 1, 3
EXIT_TERMINATED = 128 + signal.SIGTERM
EXIT_FINISH_FAILED = 75  # EX_TEMPFAIL: trained; the finish step may be tried again

_MOST_NAMED = 5  # functions in a message
_LARGEST_OUTPUT = 1 << 20  # bytes of JSON; more would make every listing of runs slow


class Stopped(BaseException):
    """Raised in the main thread by SIGTERM, so that `finally` blocks of the plugin run."""

    of_server = True  # passes through what catches a plugin's exceptions


def main(run_folder: Path) -> int:
    """Trains and finishes; the exit code. Everything else is in the run folder."""
    paths = RunPaths(run_folder)
    order = RunOrder.from_data(read_json(paths.run) or {})
    _prepare(order)
    reporter, data, own = Reporter(paths), DataHash(paths, order), os.getpid()
    reporter.start()
    try:
        if not paths.trained.exists():
            code = _train(paths, order, reporter, data)
            if code != EXIT_DONE:
                return code
        return _finish(paths, reporter, data)
    except Stopped:
        return EXIT_TERMINATED
    except OSError as error:  # of our own files, between training and finishing
        if not is_disk_full(error):
            raise
        say(f"{DISK_FULL} ({error})")
        return EXIT_DISK_FULL
    finally:
        _leave_if_forked(own)
        reporter.close()


def _train(paths: RunPaths, order: RunOrder, reporter: Reporter, data: DataHash) -> int:
    started, own, umask, folder = time.monotonic(), os.getpid(), os.umask(0o022), Path.cwd()
    os.umask(umask)
    reporter.changed(now=True)
    run = RunContext(paths, order, reporter)
    replaced = ""
    try:
        preloaded = "torch" in sys.modules
        plugin = open_plugin(PluginSource.from_data(order.source))
        run.device = resolve_device(order.device)
        if not preloaded:  # in a cold start the plugin imports torch
            _seed_torch(order)
        request = _request(paths, order)
        run.hide = hide = hiding(plugin.secret_texts("train", request))
        hide_in_output(hide)
        arguments = plugin.arguments("train", request, order.pinned)
        lineage.begin(paths, order)
        data.start()
        reporter.expect_training()
        originals, aftercare = Originals(), Aftercare()
        try:
            result = plugin.train(run, arguments)
        finally:  # what comes needs it, the `except` below too
            put_back = originals.put_back()
            aftercare.restore()
            hide_in_output(hide)  # in a stream that was opened again, too
            replaced = _told_replaced(put_back)
        _leave_if_forked(own)
        os.umask(umask)  # what comes has to be read by the server, in its own folders
        os.chdir(folder)
        run.check_checkpoints()
    except Exception as error:
        _leave_if_forked(own)
        os.umask(umask)
        failure = failure_of(error)
        if replaced:
            failure.message = f"{failure.message} ({replaced})"
        failure = hidden(failure, run.hide)
        _fail(paths, failure, started)
        return EXIT_DISK_FULL if failure.reason == Reason.DISK_FULL.value else EXIT_FAILED
    if run.should_stop:
        return EXIT_STOPPED
    reporter.flush()  # the numbers are on disk before the run can be seen as trained
    lineage.complete(paths)
    output, note = _output(plugin, result, arguments, paths, hide)
    note = "\n".join([*run.notes, *([] if note is None else [note])]) or None
    duration_s = time.monotonic() - started
    write_json(paths.trained, Trained(output, duration_s, note, this_moment()).to_data())
    return EXIT_DONE


def _told_replaced(names: list[str]) -> str:
    """What is said, in the log too, of functions that train() has replaced and we have put back."""
    if not names:
        return ""
    shown = ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
    told = f"train() had replaced {shown}, which the libraries and the server need."
    say(f"{told} It was put back.")
    return told


def _leave_if_forked(own: int) -> None:
    """Ends a child that train() forked and that came back here: it is not to tell of the run."""
    if os.getpid() != own:
        os._exit(0)


def _finish(paths: RunPaths, reporter: Reporter, data: DataHash) -> int:
    started = time.monotonic()
    reporter.enter(Phase.PUBLISHING.value)
    try:
        stop = stop_byte(paths)
        data.wait(lambda: stop[0] != 0)
        finish(paths)
    except Exception as error:
        say(f"The weights could not be published: {error}")
        failure = failure_of(error)
        failure.reason = Reason.PUBLISH_FAILED.value
        failure.message = f"Trained, but the weights could not be published: {error}"
        _fail(paths, failure, started)
        return EXIT_FINISH_FAILED
    return EXIT_DONE


def _fail(paths: RunPaths, failure: Failure, started: float) -> None:
    say(failure.traceback or failure.message)
    result = RunResult(duration_s=time.monotonic() - started, error=asdict(failure))
    try:
        write_json(paths.result, result.to_data())
    except OSError as error:  # the exit code still tells the supervisor that it failed
        say(f"result.json cannot be written: {error}")


def hidden(failure: Failure, hide: Hide) -> Failure:
    """What is told of it: nothing that the client sent in secret, no more than a record takes."""
    names = ("message", "traceback", "original_type", "file")
    told = {name: hidden_in(getattr(failure, name), hide) for name in names}
    told["message"] = cut(told["message"])
    for name in ("original_type", "file"):
        told[name] = None if told[name] is None else cut(told[name], LONGEST_TEXT)
    return replace(failure, **told)


def _output(
    plugin: Plugin, result: Any, arguments: dict[str, Any], paths: RunPaths, hide: Hide
) -> tuple[Any, str | None]:
    """What train() returned, as JSON. A trained run is not lost because that has no JSON form.

    More than 1 MiB of JSON is a file in the run's plugin folder, and a note that names it.
    """
    try:
        answer = plugin.answer("train", result, arguments, paths.plugin)
        if answer.content_type != "application/json":
            return {"file": answer.path, "content_type": answer.content_type}, None
        body = answer.body
        if answer.path is not None:
            file = paths.plugin / answer.path
            body = file.read_bytes()
            file.unlink()
        if hide is not None:
            body = json.dumps(hidden_in(json.loads(body), hide)).encode()
        if len(body) > _LARGEST_OUTPUT:
            return _kept_output(paths.plugin, body), None
        return json.loads(body), None
    except Exception as error:  # an author's iterator or method may raise anything
        note = f"What train() returned is not in the record: {error}"
        say(note)
        return None, note


def _kept_output(folder: Path, body: bytes) -> dict[str, Any]:
    """Writes output.json, or output-2.json, ... if the plugin has such a file; what is told."""
    name, number = "output.json", 1
    while (folder / name).exists():
        number += 1
        name = f"output-{number}.json"
    write_bytes(folder / name, body)
    note = f"What train() returned is too large for the record: it is in the run's plugin/{name}"
    return {"note": note, "file": name, "size": len(body)}


def _request(paths: RunPaths, order: RunOrder) -> RequestData:
    body = paths.body.read_bytes() if paths.body.exists() else b""
    request = RequestData.from_data(order.request, body)
    for part in [*request.files, *([request.raw] if request.raw else [])]:
        _locate(part, paths)
    return request


def _locate(part: FilePart, paths: RunPaths) -> None:
    """Files may have been recorded where the call had them, before they came to the run folder."""
    moved = paths.files / Path(part.path).name
    if moved.exists():
        part.path = str(moved)


def _prepare(order: RunOrder) -> None:
    use_temporary_folder()
    if order.secrets:
        install_output()
    faulthandler.enable()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # to a file: the log is followed live
    os.environ.update(thread_variables(order.threads))
    signal.signal(signal.SIGTERM, _raise_stopped)
    # A child that the plugin forks must die of SIGTERM as any process does.
    os.register_at_fork(after_in_child=_forget_stopping)
    random.seed(order.seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(order.seed % 2**32)
    _seed_torch(order)


def _seed_torch(order: RunOrder) -> None:
    """Seeds and bounds torch if it is imported: preloaded, it has not seen our environment."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.set_num_threads(order.threads)
    # manual_seed() asks every kind of device: 4 ms.
    if order.device == "cpu" or not torch.cuda.is_available():
        torch.default_generator.manual_seed(order.seed)
    else:
        torch.manual_seed(order.seed)


def _raise_stopped(number: int, frame: Any) -> None:
    raise Stopped


def _forget_stopping() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def thread_variables(threads: int) -> dict[str, str]:
    """Environment that bounds numeric libraries; two runs that oversubscribe stall 38 times."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_MAX_THREADS")
    return dict.fromkeys(names, str(threads))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
