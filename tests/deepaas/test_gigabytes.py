"""A module that prints gigabytes fills no disk, and nobody else notices."""

import threading
import time

import pytest

SENT = 1024**3


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old("old-hostile", "old-trainer", "old-only-predict")


class Others:
    """Predicts with another model all the while."""

    def __init__(self, server):
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.statuses = []

    def _work(self):
        while not self._stop.wait(0.05):
            self.statuses.append(self._server.predict("old-only-predict").status_code)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join()


def on_disk(path):
    return path.stat().st_blocks * 512 if path.exists() else 0


@pytest.mark.slow
def test_a_prediction_that_prints_a_gigabyte_is_answered_and_its_log_is_cut(server):
    with Others(server) as others:
        answer = server.predict("old-hostile", params={"do": "flood"})
        assert answer.json()["predictions"] == SENT
        log = server.home / "logs" / "old-hostile.log"
        until = time.monotonic() + 20
        while on_disk(log) > 64 * 1024**2:
            assert time.monotonic() < until, on_disk(log)
            time.sleep(0.2)
        assert server.predict("old-hostile").status_code == 200
    assert set(others.statuses) == {200}


@pytest.mark.slow
def test_a_training_that_prints_a_gigabyte_ends_and_its_log_keeps_begin_and_end(server):
    with Others(server) as others:
        record = server.train("old-trainer", do="flood")
        assert server.wait_run(record, timeout=120)["result"]["output"] == SENT
    assert set(others.statuses) == {200}
    log = next(server.home.glob(f"runs/{record['uuid']}/log.txt"))
    assert log.stat().st_size > SENT
    assert on_disk(log) < SENT / 2
    answer = server.get(f"/v2/models/old-trainer/train/{record['uuid']}/log", stream=True)
    text = b"".join(answer.iter_content(1 << 20))
    assert text.startswith(b"training flood")
    assert b"bytes of this log were given up" in text
    assert b"the last words" in text[-1000:]  # before the remark about weights
