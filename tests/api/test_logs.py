"""Lines of the server's log: one JSON object each, whoever logs what."""

import json
import logging
import re
import subprocess
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


STRANGE = "a\n2026-01-01 forged\r\x1b[2J\x9b2J\x85\u2028\u202ez"


def test_whoever_reads_a_line_sees_one_line():
    for record in ({"msg": STRANGE}, {"msg": "it", "model": STRANGE}):
        line = written(**record)
        assert line.splitlines() == [line]
        assert not re.search("[\x00-\x1f\x80-\x9f\u2028\u202e]", line)
        assert STRANGE in json.loads(line).values()


def test_on_a_terminal_nothing_that_was_sent_begins_a_line_or_steers_it():
    record = {"name": "a", "levelname": "INFO", "levelno": 20, "created": 0.0, "msg": STRANGE}
    try:
        raise ValueError(STRANGE)
    except ValueError:
        made = logging.makeLogRecord({**record, "exc_info": sys.exc_info(), "model": STRANGE})
    text = re.sub(r"\x1b\[[0-9;]*m", "", line_formatter(colours=True).format(made))
    first, *others = text.splitlines()
    assert first.startswith("1970-01-01T00:00:00") and "\x1b" not in text and "\x9b" not in text
    assert others and all(line.startswith(("    ", "Traceback")) for line in others), others


def test_what_a_library_warns_of_is_a_line_of_the_log():
    code = (
        "import warnings; from modelyard.api.logs import configure_logging as c; c('info');"
        "import aiohttp; warnings.warn('one\\ntwo');"
        "warnings.warn(aiohttp.BadContentDispositionHeader('from a client'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["logger"] for line in lines] == ["py.warnings"]
    assert "one\ntwo" in lines[0]["event"]
