"""What modules do in their own process works there: children, signals, loops, relative paths."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old("old-busy", "old-monitored", flags=("--max-trainings", "3"))


WORK = [
    ("spawn", [1, 4, 9]),
    ("fork", [1, 4, 9]),
    ("process", 0),
    ("command", "said\n"),
    ("signal", True),
    ("loop", "from a loop"),
    ("stdin", ""),
    ("stdout", True),
    ("generator", [0, 1, 2]),
    ("thread", "left behind"),
]


@pytest.mark.parametrize(("do", "result"), WORK, ids=[do for do, _ in WORK])
def test_work_in_predict(server, predictions, do, result):
    assert predictions(server.predict("old-busy", params={"do": do})) == result
    assert server.predict("old-busy").status_code == 200


def test_work_in_train(server):
    """All at once: what one waits for does not hold another."""
    chosen = [pair for pair in WORK if pair[0] in ("spawn", "process", "signal", "loop", "thread")]
    records = [(server.train("old-busy", do=do), result) for do, result in chosen]
    for record, result in records:
        ended = server.wait_run(record)
        assert (ended["status"], ended["result"]["output"]) == ("done", result), record["args"]


def test_the_folder_that_the_server_was_started_in_is_that_of_predict_and_train(
    server, predictions
):
    here = predictions(server.predict("old-busy"))
    assert here == {"cwd": str(Path.cwd()), "started_in": str(Path.cwd()), "batch": 4}
    ended = server.wait_run(server.train("old-busy", do="where"))
    assert ended["result"]["output"] == here


@pytest.mark.parametrize(
    ("do", "text"), [("temporary", "in a temporary file"), ("string_io", "text in memory")]
)
def test_open_files_of_any_kind_are_answers(server, do, text):
    answer = server.predict("old-busy", params={"do": do})
    assert (answer.status_code, answer.text) == (200, text)


def test_a_module_that_starts_its_own_tensorboard_is_shown_in_ours(server):
    """`fuser -k` must not end what listens on that port, and no second TensorBoard listens."""
    record = server.post("/v2/models/old-monitored/train/", json={"steps": 3}).json()
    ended = server.wait_run(record)
    assert (ended["status"], ended["result"]["output"]) == ("done", {"status": "done"})
    log_folders = list((server.base / "logs").iterdir())
    assert [path.suffix for path in log_folders[0].iterdir() if "final" in path.name] == [".h5"]
    tags = server.get("/tensorboard/data/plugin/scalars/tags").json()
    shown = [run for run, values in tags.items() if "scalars/loss" in values]
    assert any(record["uuid"][:8] in run for run in shown), tags
    assert not [name for name in os.listdir("/proc") if _watches(name, server.base)]  # noqa: PTH208


def _watches(pid, folder):
    """Whether that process is a `tensorboard` that was given a folder in `folder`."""
    try:
        command = Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return False
    return b"tensorboard" in command and os.fsencode(folder) in command
