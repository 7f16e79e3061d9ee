"""Commands whose standard input and outputs are closed, full, or read by nobody any more."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from yard_waiting import wait_until

PLUGINS = str(Path(__file__).parents[1] / "plugins")


def environment():
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MODELYARD_")}
    path = os.pathsep.join(filter(None, [PLUGINS, environ.get("PYTHONPATH", "")]))
    return {**environ, "PYTHONPATH": path, "MODELYARD_TRAINING_NICE": "0"}


def run(script, *words, **more):
    """The command as a shell starts it that has done `script` before."""
    command = ["bash", "-c", script, "bash", sys.executable, "-m", "modelyard", *map(str, words)]
    return subprocess.Popen(command, env=environment(), text=True, **more)


@pytest.fixture
def serving(tmp_path):
    """`serving(script, **more)`: the address and the process of a server, which answers."""
    begun = []

    def start(script, **more):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        words = ("serve", "--home", tmp_path / "home", "--port", port, "--model-name", "counter")
        process = run(script, *words, "--log-file", tmp_path / "log.txt", **more)
        begun.append(process)
        url = f"http://127.0.0.1:{port}"

        def ready():
            assert process.poll() is None, "it has ended"
            try:
                return requests.get(f"{url}/readyz?model=counter", timeout=30).ok
            except requests.ConnectionError:
                return False

        wait_until(ready)
        return url, process

    yield start
    for process in begun:
        process.kill()
        process.wait()


def test_a_server_whose_input_and_outputs_are_closed_does_all_its_work(serving):
    """As some supervisors start it. Descriptors 0 to 2 are not the event loop's or the home's."""
    url, process = serving('exec "$@" <&- >&- 2>&-')
    streams = Path("/proc", str(process.pid), "fd")
    assert {str((streams / str(number)).readlink()) for number in range(3)} == {"/dev/null"}
    answer = requests.post(f"{url}/v2/models/counter/train/", data={"steps": 2}, timeout=60)
    run_url = f"{url}/v2/models/counter/train/{answer.json()['uuid']}"
    wait_until(lambda: requests.get(run_url, timeout=60).json()["status"] in ("done", "error"))
    assert requests.get(run_url, timeout=60).json()["status"] == "done"
    # What packs, unpacks and takes in data are processes with a stream of their own.
    archive = requests.get(f"{url}/v2/models/counter/weights/latest/archive", timeout=60)
    assert archive.ok, archive.text
    taken = requests.post(f"{url}/v2/models/counter/weights/", data=archive.content,
                          headers={"Content-Type": "application/gzip"}, timeout=60)  # fmt: skip
    assert taken.ok, taken.text
    files = {"file": ("a.txt", b"some", "text/plain")}
    sent = requests.post(f"{url}/v2/datasets/?name=some", files=files, timeout=60)
    assert sent.status_code == 201, sent.text
    assert requests.get(f"{url}/tensorboard/", timeout=60).ok
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_a_server_whose_output_nobody_reads_serves_and_ends_with_0(serving):
    """A pager or a `tee` that has ended: before it told its address, and before its end."""
    end, begin = os.pipe()
    os.close(end)
    _, process = serving('exec "$@"', stdout=begin, stderr=begin)
    os.close(begin)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_a_key_that_cannot_be_shown_is_none(tmp_path):
    home = ("--home", tmp_path / "home")
    made = run('"$@" >/dev/full', "keys", "create", "ann", *home, stderr=subprocess.PIPE)
    told = made.communicate(timeout=60)[1]
    assert made.returncode == 1
    assert told.count("\n") == 1 and "No space left on device" in told, told
    assert "revoked" in told
    listed = run('"$@"', "--json", "keys", "list", *home, stdout=subprocess.PIPE)
    assert '"state": "revoked"' in listed.communicate(timeout=60)[0]


def test_what_cannot_be_written_is_one_line_and_exit_code_1():
    for words in (["--help"], ["keys", "revoke", "--help"]):
        done = run('"$@" >/dev/full', *words, stderr=subprocess.PIPE)
        told = done.communicate(timeout=60)[1]
        assert (done.returncode, told) == (1, "modelyard: No space left on device.\n")


def test_a_server_that_may_open_too_few_files_does_not_start(tmp_path):
    words = ("serve", "--home", tmp_path / "home", "--port", 0)
    done = run('ulimit -n 100; exec "$@"', *words, stderr=subprocess.PIPE)
    told = done.communicate(timeout=60)[1]
    assert done.returncode == 1
    assert told.startswith("modelyard: The server may have 100 files and connections open"), told
    assert "ulimit -n" in told and told.count("\n") == 1
