"""`plugin check` and `doctor` that are ended while a plugin hangs: nothing of it is left."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from yard_waiting import wait_until

HANGING = """
import os, pathlib, subprocess, tempfile, time

note = pathlib.Path({note!r})
sleep = ["/bin/sleep", "600"]
pids = [os.getpid(), subprocess.Popen(sleep).pid]
pids.append(subprocess.Popen(sleep, start_new_session=True).pid)
folder = tempfile.mkdtemp()
note.with_suffix(".new").write_text(" ".join(map(str, [*pids, folder])))
note.with_suffix(".new").rename(note)
time.sleep(600)
"""


class Yard:
    """A folder with a plugin that hangs at its import, and a place for temporary files."""

    def __init__(self, folder):
        self.note, self.places, site = folder / "note", folder / "places", folder / "site"
        info = site / "hanging-0.1.dist-info"
        info.mkdir(parents=True)
        self.places.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hanging\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text("[modelyard.models]\nhanging = hanging:Model\n")
        (site / "hanging.py").write_text(HANGING.format(note=str(self.note)))
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MODELYARD_")}
        self.env = {**kept, "PYTHONPATH": str(site), "TMPDIR": str(self.places)}

    def begun(self, *words):
        """The command, when the plugin hangs; its processes, and its temporary folder."""
        command = subprocess.Popen(
            [sys.executable, "-m", "modelyard", *words],
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # A shell that starts us in the background would have it ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        wait_until(lambda: self.note.exists() or command.poll() is not None)
        assert command.poll() is None
        *pids, folder = self.note.read_text().split()
        return command, [int(pid) for pid in pids], Path(folder)


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_check_that_is_ended_leaves_no_process_and_no_folder(tmp_path, number):
    yard = Yard(tmp_path)
    command, pids, folder = yard.begun("plugin", "check", "hanging")
    assert folder.parent.parent == yard.places and folder.parent.stat().st_mode & 0o077 == 0
    command.send_signal(number)
    expected = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}
    assert command.wait(60) == expected[number]
    wait_until(lambda: all(map(gone, pids)))
    if number == signal.SIGKILL:  # then the next one does it
        assert list(yard.places.iterdir()) == [folder.parent]
        subprocess.run(
            [sys.executable, "-m", "modelyard", "plugin", "check", "json", "--timeout", "20"],
            env=yard.env,
            capture_output=True,
            timeout=60,
        )
    assert list(yard.places.iterdir()) == []


def test_an_interpreter_that_hangs_ends_with_the_command_too(tmp_path):
    yard, python = Yard(tmp_path), tmp_path / "python"
    python.write_text(f"#!/bin/sh\nsleep 600 &\necho $$ $! nowhere >{yard.note}.new\n"
                      f"mv {yard.note}.new {yard.note}\nsleep 600\n")  # fmt: skip
    python.chmod(0o755)
    command, pids, _ = yard.begun("plugin", "check", "any", "--python", str(python))
    command.kill()
    command.wait()
    wait_until(lambda: all(map(gone, pids)))


def test_two_checks_at_a_time_leave_each_other_their_folders(tmp_path):
    yard = Yard(tmp_path)
    command, pids, folder = yard.begun("plugin", "check", "hanging")
    done = subprocess.run(
        [sys.executable, "-m", "modelyard", "plugin", "check", "json", "--timeout", "20"],
        env=yard.env,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 1 and folder.is_dir() and not any(map(gone, pids))
    command.kill()
    command.wait()
    wait_until(lambda: all(map(gone, pids)))


def test_a_doctor_that_is_killed_leaves_no_process_and_nothing_outside_the_home(
    tmp_path, empty_home
):
    yard, home = Yard(tmp_path), tmp_path / "home"
    shutil.copytree(empty_home, home)
    command, pids, folder = yard.begun("doctor", "--home", str(home))
    assert folder.parent.parent == home / "tmp" / "workers"  # each start of a server empties that
    command.kill()
    command.wait()
    wait_until(lambda: all(map(gone, pids)))
    assert list(yard.places.iterdir()) == []
