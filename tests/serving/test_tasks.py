"""A plugin's tasks run in a process each: what they may do, and what the front makes of it."""

import asyncio
import os
from pathlib import Path

import pytest

from modelyard.errors import (
    DeadlineExceeded,
    InvalidArguments,
    NotSupported,
    PluginFailed,
    WorkerDied,
)
from modelyard.models_plugin.environment import plugin_environment
from modelyard.models_plugin.plugin import DEEPAAS_GROUP, PluginSource
from modelyard.serving.tasks import run_plugin_task

PLUGINS = str(Path(__file__).parent / "plugins")


class Tasks:
    def __init__(self, folder):
        self.folder = folder
        self.log = folder / "log"
        self.out = folder / "out"
        self.out.mkdir()

    async def export(self, text="well", format="plain", model="Exporter", timeout_s=20.0, **source):
        weights = self.folder / "weights"
        weights.mkdir(exist_ok=True)
        (weights / "text").write_text(text)
        source = PluginSource("mine", f"task_models:{model}", **source)
        parameters = {"format": format, "weights": str(weights), "folder": str(self.out)}
        environment = plugin_environment(source, {"PYTHONPATH": PLUGINS})
        return await run_plugin_task(source, environment, "export", parameters, timeout_s, self.log)


@pytest.fixture
def tasks(tmp_path):
    return Tasks(tmp_path)


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def all_gone(note):
    """The task's own process at once; what it started was killed with it, and dies in a moment."""
    own, child = (int(pid) for pid in note.read_text().split())
    assert gone(own)
    async with asyncio.timeout(10):
        while not gone(child):
            await asyncio.sleep(0.02)


async def test_a_task_runs_in_a_process_of_its_own_behind_predictions(tasks):
    told = await tasks.export()
    assert told["max_difference"] == 0.25 and told["samples"] == 3
    assert told["pid"] != os.getpid() and gone(told["pid"])
    assert told["nice"] == min(19, os.nice(0) + 5)
    assert told["group"] in ("", "5")
    assert (tasks.out / "model.txt").read_text() == "plain cpu"
    assert "exporting now" in tasks.log.read_text()


async def test_a_task_runs_in_the_models_own_interpreter(tasks, make_environment, oldest_python):
    python = make_environment("tasks", oldest_python, "marshmallow>=3,<5")
    site = next(python.parents[1].glob("lib/python*/site-packages"))
    (site / "task_models.py").write_text(Path(PLUGINS, "task_models.py").read_text())
    told = await tasks.export(python=str(python))
    assert told["samples"] == 3


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("raise", PluginFailed, "exporting to plain: KeyError: 'no such layer'"),
        ("exit", PluginFailed, "SystemExit: 5"),
        ("segfault", WorkerDied, "killed by SIGSEGV"),
        ("leave", PluginFailed, "ended before its task did"),
        ("nothing", PluginFailed, "wrote no file"),
        ("nan", PluginFailed, "not finite"),
        ("untold", PluginFailed, "returned NoneType"),
        ("large", PluginFailed, "larger than 64 MiB"),
    ],
)
async def test_what_goes_wrong_in_a_task_is_told(tasks, text, error, words):
    with pytest.raises(error, match=words):
        await tasks.export(text)


async def test_a_plugin_that_closes_all_descriptors_is_heard_nevertheless(tasks):
    assert (await tasks.export("close"))["samples"] == 3


async def test_a_crash_is_told_with_its_last_words(tasks):
    with pytest.raises(WorkerDied) as caught:
        await tasks.export("segfault")
    assert "exporting now" in caught.value.traceback and "string_at" in caught.value.traceback


async def test_a_task_that_hangs_ends_at_its_limit_with_all_that_it_started(tasks):
    note = tasks.folder / "pids"
    for limit in (2, 10, 50):  # the limit counts the start too, which a busy machine makes long
        with pytest.raises(DeadlineExceeded, match=rf"within {limit} s"):
            await tasks.export(f"hang {note}", timeout_s=float(limit))
        if note.exists() and note.read_text():
            break
    await all_gone(note)


async def test_a_task_that_stops_itself_is_ended_long_before_its_limit_and_told(tasks):
    note = tasks.folder / "pids"
    with pytest.raises(WorkerDied, match=r"stopped by a signal \(SIGSTOP\)") as caught:
        await tasks.export(f"stop {note}", timeout_s=600.0)
    assert "'export'" in caught.value.message and "Ask again" in caught.value.message
    assert "exporting now" in caught.value.traceback
    await all_gone(note)


async def test_a_task_that_nobody_waits_for_any_more_is_killed(tasks):
    note = tasks.folder / "pids"
    waiting = asyncio.ensure_future(tasks.export(f"hang {note}"))
    while not note.exists() or not note.read_text():
        await asyncio.sleep(0.02)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await all_gone(note)


async def test_a_format_that_the_model_does_not_have_is_answered_with_those_it_has(tasks):
    with pytest.raises(InvalidArguments) as caught:
        await tasks.export(format="onnx")
    assert caught.value.errors == {"format": ["Not one of: plain, other."]}


async def test_a_model_without_the_method_does_not_support_it(tasks):
    with pytest.raises(NotSupported):
        await tasks.export(model="Plain")
    with pytest.raises(NotSupported, match="DEEPaaS module"):
        await tasks.export(group=DEEPAAS_GROUP)


async def test_an_interpreter_that_is_gone_is_told(tasks):
    with pytest.raises(WorkerDied, match="cannot be started with /nowhere/python"):
        await tasks.export(python="/nowhere/python")
