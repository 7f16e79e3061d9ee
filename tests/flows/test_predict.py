"""Predicting over HTTP: places, kinds, files, answers, refusals, and models that misbehave."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "kinds,files,hostile,bare,counter")
    for model in ("kinds", "files", "hostile", "bare", "counter"):
        server.wait_ready(model)
    return server


def arrived(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


TEXTS = {
    "text": ("x", ["str", "x"]),
    "whole": ("7", ["int", 7]),
    "number": ("0.25", ["float", 0.25]),
    "decimal": ("1.5", ["Decimal", 1.5]),
    "flag": ("true", ["bool", True]),
    "moment": ("2026-01-02T03:04:05", ["datetime", "2026-01-02T03:04:05"]),
    "day": ("2026-01-02", ["date", "2026-01-02"]),
    "clock": ("03:04:05", ["time", "03:04:05"]),
    "span": ("90", ["timedelta", 90.0]),
    "identity": (
        "01234567-89ab-cdef-0123-456789abcdef",
        ["UUID", "01234567-89ab-cdef-0123-456789abcdef"],
    ),
    "address": ("http://example.org/a", ["str", "http://example.org/a"]),
    "mail": ("a@example.org", ["str", "a@example.org"]),
    "ip": ("127.0.0.1", ["IPv4Address", "127.0.0.1"]),
    "colour": ("blue", ["Colour", "blue"]),
    "choice": ("two", ["str", "two"]),
    "mapping": ('{"a": 1}', ["dict", {"a": 1}]),
    "box": ('{"left": 1}', ["dict", {"left": 1, "label": "none"}]),
    "numbers": ("[1, 2]", ["list", [1, 2]]),
    "boxes": ('[{"left": 1}]', ["list", [{"left": 1, "label": "none"}]]),
    "maybe": ("null", ["NoneType", None]),
    "tensor": ("[[1, 2], [3, 4]]", ["ndarray", [[1.0, 2.0], [3.0, 4.0]]]),
}


@pytest.mark.parametrize("place", ["params", "data", "files"])
@pytest.mark.parametrize("name", TEXTS)
def test_every_kind_of_argument_arrives_by_query_form_and_multipart(server, place, name):
    text, expected = TEXTS[name]
    value = {name: text} if place != "files" else {name: (None, text)}
    assert arrived(server.predict("kinds", **{place: value}))[name] == expected


def test_every_kind_of_argument_arrives_by_json(server):
    body = {
        name: json.loads(text)
        if name in ("whole", "number", "flag", "span", "maybe") or text[0] in "[{"
        else text
        for name, (text, _) in TEXTS.items()
    }
    result = arrived(server.predict("kinds", json=body))
    assert {name: result[name] for name in TEXTS} == {n: e for n, (_, e) in TEXTS.items()}


def test_repeated_names_make_a_list(server):
    answer = server.predict("kinds", params=[("numbers", "1"), ("numbers", "2")])
    assert arrived(answer)["numbers"] == ["list", [1, 2]]


def test_query_wins_over_form_and_form_over_nothing(server):
    answer = server.predict("kinds", params={"whole": "2"}, data={"whole": "3", "text": "form"})
    assert arrived(answer)["whole"] == ["int", 2]
    assert arrived(answer)["text"] == ["str", "form"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"whole": 11}, "whole"),
        ({"whole": "many"}, "whole"),
        ({"choice": "three"}, "choice"),
        ({"box": {"label": "x"}}, "box"),
        ({"tensor": [[1, 2], [3]]}, "tensor"),
        ({"tensor": [[1, 2]]}, "tensor"),
        ({"hole": 1}, "hole"),
    ],
)
def test_a_wrong_argument_is_422_with_its_name(server, body, field):
    answer = server.predict("kinds", json=body)
    assert answer.status_code == 422
    assert list(answer.json()) == [field]
    assert answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("number", [10**400, -(10**400)], ids=["above", "below"])
def test_a_number_that_no_float_comes_near_is_a_wrong_argument(server, number):
    answer = server.predict("kinds", json={"span": number, "text": "a"})
    assert answer.status_code == 422, answer.text
    assert list(answer.json()) == ["span"] and "too large" in answer.text
    assert server.predict("kinds", json={"numbers": [number]}).status_code == 200


def test_a_misspelt_argument_is_told_the_name_that_is_near(server):
    answer = server.predict("kinds", params={"hole": "1", "nubmer": "2"})
    assert "'number'" in answer.json()["nubmer"][0]


def test_everything_that_is_wrong_with_a_request_is_told_at_once(server):
    sent = {"nubmer": 2, "whole": "many", "number": "few"}
    answer = server.predict("kinds", json=sent, params=[("flag", "1"), ("flag", "0")])
    assert answer.status_code == 422
    assert set(answer.json()) == {"nubmer", "whole", "number", "flag"}
    assert answer.json()["flag"] == ["Given 2 times: give it once."]


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{", 400),
        ("application/json", b"[1]", 400),
        ("application/json", b"nan", 400),
        ("text/plain", b"whole=1", 415),
        ("image/png", b"x", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=a", b"--b\r\n", 400),
        ("application/x-www-form-urlencoded", b"\xff\xfe", 400),
    ],
)
def test_a_malformed_body_is_refused_as_problem_json(server, content_type, body, status):
    answer = server.predict("kinds", data=body, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    assert answer.json()["message"]


@pytest.mark.parametrize("kind", ["image/png", "text/plain", "application/xml"])
def test_who_sends_another_content_type_is_told_those_that_are_taken(server, kind):
    told = server.predict("kinds", data=b"x", headers={"Content-Type": kind}).json()["detail"]
    assert kind in told
    for taken in ("application/json", "multipart/form-data", "application/x-npy", "octet-stream"):
        assert taken in told, taken


def test_an_uploaded_file_has_its_suffix_and_name_and_is_gone_after_the_call(server):
    answer = server.predict("files", files={"upload": ("scan.tar.gz", b"abc", "application/gzip")})
    told = arrived(answer)
    assert (told["name"], told["suffix"], told["bytes"]) == ("scan.tar.gz", ".gz", 3)
    assert told["path"].endswith(".tar.gz")
    assert list((server.home / "tmp" / "calls").iterdir()) == []


def test_several_files_under_one_name_all_arrive(server):
    files = [
        ("upload", ("a.png", b"1", "image/png")),
        ("more", ("b.png", b"2", "image/png")),
        ("more", ("c.png", b"3", "image/png")),
    ]
    assert arrived(server.predict("files", files=files))["more"] == ["b.png", "c.png"]


def test_a_raw_body_is_the_file_that_the_model_needs(server):
    answer = server.predict("files", data=b"12345", headers={"Content-Type": "image/png"})
    assert arrived(answer)["bytes"] == 5
    assert arrived(answer)["suffix"] == ".png"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "x" * 300])
def test_no_file_name_of_a_client_becomes_a_path(server, name):
    told = arrived(server.predict("files", files={"upload": (name, b"1", "image/png")}))
    assert told["path"].startswith(str(server.home / "tmp" / "calls"))
    assert ".." not in told["path"]


def test_a_file_name_with_a_control_character_is_400(server):
    answer = server.predict("files", files={"upload": ("a\x00b.png", b"1", "image/png")})
    assert answer.status_code == 400
    assert list((server.home / "tmp" / "calls").iterdir()) == []


def test_text_in_place_of_a_file_is_422(server):
    assert list(server.predict("files", data={"upload": "text"}).json()) == ["upload"]


def test_too_large_a_request_is_413_and_leaves_nothing(start_server):
    server = start_server("--model-name", "files", "--client-max-size", "1M")
    server.wait_ready("files")
    answer = server.predict("files", files={"upload": ("a.bin", b"x" * 2_000_000)})
    assert answer.status_code == 413
    assert "1048576" in answer.json()["message"]

    def endless():
        for _ in range(40):
            yield b"x" * 100_000

    answer = server.predict("files", data=endless(), headers={"Content-Type": "image/png"})
    assert answer.status_code == 413
    assert list((server.home / "tmp" / "calls").iterdir()) == []


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("image/png", "image/png"),
        ("application/zip", "application/zip"),
        ("text/html, image/*;q=0.9, */*;q=0.1", "image/png"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
    ],
)
def test_the_accept_header_chooses_the_kind_of_answer(server, accept, content_type):
    answer = server.predict("files", files={"upload": b"1"}, headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == content_type
    if content_type == "image/png":
        assert answer.content.startswith(b"\x89PNG")


def test_the_accept_argument_wins_over_the_header(server):
    answer = server.predict(
        "files",
        files={"upload": b"1"},
        params={"accept": "application/zip"},
        headers={"Accept": "image/png"},
    )
    assert answer.headers["Content-Type"] == "application/zip"


def test_an_answer_that_nobody_can_make_is_406(server):
    answer = server.predict("files", files={"upload": b"1"}, headers={"Accept": "audio/ogg"})
    assert answer.status_code == 406
    assert server.predict("bare", headers={"Accept": "image/png"}).status_code == 406


def test_a_large_file_is_streamed_whole_and_removed(server):
    answer = server.predict(
        "files",
        files={"upload": b"1"},
        params={"accept": "application/octet-stream", "size": 30_000_000},
    )
    assert len(answer.content) == 30_000_000
    assert answer.content == answer.content[:1] * 30_000_000
    assert list((server.home / "tmp" / "calls").iterdir()) == []


def test_numpy_dates_and_nan_become_valid_json(server):
    answer = server.predict("hostile", json={"do": "numpy"})
    told = json.loads(answer.text, parse_constant=lambda word: pytest.fail(word))["predictions"]
    assert told == {
        "array": [[0, 1], [2, 3]],
        "scalar": 0.5,
        "nan": None,
        "numpy_nan": [1.0, None],
        "moment": "2026-01-02T03:04:05",
        "day": "2026-01-02",
        "set": [1, 2],
        "bytes": "YWJj",
        "keys": {"1": 2},
    }


@pytest.mark.parametrize(
    ("do", "status", "words"),
    [
        ("fail", 500, "ValueError: the moon is full"),
        ("exit", 500, "3"),
        ("system_exit", 500, "SystemExit: enough"),
        ("interrupt", 500, "KeyboardInterrupt"),
        ("segfault", 500, "SIGSEGV"),
        ("recurse", 500, "RecursionError"),
        ("not_implemented", 501, "not yet"),
        ("teapot", 418, "a teapot"),
        ("no_json", 500, "object"),
        ("stop", 500, "stopped"),
    ],
)
def test_a_model_that_misbehaves_fails_its_own_call_and_the_next_is_served(
    server, do, status, words
):
    answer = server.predict("hostile", json={"do": do})
    assert answer.status_code == status, answer.text
    assert words in answer.json()["message"]
    assert server.predict("bare").json()["predictions"] == "here"
    assert arrived(server.predict("hostile"))["pid"] > 0


def test_what_a_model_refuses_while_predicting_is_422(server):
    answer = server.predict("hostile", json={"do": "refuse_argument"})
    assert answer.status_code == 422
    assert answer.json() == {"seconds": ["Too many."]}


@pytest.mark.parametrize("do", ["print", "chdir", "close_files", "large"])
def test_a_model_that_spoils_its_process_does_not_spoil_the_next_call(server, do):
    assert server.predict("hostile", json={"do": do}).status_code in (200, 500)
    assert arrived(server.predict("hostile"))["pid"] > 0


def test_a_model_that_hangs_is_504_at_the_clients_own_deadline(server):
    started = time.monotonic()
    answer = server.predict("hostile", json={"do": "hang"}, headers={"X-Request-Timeout": "1.5"})
    assert answer.status_code == 504
    assert time.monotonic() - started < 30
    assert arrived(server.predict("hostile"))["pid"] > 0


def test_a_wrong_deadline_is_422(server):
    answer = server.predict("bare", headers={"X-Request-Timeout": "soon"})
    assert list(answer.json()) == ["X-Request-Timeout"]


def test_a_client_that_hangs_up_leaves_no_file_and_a_working_model(server):
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(
            server.url + "/v2/models/hostile/predict/",
            json={"do": "sleep", "seconds": 1.5},
            timeout=0.3,
        )
    assert arrived(server.predict("hostile"))["pid"] > 0
    assert list((server.home / "tmp" / "calls").iterdir()) == []


def test_calls_that_come_together_all_get_their_own_answer(server):
    with ThreadPoolExecutor(16) as threads:
        answers = list(
            threads.map(
                lambda n: arrived(server.predict("kinds", json={"text": str(n)})), range(100)
            )
        )
    assert [answer["text"][1] for answer in answers] == [str(n) for n in range(100)]


def test_one_models_long_call_does_not_keep_another_waiting(server):
    long = threading.Thread(
        target=server.predict, args=("hostile",), kwargs={"json": {"do": "sleep", "seconds": 3}}
    )
    long.start()
    time.sleep(0.2)
    server.predict("bare")
    assert long.is_alive()
    long.join()


def test_a_model_without_weights_says_how_to_get_some(server):
    answer = server.predict("counter")
    assert answer.status_code == 409
    assert "/v2/models/counter/train/" in answer.json()["message"]


def test_a_version_that_does_not_exist_is_422_under_its_name(server):
    answer = server.predict("counter", params={"weights": "f" * 32})
    assert answer.status_code == 422
    assert list(answer.json()) == ["weights"]


def test_the_worker_sees_no_secret_of_the_server(start_server):
    server = start_server(
        "--model-name", "bare", env={"AWS_SECRET_ACCESS_KEY": "s3cret", "MODELYARD_X": "s3cret"}
    )
    pids = [
        worker["pid"]
        for worker in server.wait_ready("bare") and server.get("/v2/models/bare/").json()["workers"]
    ]
    assert pids
    for pid in pids:
        assert b"s3cret" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_a_page_of_another_site_can_change_nothing(server):
    for headers in (
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        assert server.predict("bare", headers=headers).status_code == 403
    own = server.url.removeprefix("http://")
    assert server.predict("bare", headers={"Origin": f"http://{own}"}).status_code == 200


def test_a_foreign_host_name_is_not_answered(server):
    answer = server.get("/v2/models/", headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert "--allowed-hosts" in answer.json()["message"]
