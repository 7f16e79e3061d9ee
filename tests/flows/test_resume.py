"""Pause and resume over HTTP, with the built-in classifier: the same weights, bit for bit."""

import io
import random
import shutil
import signal
import time
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from modelyard.training.executor import read_identity
from modelyard.training.paths import RunPaths
from modelyard.training.resuming import last_step

MODEL = "image-classifier"
ARGUMENTS = {
    "dataset": "pictures", "epochs": 10, "batch_size": 8, "flip": 0.5, "threads": 1, "seed": 3,
}  # fmt: skip


def write_pictures(folder: Path) -> None:
    """Three classes of noise, each brighter than the one before it."""
    chance = random.Random(0)
    for split, count in (("train", 20), ("val", 4), ("test", 4)):
        for label in range(3):
            inner = folder / split / f"class{label}"
            inner.mkdir(parents=True)
            for number in range(count):
                pixels = bytes(60 * label + chance.randrange(120) for _ in range(64))
                Image.frombytes("L", (8, 8), pixels).save(inner / f"{number}.png")


MODELS = f"{MODEL},stepper,counter"
FLAGS = ("--model-name", MODELS, "--training-threads", "1", "--training-nice", "0")


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_pictures(root / "pictures")
    return root


@pytest.fixture(scope="module")
def server(serve_module, data_root):
    made = serve_module(*FLAGS, "--data", str(data_root))
    for model in MODELS.split(","):
        made.wait_ready(model)
    return made


@pytest.fixture(scope="module")
def unbroken(server):
    """The files of a training that nothing interrupts."""
    done = server.wait_run(server.train(MODEL, **ARGUMENTS), timeout=120)
    assert done["status"] == "done", done
    return hashes(server, done)


def hashes(server, record: dict) -> dict[str, str]:
    version = server.get(f"/v2/models/{MODEL}/weights/{record['weights']}").json()
    return {file["path"]: file["sha256"] for file in version["files"]}


def until(server, record: dict, condition, within_s: float = 60) -> dict:
    end = time.monotonic() + within_s
    while not condition(now := server.run(record)):
        assert time.monotonic() < end, (now, server.log(record))
        time.sleep(0.02)
    return now


def step_of(now: dict) -> int:
    return now["progress"]["step"] or 0


def paths_of(server, record: dict) -> RunPaths:
    return RunPaths(Path(server.home) / "runs" / record["uuid"])


def send_signal(server, record: dict, who: str, number: int = signal.SIGKILL) -> None:
    identity = read_identity(getattr(paths_of(server, record), who))
    if identity is not None:
        identity.signal(number)


def saved(server, record: dict, after: int = 0) -> int:
    """The step of the run's last checkpoint, as soon as there is one after that step."""
    paths, end = paths_of(server, record), time.monotonic() + 60
    while (step := last_step(paths)) is None or step <= after:
        assert time.monotonic() < end, server.log(record)
        time.sleep(0.002)
    return step


def test_classifier_that_was_paused_and_killed_ends_with_the_same_bytes(server, unbroken):
    record = server.train(MODEL, **ARGUMENTS)
    step = saved(server, record)
    send_signal(server, record, "process", signal.SIGSTOP)  # it is quick: held until it is asked
    asked = server.post(server.run(record)["links"]["pause"])
    assert asked.status_code == 200, asked.text
    send_signal(server, record, "process", signal.SIGCONT)
    paused = until(server, record, lambda now: now["phase"] == "paused" or now["status"] == "done")
    assert paused["phase"] == "paused", paused
    assert (paused["status"], "pause" in paused["links"]) == ("running", False)
    step = last_step(paths_of(server, record))
    resumed = server.post(paused["links"]["resume"])
    assert (resumed.status_code, resumed.json()["uuid"]) == (200, record["uuid"]), resumed.text
    saved(server, record, after=step)
    send_signal(server, record, "process")
    done = server.wait_run(record, timeout=120)
    assert (done["status"], done["attempt"]) == ("done", 3), (done, server.log(record))
    assert hashes(server, done) == unbroken
    refused = server.post(f"{done['links']['self']}/resume")
    assert refused.status_code == 409 and "done" in refused.json()["message"]


@pytest.mark.parametrize("with_secret", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_upload_is_replaced_by_the_stored_dataset_that_it_became(server, with_secret):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("labels.csv", f"one,cat,{with_secret}")
    secret = {"token": "open sesame"} if with_secret else {}
    record = server.post(
        "/v2/models/stepper/train/",
        data={"steps": "400", **secret},
        files={"archive": ("pets.zip", packed.getvalue())},
    ).json()
    until(server, record, lambda now: now["dataset"] and step_of(now) >= 10)
    assert "uploaded: True, stored: None" in server.log(record)
    server.delete(record["links"]["self"])
    ended = server.wait_run(record)
    answer = server.post(ended["links"]["resume"], json=secret)
    assert answer.status_code == 200, answer.text
    again = answer.json()
    assert (again["dataset"], again["args"]["archive"]) == (server.run(record)["dataset"], None)
    until(server, again, lambda now: step_of(now) > 5)
    text = server.log(again)
    assert "uploaded: False, stored: ['labels.csv']" in text and "went on after step" in text
    server.delete(again["links"]["self"])
    server.wait_run(again)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["form", "body"])
def test_classifier_goes_on_with_the_stored_dataset_that_its_upload_became(
    server, unbroken, data_root, tmp_path, how
):
    packed = Path(shutil.make_archive(str(tmp_path / "pictures"), "zip", data_root / "pictures"))
    given = {name: value for name, value in ARGUMENTS.items() if name != "dataset"}
    if how == "form":
        sent = {"data": given, "files": {"archive": (packed.name, packed.read_bytes())}}
    else:
        headers = {"Content-Type": "application/zip"}
        sent = {"params": given, "data": packed.read_bytes(), "headers": headers}
    record = server.post(f"/v2/models/{MODEL}/train/", **sent).json()
    saved(server, record)
    send_signal(server, record, "process", signal.SIGSTOP)
    dataset = until(server, record, lambda now: now["dataset"])["dataset"]
    server.delete(record["links"]["self"])
    send_signal(server, record, "process", signal.SIGCONT)
    ended = server.wait_run(record)
    assert (ended["status"], ended["args"]["archive"] is None) == ("cancelled", False)
    assert not paths_of(server, record).files.exists()
    answer = server.post(ended["links"]["resume"])
    assert answer.status_code == 200, answer.text
    again = answer.json()
    assert (again["dataset"], again["resumed_from"]) == (dataset, record["uuid"])
    assert (again["args"]["dataset"], again["args"]["archive"]) == (dataset, None)
    done = server.wait_run(again, timeout=120)
    assert done["status"] == "done", (done, server.log(again))
    assert "resumed after step" in server.log(again)
    made = hashes(server, done)
    made["description.json"] = unbroken["description.json"]  # the dataset has another name in it
    assert made == unbroken


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_classifier_killed_at_random_moments_ends_with_the_same_bytes(
    start_server, data_root, seed
):
    server = start_server(*FLAGS, "--data", str(data_root))
    server.wait_ready(MODEL)
    chance = random.Random(seed)
    arguments = {**ARGUMENTS, "epochs": 60, "early_stopping": 30, "erasing": 0.5}
    started = time.monotonic()
    unbroken = server.wait_run(server.train(MODEL, **arguments), timeout=300)
    took_s = time.monotonic() - started
    record = server.train(MODEL, **arguments)
    for attempt in (1, 2, 3):
        until(server, record, lambda now: now["attempt"] >= attempt or now["status"] != "running")  # noqa: B023
        time.sleep(chance.uniform(0.0, took_s / 2))
        if chance.random() < 0.3:
            server.kill()
            send_signal(server, record, chance.choice(["process", "supervisor"]))
            server.start()
            server.wait_ready(MODEL)
        else:
            send_signal(server, record, chance.choice(["process", "supervisor"]))
    done = server.wait_run(record, timeout=300)
    assert done["status"] == "done", (done, server.log(record))
    assert hashes(server, done) == hashes(server, unbroken)


def test_ended_training_is_resumed_as_a_new_one_and_asks_for_its_secrets(server):
    record = server.train("stepper", steps=400, seconds=0.01, token="open sesame")
    until(server, record, lambda now: step_of(now) >= 12)
    assert "pause" in server.run(record)["links"]
    server.delete(record["links"]["self"])
    ended = server.wait_run(record)
    assert "resume" in ended["links"]
    url = ended["links"]["resume"]
    missing = server.post(url)
    assert (missing.status_code, list(missing.json())) == (422, ["token"]), missing.text
    wrong = server.post(url, json={"token": "open sesame", "steps": 3})
    assert (wrong.status_code, list(wrong.json())) == (422, ["steps"]), wrong.text
    answer = server.post(url, json={"token": "open sesame"})
    assert answer.status_code == 200, answer.text
    again = answer.json()
    assert (again["resumed_from"], answer.headers["Location"]) == (
        record["uuid"], again["links"]["self"],
    )  # fmt: skip
    assert server.post(url, json={"token": "open sesame"}).status_code == 409
    until(server, again, lambda now: step_of(now) >= 13)
    text = server.log(again)
    assert "went on after step" in text and "token of 11" in text
    server.delete(again["links"]["self"])
    server.wait_run(again)


def test_what_cannot_be_paused_or_resumed_says_why(server):
    record = server.train("counter", steps=1000, seconds=0.05)
    until(server, record, lambda now: now["phase"] == "training")
    paused = server.post(f"{record['links']['self']}/pause")
    assert paused.status_code == 409 and "run.resume_from" in paused.json()["message"]
    assert server.post(f"{record['links']['self']}/resume").status_code == 409
    unfit = server.post(f"{record['links']['self']}/resume", json={"steps": 1})
    assert (unfit.status_code, list(unfit.json())) == (422, ["steps"])
    server.delete(record["links"]["self"])
    server.wait_run(record)
    gone = server.post(f"{record['links']['self']}/resume")
    assert gone.status_code == 409 and "does not go on" in gone.json()["message"]
    assert server.post(f"/v2/models/counter/train/{'0' * 32}/pause").status_code == 404


@pytest.mark.slow
def test_folder_of_the_data_root_is_told_by_its_hash_and_again_when_it_is_repeated(
    server, data_root
):
    folder = data_root / "mine"
    shutil.copytree(data_root / "pictures", folder)
    arguments = {**ARGUMENTS, "dataset": "mine", "epochs": 1}
    done = server.wait_run(server.train(MODEL, **arguments), timeout=120)
    path = f"/v2/models/{MODEL}/weights/{done['weights']}"
    told = server.get(f"{path}/lineage").json()["dataset"]
    assert (told["id"], told["name"]) == (None, "mine")
    assert told["digest"] in server.get(f"{path}/card").text
    packed = Path(shutil.make_archive(str(data_root / "packed"), "tar", folder)).read_bytes()
    answer = server.post("/v2/datasets/?name=sent", files={"file": ("sent.tar", packed)})
    assert answer.status_code == 201 and answer.json()["digest"] == told["digest"]
    (folder / "train" / "class0" / "0.png").unlink()
    again = server.post(f"/v2/models/{MODEL}/train/?like={done['weights']}")
    message = server.wait_run(again.json(), timeout=120)["message"]
    assert "Not equal to version" in message
    assert f"The data in `mine` are not what they were: digest {told['digest']}" in message
