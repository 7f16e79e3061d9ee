"""A clock that is set, and pids that are given to others, change nothing of a run."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from modelyard.training.elapsed import seconds_since, this_moment
from modelyard.training.ending import said_by_supervisor
from modelyard.training.identity import Identity
from modelyard.training.loss import trained_for_s
from modelyard.training.messages import ExitRecord, Trained
from modelyard.training.paths import RunPaths, write_json

HOUR_S = 3600.0


@pytest.mark.parametrize("jump_s", [-5 * HOUR_S, 5 * HOUR_S])
def test_time_since_a_training_is_not_told_by_the_clock(tmp_path, jump_s):
    """Else a run that waits for a full disk would be given up the moment the clock is set."""
    paths = RunPaths(tmp_path)
    assert trained_for_s(paths) is None
    write_json(paths.trained, Trained(at=this_moment()).to_data())
    as_if_set = time.time() + jump_s
    os.utime(paths.trained, (as_if_set, as_if_set))
    passed = trained_for_s(paths)
    assert passed is not None and 0 <= passed < HOUR_S


def test_moment_of_another_boot_is_not_compared():
    assert seconds_since({**this_moment(), "boot_id": "another"}) is None
    assert seconds_since(None) is None and seconds_since({}) is None


def test_file_of_an_older_release_is_told_by_its_time(tmp_path):
    paths = RunPaths(tmp_path)
    write_json(paths.trained, {"format": 1, "output": None})
    os.utime(paths.trained, (time.time() - 60,) * 2)
    passed = trained_for_s(paths)
    assert passed is not None and 50 < passed < HOUR_S


def test_pid_that_was_given_to_another_process_is_not_the_run():
    """A real one: the kernel is asked to give the same number again."""
    last = Path("/proc/sys/kernel/ns_last_pid")
    if not os.access(last, os.W_OK):
        pytest.skip("only the superuser may choose the next pid")
    first = subprocess.Popen(["/bin/sleep", "60"])
    identity = Identity.of(first.pid)
    assert identity.alive()
    first.kill()
    first.wait()
    time.sleep(0.05)  # the kernel counts in hundredths of a second
    for _ in range(200):
        last.write_text(str(first.pid - 1))
        second = subprocess.Popen(["/bin/sleep", "60"])
        try:
            if second.pid != first.pid:  # somebody was quicker
                continue
            assert not identity.alive()
            assert not identity.signal(signal.SIGKILL)
            assert second.poll() is None, "the other process was not touched"
            return
        finally:
            second.kill()
            second.wait()
    pytest.skip("the machine is too busy to get the number again")


def test_process_of_an_earlier_boot_is_dead_though_pid_and_start_are_there_again():
    me = Identity.of(os.getpid())
    assert me.alive()
    before = Identity(me.pid, me.start_time, "an-earlier-boot")
    assert not before.alive() and not before.signal(0)


def test_late_word_of_an_earlier_epoch_is_not_heard(tmp_path):
    """A supervisor that was fenced off, and writes all the same, changes nothing."""
    paths = RunPaths(tmp_path)
    write_json(paths.exit, ExitRecord(epoch=1, status="done", reason="completed").to_data())
    assert said_by_supervisor(paths, 2) is None
    assert said_by_supervisor(paths, 1) is not None
