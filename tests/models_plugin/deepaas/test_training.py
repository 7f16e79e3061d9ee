"""An old module's event files are watched while it trains, whoever writes them and however."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time

import pytest
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from modelyard.models_plugin.deepaas.training import train

NAME = "events.out.tfevents.1700000000.host"
KEEPS_OPEN = f"import sys, time; f = open(sys.argv[1] + '/{NAME}', 'wb'); time.sleep(60)"


def make_events(folder, name=NAME):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"")


def wait_for(told, within_s=10.0):
    end = time.monotonic() + within_s
    while not told():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_event_files_are_shown_while_the_training_goes_on(run, watched, workplace, looks_often):
    def call():
        writer = EventFileWriter(str(workplace / "logs" / "fit"))
        writer.flush()
        wait_for(lambda: watched() == {str(workplace / "logs" / "fit")})
        writer.close()
        return "trained"

    assert train(run, call) == "trained"


def test_a_file_that_is_closed_at_once_is_heard(run, watched, workplace):
    def call():
        make_events(workplace / "by-pathlib")
        (workplace / "by-os").mkdir()
        os.close(os.open(f"by-os/{NAME}", os.O_CREAT | os.O_WRONLY))

    train(run, call)
    assert watched() == {str(workplace / "by-pathlib"), str(workplace / "by-os")}


def test_event_files_that_are_only_read_are_not_shown(run, watched, workplace):
    make_events(workplace / "old")
    train(run, lambda: (workplace / "old" / NAME).read_bytes())
    assert watched() == set()


def test_what_a_child_program_writes_is_seen(run, watched, workplace, looks_often):
    (workplace / "child").mkdir()

    def call():
        command = [sys.executable, "-c", KEEPS_OPEN, str(workplace / "child")]
        child = subprocess.Popen(["sh", "-c", '"$@" & wait', "sh", *command])
        try:
            wait_for(lambda: watched() == {str(workplace / "child")})
        finally:
            subprocess.run(["pkill", "-P", str(child.pid)], check=False)
            child.kill()
            child.wait()

    train(run, call)


def test_what_a_forked_child_writes_and_closes_is_heard(run, watched, workplace):
    def call():
        child = multiprocessing.get_context("fork").Process(
            target=make_events, args=(workplace / "forked",)
        )
        child.start()
        child.join()
        assert child.exitcode == 0

    train(run, call)
    assert watched() == {str(workplace / "forked")}


def test_a_file_written_in_a_moment_by_other_code_is_found_by_its_process_id(
    run, watched, workplace
):
    def call():
        for folder, pid in (("ours", os.getpid()), ("others", 1)):
            (workplace / "runs" / folder).mkdir(parents=True)
            name = f"events.out.tfevents.1700000000.host.{pid}.0.v2"
            subprocess.run(["touch", str(workplace / "runs" / folder / name)], check=True)

    train(run, call)
    assert watched() == {str(workplace / "runs" / "ours")}


@pytest.mark.parametrize("name", ["TENSORBOARD_LOGDIR", "MONITOR", "my_tb_dir"])
def test_a_folder_in_the_environment_is_shown(run, watched, workplace, monkeypatch, name):
    (workplace / "monitor").mkdir()
    monkeypatch.setenv(name, str(workplace / "monitor"))
    monkeypatch.setenv("monitorPORT", "6006")
    monkeypatch.setenv("MONITOR_HOST", "/no/such/folder")
    train(run, lambda: None)
    assert watched() == {str(workplace / "monitor")}


def test_the_runs_own_event_files_are_not_shown_twice(run, watched, paths):
    train(run, lambda: make_events(paths.events))
    assert watched() == set()


# -- the stand-ins ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "folders"),
    [
        (["--logdir", "logs", "--port", "6006"], ["logs"]),
        (["--bind_all", "--logdir=a b;'\"$(x)\n"], ["a b;'\"$(x)\n"]),
        (["--logdir_spec", "one:logs/1,two:logs/2"], ["logs/1", "logs/2"]),
        (["--logdir_spec=logs"], ["logs"]),
        ([], []),
    ],
)
def test_a_tensorboard_that_the_module_starts_is_shown_and_waits_to_be_ended(
    run, watched, workplace, looks_often, options, folders
):
    def call():
        process = subprocess.Popen(["tensorboard", *options], stdout=subprocess.PIPE, text=True)
        wait_for(lambda: watched() == {str(workplace / folder) for folder in folders})
        assert process.poll() is None
        process.terminate()
        out, _ = process.communicate(timeout=5)
        assert out.count("/tensorboard/") == len(folders)

    before = os.environ["PATH"]
    train(run, call)
    assert os.environ["PATH"] == before and list(run.folder.iterdir()) == []


def test_tensorboard_asked_for_its_version_is_the_real_one(run, workplace, monkeypatch):
    real = workplace / "real"
    real.mkdir()
    (real / "tensorboard").write_text('#!/bin/sh\necho "real $*"\n')
    (real / "tensorboard").chmod(0o755)
    monkeypatch.setenv("PATH", f"{real}:{os.environ['PATH']}")
    told = train(run, lambda: subprocess.check_output(["tensorboard", "--version"], text=True))
    assert told == "real --version\n"


def test_fuser_ends_nothing(run):
    def call():
        return subprocess.run("fuser -k 6006/tcp", shell=True, check=False).returncode

    assert train(run, call) == 0


# -- what the log and the caller get ------------------------------------------------------------


def test_an_exception_passes_and_the_event_files_are_shown_all_the_same(run, watched, workplace):
    def call():
        make_events(workplace / "logs")
        raise ValueError("the moon is full")

    with pytest.raises(ValueError, match="moon"):
        train(run, call)
    assert watched() == {str(workplace / "logs")}


def test_a_run_folder_that_cannot_be_written_does_not_fail_the_training(
    run, paths, workplace, monkeypatch
):
    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run, "watch", full)
    (run.folder / ".stand-ins").write_text("in the way")
    assert train(run, lambda: make_events(workplace / "logs") or "trained") == "trained"
    assert "No space left" in paths.log.read_text()


def test_a_module_that_removes_its_folder_and_its_environment_still_ends(run, workplace):
    def call():
        workplace.rmdir()
        os.environ.clear()
        return "trained"

    kept = dict(os.environ)
    try:
        assert train(run, call) == "trained"
    finally:
        os.environ.update(kept)


LOGGING = """
import logging, sys
from modelyard.models_plugin.deepaas import training
{before}
training._have_logging_shown()
logging.getLogger("old").info("epoch 1")
"""


@pytest.mark.parametrize(
    ("before", "shown"),
    [("", True), ("logging.basicConfig(level=logging.ERROR)", False)],
)
def test_logging_without_configuration_is_shown(before, shown):
    program = LOGGING.format(before=before)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ("INFO old: epoch 1" in done.stderr) is shown
