"""A model that prints without end does not fill the disk: its log is cut to its last part."""

from modelyard.serving import pool


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
