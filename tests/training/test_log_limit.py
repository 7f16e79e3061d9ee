"""A training that prints without end does not fill the disk, and its log can still be followed."""

from pathlib import Path

import pytest

from modelyard.training.log_limit import bound_log, read_log

LINE = b"the same line again and again, numbered %08d\n"
LIMIT = 4 * 1024**2


def whole(path: Path, offset: int = 0) -> bytes:
    pieces = []
    while True:
        piece, offset = read_log(path, offset, 65536)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.txt"
    with path.open("wb") as file:
        for number in range(200_000):
            file.write(LINE % number)
    return path


def test_log_that_grows_too_large_keeps_its_begin_and_its_end(log: Path) -> None:
    before = log.stat()
    bound_log(log, LIMIT)
    after = log.stat()
    if after.st_blocks == before.st_blocks:
        pytest.skip("this file system makes no holes")
    assert after.st_size == before.st_size
    assert after.st_blocks * 512 < LIMIT
    text = whole(log)
    assert text.startswith(LINE % 0)
    assert text.endswith(LINE % 199_999)
    assert b"bytes of this log were given up" in text
    assert b"\0" not in text


def test_reader_that_had_come_further_goes_on_where_it_was(log: Path) -> None:
    end = log.stat().st_size
    bound_log(log, LIMIT)
    with log.open("ab") as file:
        file.write(b"later\n")
    assert whole(log, end) == b"later\n"


def test_log_below_the_limit_is_left_alone(log: Path) -> None:
    before = log.read_bytes()
    bound_log(log)
    assert log.read_bytes() == before
    assert whole(log) == before


def test_log_that_is_not_there_yet_reads_empty(tmp_path: Path) -> None:
    bound_log(tmp_path / "none")
    assert read_log(tmp_path / "none", 0, 100) == (b"", 0)
