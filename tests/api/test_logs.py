"""Lines of the server's log: one JSON object each, whoever logs what."""

import json
import logging
import re
import sys

import pytest

from modelyard.api.logs import BoundedFileHandler, line_formatter


def written(**record):
    made = logging.makeLogRecord({"name": "a.logger", "levelname": "INFO", "msg": "it", **record})
    return line_formatter().format(made)


def test_a_line_tells_event_level_logger_extras_and_time():
    line = json.loads(written(created=1767323045.0, route="/v2", status=200, model=None))
    assert list(line) == ["event", "level", "logger", "route", "status", "model", "timestamp"]
    assert line["event"] == "it" and line["level"] == "info" and line["logger"] == "a.logger"
    assert line["timestamp"] == "2026-01-02T03:04:05.000000Z"
    assert (line["route"], line["status"], line["model"]) == ("/v2", 200, None)


def test_what_has_to_be_worked_out_looks_the_same():
    plain = json.loads(written(more=1))
    worked = json.loads(written(msg="%s", args=("it",), more=1))
    assert list(plain) == list(worked)
    assert {**plain, "timestamp": ""} == {**worked, "timestamp": ""}


def failure():
    try:
        raise KeyError("no\nsuch")
    except KeyError:
        return sys.exc_info()


def test_a_failure_is_told_with_its_traceback():
    line = json.loads(written(exc_info=failure(), route="/v2"))
    assert line["exception"].startswith("Traceback") and "KeyError" in line["exception"]
    assert line["route"] == "/v2"


def test_a_terminal_gets_what_a_person_can_read():
    made = logging.makeLogRecord(
        {"name": "a.logger", "levelname": "WARNING", "levelno": logging.WARNING, "msg": "it %s"}
    )
    made.args, made.route, made.peer = ("is",), "/v2", "a\nb"
    made.exc_info = failure()
    text = re.sub(r"\x1b\[[0-9;]*m", "", line_formatter(colours=True).format(made))
    head, _, traceback = text.partition("\n")
    assert head.endswith(" warning  it is [a.logger] route='/v2' peer='a\\nb'")
    assert traceback.startswith("Traceback") and "KeyError" in traceback


def test_what_is_no_text_or_no_usual_number_is_told_all_the_same():
    line = json.loads(written(peer="a\udc80", count=2**70, thing={1}))
    assert (line["count"], line["thing"]) == (2**70, "{1}") and line["peer"].startswith("a")


@pytest.mark.parametrize("more", [{}, {"args": ("x",)}], ids=["plain", "with arguments"])
def test_a_line_cannot_be_forged_and_anything_can_be_told(more):
    text = written(
        msg="it %s" if more else "it", peer='a\n{"event": "forged"}', thing={1, 2}, **more
    )
    assert "\n" not in text
    assert json.loads(text)["peer"].startswith("a\n{")


def test_a_log_file_is_begun_anew_when_it_is_full_and_three_older_ones_stay(tmp_path):
    path = tmp_path / "server.log"
    handler = BoundedFileHandler(path, limit=20_000)
    handler.setFormatter(line_formatter())
    own = logging.Logger("own")
    own.addHandler(handler)
    for number in range(6000):
        own.warning("line %d", number)
    handler.close()
    names = sorted(one.name for one in tmp_path.iterdir())
    assert names == ["server.log", "server.log.1", "server.log.2", "server.log.3"]
    texts = [(tmp_path / name).read_text() for name in reversed(names)]
    whole = [line for text in texts for line in text.splitlines()]
    told = [json.loads(line)["event"] for line in whole]
    assert told == [f"line {number}" for number in range(6000 - len(told), 6000)]
    assert all((tmp_path / name).stat().st_size < 20_000 + 256 * 200 for name in names)
