"""What a store lost or damaged: told as such, and mended by a server that has it whole."""

import io
import time
import zipfile

import requests

WEIGHTS = "/v2/models/counter/weights/"


def until(what, within_s=30.0):
    """The first true answer of `what`."""
    deadline = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.05)
    return found


def ready(server, path):
    """What is at `path`, once it is ready."""
    return until(lambda: (found := server.get(path).json())["state"] == "ready" and found)


def spoil(store):
    """A bit flips in every blob and pack; returns the right bytes."""
    whole = {}
    for folder in ("blobs", "packs"):
        for path in (store / folder).rglob("*"):
            if path.is_file():
                data = whole[path] = path.read_bytes()
                path.write_bytes(data[:-1] + bytes([data[-1] ^ 4]))
    return whole


def test_a_damaged_store_is_told_and_mended_from_the_server_that_has_it_whole(
    start_server, tmp_path
):
    store = tmp_path / "store"
    flags = ("--model-name", "counter", "--storage", str(store))
    first = start_server(*flags)
    first.wait_ready("counter")
    record = first.wait_run(first.train("counter", steps=3))
    version = WEIGHTS + record["weights"]
    assert ready(first, version)["stored"] is True
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "a")
    sent = requests.post(
        f"{first.url}/v2/datasets/?name=letters",
        data=archive.getvalue(),
        headers={"Content-Type": "application/zip"},
        timeout=30,
    )
    assert sent.status_code == 201, sent.text
    dataset = f"/v2/datasets/{sent.json()['id']}"
    assert ready(first, dataset)["stored"] is True
    whole = spoil(store)
    assert len(whole) >= 2

    second = start_server(*flags, home=tmp_path / "second")
    until(lambda: second.get(version).status_code == 200)
    answer = second.predict("counter", params={"weights": record["weights"]})
    assert answer.status_code == 500 and "Retry-After" not in answer.headers, answer.text
    assert answer.json()["type"] == "urn:modelyard:corrupt"
    assert "push --mend" in answer.json()["message"]
    assert second.post(f"{version}/fetch").status_code == 500
    for path in (version, dataset):
        refused = second.post(f"{path}/retry")
        assert refused.status_code == 409, refused.text
        assert "the server that has it" in refused.json()["message"]

    for path in (version, dataset):
        begun = first.post(f"{path}/retry")
        assert begun.status_code == 200, begun.text
        assert (begun.json()["state"], begun.json()["stored"]) == ("publishing", True)
    assert first.predict("counter").status_code == 200, "served all the same"
    for path in (version, dataset):
        assert ready(first, path)["reason"] is None
    assert {path: path.read_bytes() for path in whole} == whole
    answer = second.predict("counter", params={"weights": record["weights"]})
    assert answer.status_code == 200 and answer.json()["predictions"]["count"] == 3
