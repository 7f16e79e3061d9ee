"""What a call or a training leaves changed in its process harms nothing that comes after it there:
tried where only what comes after would notice."""

import pytest

LEFT = (
    *("close_streams", "break_streams", "fill_a_pipe", "timers", "watchdog"),
    *("limit_files", "limit_files_for_good", "limit_descriptors", "limit_memory"),
    "limit_recursion",
)

HARD = ("limit_files_for_good",)
"""Cannot be put back in the process that has them."""


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "meddler,meddler-too", "--predict-timeout", "20")
    for model in ("meddler", "meddler-too"):
        server.wait_ready(model)
    return server


def works(server):
    answer = server.predict("meddler")
    assert answer.status_code == 200, answer.text[:500]
    return answer.json()["predictions"]["pid"]


@pytest.mark.parametrize("do", LEFT)
def test_what_a_call_has_left_in_its_process_does_not_reach_the_next(server, do):
    works(server)
    answer = server.predict("meddler", json={"do": do})
    assert answer.status_code == 200, answer.text[:500]
    for _ in range(2):
        works(server)


@pytest.mark.parametrize("do", [do for do in LEFT if do not in HARD])
def test_a_training_is_done_whatever_it_has_left_in_its_process(server, do):
    record = server.wait_run(server.train("meddler-too", do=do))
    assert (record["status"], record["message"]) == ("done", None), record
    assert record["weights"], record


def test_a_training_that_closed_its_output_tells_why_it_failed(server):
    record = server.train("meddler-too", do="close_streams_and_fail")
    record = server.wait_run(record)
    assert record["reason"] == "plugin_failed", record
    assert "the moon is lost" in record["message"]
    log = server.log(record)
    assert "closed" in log and "the moon is lost" in log, log


@pytest.mark.parametrize("do", ["exits_late", "interrupted_late"])
def test_an_answer_that_ends_on_the_way_is_no_answer(server, do):
    answer = server.predict("meddler", json={"do": do})
    assert answer.status_code == 500, answer.text
    assert {"exits_late": "SystemExit", "interrupted_late": "KeyboardInterrupt"}[do] in answer.text
    record = server.wait_run(server.train("meddler-too", do=do))
    assert (record["status"], record["result"]["output"]) == ("done", None), record
    assert "is not in the record" in record["message"], record


@pytest.mark.parametrize("do", ["fails_late", "file_fails_late", "file_of_numbers"])
def test_an_answer_that_fails_late_costs_no_worker(server, do):
    pid = works(server)
    for _ in range(3):
        answer = server.predict("meddler", json={"do": do})
        assert answer.status_code == 500, answer.text
        words = "gave int" if do == "file_of_numbers" else "is lost"
        assert words in answer.text, answer.text
    assert works(server) == pid


@pytest.mark.parametrize("do", ["long_type", "long_name", "long_class", "long_refusal"])
def test_an_answer_has_much_only_where_much_is_expected(server, do):
    pid = works(server)
    answer = server.predict("meddler", json={"do": do})
    expected = {"long_name": 200, "long_refusal": 501}.get(do, 500)
    assert answer.status_code == expected, answer.text[:500]
    assert len(answer.content) < 10_000
    assert sum(len(name) + len(value) for name, value in answer.headers.items()) < 10_000
    assert works(server) == pid


@pytest.mark.parametrize(
    ("do", "status", "words"),
    [
        ("long_notes", "done", "More is in the log."),
        ("long_progress", "done", ""),
        ("long_invalid_data", "error", "fff"),
        ("long_refusal", "error", "xxx"),
        ("long_class", "error", "EEE"),
        ("forged_words", "error", "www"),
        ("far_step", "error", "the step must be from 0 to 2**63 - 1"),
    ],
)
def test_what_a_training_says_is_cut_before_it_is_in_a_record(server, do, status, words):
    """Every listing of runs has the whole record of each."""
    record = server.wait_run(server.train("meddler-too", do=do))
    assert record["status"] == status, str(record)[:1000]
    assert words in (record["message"] or ""), str(record["message"])[:1000]
    answer = server.get(f"/v2/models/meddler-too/train/{record['uuid']}")
    assert len(answer.content) < 40_000
