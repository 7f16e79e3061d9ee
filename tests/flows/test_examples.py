"""The example plugins, installed as their READMEs say, train and predict over HTTP."""

import signal
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from modelyard.training.executor import read_identity
from modelyard.training.paths import RunPaths
from modelyard.training.resuming import last_step

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = {"tiny-torch-classifier", "naive-bayes"}

pytestmark = pytest.mark.skipif(
    not {point.name for point in entry_points(group="modelyard.models")} >= NAMES,
    reason="the examples are not installed (make test installs them)",
)


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", ",".join(sorted(NAMES)))
    for name in NAMES:
        assert server.wait_ready(name)["state"] == "ready"
    return server


@pytest.mark.slow
def test_the_torch_example_learns_exclusive_or(server):
    points, labels = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    record = server.train("tiny-torch-classifier", points=points, labels=labels)
    done = server.wait_run(record)
    assert done["status"] == "done", done["message"]
    assert done["result"]["output"]["accuracy"] == 1.0
    answer = server.predict(
        "tiny-torch-classifier", json={"points": points}, params={"weights": done["weights"]}
    )
    probabilities = answer.json()["predictions"]
    assert [max(range(2), key=row.__getitem__) for row in probabilities] == labels


@pytest.mark.slow
def test_the_torch_example_goes_on_after_a_kill_to_the_same_weights(server):
    points, labels = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    arguments = {"points": points, "labels": labels, "steps": 3000}
    done = server.wait_run(server.train("tiny-torch-classifier", **arguments))
    url = f"/v2/models/tiny-torch-classifier/train/?like={done['weights']}"
    again = server.post(url, json={}).json()
    paths, end = RunPaths(Path(server.home) / "runs" / again["uuid"]), time.monotonic() + 60
    while last_step(paths) is None:
        assert time.monotonic() < end, server.log(again)
        time.sleep(0.002)
    read_identity(paths.process).signal(signal.SIGKILL)
    again = server.wait_run(again)
    assert (again["status"], again["attempt"]) == ("done", 2), again
    assert again["message"] == f"Equal bit for bit to version {done['weights']}."


def test_the_torch_example_says_what_is_wrong_with_its_data(server):
    record = server.train("tiny-torch-classifier", points=[[0, 0]], labels=[0, 1])
    ended = server.wait_run(record)
    assert (ended["reason"], ended["message"]) == ("invalid_data", "1 points, but 2 labels")


def test_the_example_without_torch_sorts_texts(server):
    table = EXAMPLES / "naive_bayes" / "example.csv"
    answer = server.post(
        "/v2/models/naive-bayes/train/",
        files={"table": (table.name, table.read_bytes(), "text/csv")},
        data={"held_out": "0"},
    )
    assert answer.json()["args"]["table"] == "example.csv"
    done = server.wait_run(answer.json())
    assert done["result"]["output"]["classes"] == ["animal", "machine"]
    answer = server.predict(
        "naive-bayes", json={"texts": ["the cat and the horse", "a new engine"]}
    )
    labels = [item["label"] for item in answer.json()["predictions"]]
    assert labels == ["animal", "machine"]


def test_the_example_without_torch_names_the_bad_line(server):
    answer = server.post(
        "/v2/models/naive-bayes/train/",
        files={"table": ("bad.csv", b"text,label\na,b\nc,\n", "text/csv")},
    )
    ended = server.wait_run(answer.json())
    assert ended["reason"] == "invalid_data"
    assert "bad.csv:3" in ended["message"]
