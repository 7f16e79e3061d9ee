"""A model that prints without end does not fill the disk: its log is cut to its last part."""

import asyncio
import time

from modelyard.serving import pool
from modelyard.serving.options import ServingOptions


def test_a_log_that_has_grown_too_large_is_cut_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "LOG_LIMIT", 3 * 1024**2)
    log = tmp_path / "noisy.log"
    with log.open("wb") as writer:  # as a worker's, which appends
        writer.write(b"x" * 4 * 1024**2 + b"the end\n")
    with log.open("ab") as writer:
        pool._cut_all([log, tmp_path / "none.log"])
        writer.write(b"later\n")
    kept = log.with_name("noisy.log.1").read_bytes()
    assert len(kept) == 1024**2
    assert kept.endswith(b"the end\n")
    assert log.read_bytes() == b"later\n"


async def test_the_logs_of_all_helpers_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "LOG_LIMIT", 3 * 1024**2)
    monkeypatch.setattr(pool, "_LOG_EVERY_S", 0.01)
    names = ("model", "datasets", "storage", "forkserver", "tensorboard")
    for name in names:
        (tmp_path / f"{name}.log").write_bytes(b"x" * 4 * 1024**2)
    served = pool.ServingPool([], ServingOptions(), tmp_path)
    await served.start(lambda model: None)
    try:
        end = time.monotonic() + 30
        while any((tmp_path / f"{name}.log").stat().st_size for name in names):
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
    finally:
        await served.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == len(names) * 1024**2
