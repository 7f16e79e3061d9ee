"""What modules do in their own process works there: children, signals, loops, relative paths."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old("old-busy", flags=("--max-trainings", "3"))


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
