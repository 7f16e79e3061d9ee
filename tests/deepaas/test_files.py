"""Files as arguments of old modules, and files as answers."""

import io
import os
import zipfile
from pathlib import Path

import pytest

FILE = ("p.png", b"PNG", "image/png")


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old("old-files", "old-files-place", "old-answers")


def test_a_file_is_a_path_with_its_name_and_type(server, predictions):
    arrived = predictions(server.predict("old-files", files={"data": FILE}))["data"]
    path = Path(arrived.pop("filename"))
    assert path.is_absolute() and not path.exists()
    assert arrived == {
        "name": "data",
        "suffix": ".png",
        "content_type": "image/png",
        "original_filename": "p.png",
        "size": 3,
        "fields": ["name", "filename", "content_type", "original_filename"],
        "as_tuple": 4,
        "replaced": "other",
    }


@pytest.mark.parametrize("field", ["second-file", "third", "bare", "raw"])
def test_files_arrive_however_the_module_declares_them(server, predictions, field):
    answer = predictions(server.predict("old-files", files={"data": FILE, field: FILE}))
    arrived = answer[field.partition("-")[0]]
    assert (arrived["name"], arrived["size"]) == (field, 3)


def test_files_not_sent_are_none_and_a_bare_field_takes_text_too(server, predictions):
    answer = predictions(server.predict("old-files", files={"data": FILE}, data={"bare": "text"}))
    assert answer["second"] == answer["third"] == ["NoneType", None]
    assert answer["bare"] == ["str", "text"]


def test_a_required_file_that_is_missing_is_422(server):
    answer = server.predict("old-files")
    assert answer.status_code == 422
    assert answer.json() == {"data": ["Missing data for required field."]}


def test_files_looked_for_in_the_place_files_arrive(server, predictions):
    answer = predictions(server.predict("old-files-place", files={"data": FILE}))
    assert answer == {"size": 3, "file": "p.png"}


def test_of_two_files_for_one_argument_the_first_arrives(server, predictions):
    sent = [("data", FILE), ("data", ("q.png", b"other", "image/png"))]
    arrived = predictions(server.predict("old-files", files=sent))["data"]
    assert arrived["original_filename"] == "p.png"


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\\\photos\\\\a.png", "a.png"),
        ("/a/b.tar.gz", "b.tar.gz"),
        ("..", "file"),
    ],
)
def test_a_file_name_leads_out_of_no_folder(server, predictions, sent, arrives):
    """Modules copy the file to `folder + "/" + original_filename`."""
    answer = predictions(server.predict("old-files", files={"data": (sent, b"x")}))
    assert answer["data"]["original_filename"] == arrives


def test_a_module_may_remove_its_file(server, predictions):
    sent = {"files": {"data": FILE}, "params": {"remove": "true"}}
    assert predictions(server.predict("old-files", **sent))["data"]["size"] == 3


def test_a_file_reaches_train_and_its_record_names_it(server):
    record = server.post(
        "/v2/models/old-files/train/", files={"data": ("rows.csv", b"1,2\n", "text/csv")}
    ).json()
    assert record["args"] == {"data": "rows.csv", "labels": None}
    ended = server.wait_run(record)
    assert ended["status"] == "done", ended
    assert ended["result"]["output"] == {"size": 4, "labels": False, "name": "data"}


# -- answers -----------------------------------------------------------------------------------


def answer_of(server, do, accept=None):
    params = {"do": do, **({"accept": accept} if accept else {})}
    return server.predict("old-answers", params=params)


@pytest.mark.parametrize("do", ["bytes", "buffer", "rewound", "file", "returned"])
def test_an_image_is_sent_with_the_type_that_was_asked_for(server, png, do):
    answer = answer_of(server, do, "image/png")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    assert answer.content == png


@pytest.mark.parametrize("do", ["bytes", "file", "returned"])
def test_a_range_of_types_becomes_the_type_of_the_image(server, png, do):
    answer = answer_of(server, do, "image/*")
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.content == png


def test_an_archive_is_sent_as_zip(server, png):
    answer = answer_of(server, "archive", "application/zip")
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.read("point.png") == png


def test_a_text_is_sent_as_text_when_that_was_asked_for(server):
    answer = answer_of(server, "text", "text/plain")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.text == "some text"
    assert answer_of(server, "text").json() == {"status": "OK", "predictions": "some text"}


def test_a_path_is_the_answer_itself_and_no_file(server, predictions):
    """Whoever returns a path as a string means the string, as in DEEPaaS."""
    path = predictions(answer_of(server, "path"))
    assert path.endswith(".png")
    os.unlink(path)  # noqa: PTH108


def test_a_content_type_that_the_module_does_not_offer_is_422(server):
    answer = answer_of(server, "dict", "image/jpeg")
    assert answer.status_code == 422
    offered = "application/json, text/plain, image/png, image/*, application/zip"
    assert answer.json() == {"accept": [f"Must be one of: {offered}."]}
