"""Datasets that servers share: what one published, the other trains with."""

import time

FILES = {"a.txt": b"one", "deep/b.txt": b"two " * 5000}


def send(server, name, files):
    """Sends a dataset as a form; returns its record once the store has it."""
    parts = [("file", (path, content)) for path, content in files.items()]
    answer = server.post("/v2/datasets/", params={"name": name}, files=parts)
    assert answer.status_code in (200, 201), answer.text
    deadline = time.monotonic() + 30
    while not (made := dataset(server, answer.json()["id"]))["stored"]:
        assert time.monotonic() < deadline, made
        time.sleep(0.05)
    assert made["state"] == "ready" and made["local"] is True
    return made


def dataset(server, reference):
    answer = server.get(f"/v2/datasets/{reference}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def trained(server, model, reference):
    """The ended run of a training with a stored dataset."""
    answer = server.post(f"/v2/models/{model}/train/", params={"dataset": reference})
    assert answer.status_code == 200, answer.text
    record = server.wait_run(answer.json())
    assert record["status"] == "done", (record, server.log(record))
    return record


def read(files):
    """What the model saw."""
    return {path: content.decode() for path, content in files.items()}


def test_a_training_fetches_the_dataset_that_another_server_published(
    start_server, tmp_path, rclone
):
    way = rclone.fresh()
    flags = ("--model-name", "lister", "--storage", way.url)
    first = start_server(*flags, env=way.env)
    made = send(first, "birds", FILES)

    second = start_server(*flags, home=tmp_path / "elsewhere", env=way.env)
    known = dataset(second, made["id"])
    assert (known["reference"], known["digest"]) == ("birds@1", made["digest"])
    assert known["local"] is False and known["stored"] is True
    assert not (second.home / "datasets" / made["id"]).exists()
    second.wait_ready("lister")
    record = trained(second, "lister", made["id"])
    assert record["dataset"] == made["id"] and record["result"]["output"] == read(FILES)
    assert dataset(second, made["id"])["local"] is True

    # Published a moment ago: the second server has not heard of it when it is asked for it.
    newer = send(first, "birds", {"c.txt": b"three"})
    record = trained(second, "lister", "birds@2")
    assert record["dataset"] == newer["id"] and record["result"]["output"] == {"c.txt": "three"}
