"""Defects of DEEPaaS that a caller of predict meets, each mended here."""

import os
import socket
import time

import pytest
import requests

FILE = ("p.png", b"PNG", "image/png")


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def server(serve_old, uploads):
    return serve_old(
        *("old-failing", "old-hostile", "old-files", "old-answers", "old-keywords", "old-warm"),
        *("old-decorated", "old-template", "old-places", "old-plain", "old-meta-own"),
        env={"TMPDIR": str(uploads), "OLD_WARM_MARKS": "yes"},
    )


@pytest.mark.parametrize("do", ["bad_request", "not_found_text", "unavailable"])
def test_an_http_exception_is_answered_and_the_model_lives(server, do):
    """KD-05: DEEPaaS never answers, nor does that model ever again."""
    answer = server.predict("old-failing", params={"do": do})
    assert answer.status_code in (400, 404, 503)
    assert answer.json()["message"]
    assert server.predict("old-failing").status_code == 200


@pytest.mark.parametrize("do", ["exit", "segfault"])
def test_a_worker_that_dies_is_answered_and_replaced(server, do, predictions):
    """KD-07: DEEPaaS lets this request and all later ones hang."""
    first = predictions(server.predict("old-hostile"))["pid"]
    assert server.predict("old-hostile", params={"do": do}).status_code == 500
    assert predictions(server.predict("old-hostile"))["pid"] != first


def test_uploads_are_removed_when_the_prediction_ends(server, uploads):
    """KD-10: DEEPaaS leaves a file in the temporary folder for each upload."""
    for _ in range(5):
        assert server.predict("old-files", files={"data": FILE}).status_code == 200
    assert server.predict("old-files", files={"third": FILE}).status_code == 422
    assert [path for path in uploads.rglob("*") if path.is_file()] == []
    assert list((server.home / "tmp" / "calls").iterdir()) == []


@pytest.mark.parametrize("how", ["data", "files"])
def test_a_text_in_place_of_a_file_is_422(server, how):
    """KD-13: DEEPaaS hands the text to the module, which fails with 500."""
    value = "no file" if how == "data" else (None, "no file")
    answer = server.predict("old-files", **{how: {"data": value}})
    assert answer.status_code == 422
    assert list(answer.json()) == ["data"]


def test_the_accept_header_counts_and_the_argument_wins(server, png):
    """KD-14: DEEPaaS ignores the header, or the argument, as the module has its `location`."""
    sent = {"params": {"do": "bytes"}, "headers": {"Accept": "image/png"}}
    by_header = server.predict("old-answers", **sent)
    assert (by_header.headers["Content-Type"], by_header.content) == ("image/png", png)
    sent["params"] = {"do": "text", "accept": "text/plain"}
    assert server.predict("old-answers", **sent).text == "some text"
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    assert server.predict("old-answers", headers=browser).json()["status"] == "OK"
    by_argument = server.predict(
        "old-template",
        files={"input_file": FILE},
        params={"model_name": "first", "accept": "text/plain"},
    )
    assert by_argument.headers["Content-Type"].startswith("text/plain")


def test_the_id_is_the_name_in_the_address(server):
    """KD-15: DEEPaaS shows the module's own `id`, or "0"."""
    assert server.get("/v2/models/old-meta-own/").json()["id"] == "old-meta-own"
    assert server.get("/v2/models/old-answers/").json()["id"] == "old-answers"


def test_a_failure_says_why_in_json(server):
    """KD-16: DEEPaaS answers a text page without the reason."""
    answer = server.predict("old-failing", params={"do": "fail"})
    assert answer.status_code == 500
    assert "the moon is full" in answer.json()["message"]


def test_not_a_number_is_null(server, predictions):
    """KD-17: DEEPaaS writes `NaN`, which is no JSON."""
    answer = server.predict("old-answers", params={"do": "nan"})
    assert "NaN" not in answer.text and "Infinity" not in answer.text
    assert predictions(answer) == {"nan": None, "infinite": [None, None]}


def test_numpy_values_are_numbers_and_lists(server, predictions):
    """KD-18: DEEPaaS answers 500."""
    assert predictions(server.predict("old-answers", params={"do": "numpy"})) == {
        "scalar": 0.5,
        "whole": 7,
        "flag": True,
        "array": [[0, 1], [2, 3]],
    }


@pytest.mark.parametrize("name", ["choice", "plain", "inside"])
def test_a_value_outside_enum_is_422(server, name):
    """KD-19: DEEPaaS shows the choices in the form and checks nothing."""
    answer = server.predict("old-keywords", params={name: "none of them"})
    assert answer.status_code == 422
    assert answer.json()[name][0].startswith("Must be one of: ")
    numbered = server.predict("old-keywords", params={"numbered": "9"})
    assert numbered.json() == {"numbered": ["Must be one of: 1, 2, 3."]}


@pytest.mark.parametrize("body", ["[1]", '"text"', "1", "null"])
def test_a_json_body_that_is_no_object_is_refused(server, body):
    """KD-20: DEEPaaS ignores it and predicts with the defaults."""
    headers = {"Content-Type": "application/json"}
    answer = server.predict("old-places", data=body, headers=headers)
    assert answer.status_code in (400, 422)


def test_a_function_that_is_not_written_yet_is_501(server):
    """KD-23: DEEPaaS answers 500 to NotImplementedError."""
    assert server.predict("old-plain").status_code == 501
    assert server.predict("old-failing", params={"do": "not_implemented"}).status_code == 501


@pytest.mark.parametrize("place", ["params", "data"])
def test_a_dict_can_be_sent_as_json_text(server, predictions, place):
    """KD-27: DEEPaaS refuses it, so modules declare dicts as strings."""
    sent = {place: {"mapping": '{"b": [1]}', "box": '{"left": 2}', "raw": "[1]"}}
    result = predictions(server.predict("old-keywords", **sent))
    assert result["mapping"] == ["dict", "{'b': [1]}"]
    assert result["box"] == ["dict", "{'left': 2, 'label': 'none'}"]


def test_an_upload_keeps_its_suffix(server, predictions):
    """KD-28: DEEPaaS drops it, and libraries that go by it fail."""
    for name, suffix in (("photo.JPG", ".JPG"), ("volume.nii.gz", ".gz"), ("bare", "")):
        arrived = predictions(server.predict("old-files", files={"data": (name, b"x")}))["data"]
        assert (arrived["suffix"], arrived["original_filename"]) == (suffix, name)


def test_a_client_that_hangs_up_does_not_keep_the_next_one_waiting(server):
    """KD-29: DEEPaaS lets the prediction block its only worker."""
    server.predict("old-warm")
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(
            server.url + "/v2/models/old-warm/predict/", json={"seconds": 60}, timeout=0.5
        )
    started = time.monotonic()
    assert server.predict("old-warm").status_code == 200
    assert time.monotonic() - started < 25


@pytest.mark.parametrize("text", ["true", "false"])
def test_a_decorated_function_tells_the_innermost_cause(server, text):
    """KD-36: DEEPaaS answers a TypeError about the reason, or nothing at all."""
    answer = server.predict("old-decorated", params={"text": text})
    assert answer.status_code == 400
    assert answer.json()["message"] == "division by zero"


def test_a_worker_that_replaces_another_is_warmed(server, predictions):
    """KD-37: DEEPaaS warms only the first ones."""
    (worker,) = server.get("/v2/models/old-warm/").json()["workers"]
    os.kill(worker["pid"], 9)
    until = time.monotonic() + 10
    answer = server.predict("old-warm")
    while answer.status_code != 200 and time.monotonic() < until:
        answer = server.predict("old-warm")
    now = predictions(answer)
    assert now["pid"] != worker["pid"]
    assert now["warmed"] is True


def test_the_module_is_imported_in_its_worker_alone(server):
    """KD-39: DEEPaaS imports it in the server and again in each worker."""
    pids = (server.base / "imports.txt").read_text().split()
    assert len(pids) == len(set(pids))
    assert str(server.process.pid) not in pids


def test_everything_is_no_content_type(server):
    """KD-40: DEEPaaS adds `*/*` to the module's choices, and takes it as an argument."""
    post = server.get("/swagger.json").json()["paths"]["/v2/models/old-answers/predict/"]["post"]
    (accept,) = [item for item in post["parameters"] if item["name"] == "accept"]
    offered = ["application/json", "text/plain", "image/png", "image/*", "application/zip"]
    assert accept["enum"] == offered
    assert "*/*" not in post.get("produces", [])
    assert server.predict("old-answers", headers={"Accept": "*/*"}).json()["status"] == "OK"


def test_a_half_sent_request_leaves_a_working_model(server):
    """KD-29, too: a client that ends in the middle of its upload."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as half:
        half.sendall(
            b"POST /v2/models/old-files/predict/ HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n"
            b'--b\r\nContent-Disposition: form-data; name="data"; filename="a.png"\r\n\r\nabc'
        )
    assert server.predict("old-files", files={"data": FILE}).status_code == 200
    until = time.monotonic() + 5
    while list((server.home / "tmp" / "calls").iterdir()) and time.monotonic() < until:
        time.sleep(0.05)
    assert list((server.home / "tmp" / "calls").iterdir()) == []
