"""What File and Files take, given what the server makes of an upload."""

import marshmallow
import pytest

from modelyard.models_plugin.values import UploadedFile
from modelyard.schemas.fields import File, Files


def upload(name="photo.PNG", content_type="image/png", size=10):
    return UploadedFile("x", "/calls/0001.png", content_type, name, size)


def load(field, value):
    return marshmallow.Schema.from_dict({"x": field})().load({"x": value})["x"]


def refusal(field, value):
    with pytest.raises(marshmallow.ValidationError) as raised:
        load(field, value)
    return raised.value.messages["x"]


def test_an_upload_reaches_the_model_as_it_is():
    file = upload()
    assert load(File(), file) is file


@pytest.mark.parametrize("value", ["photo.png", b"bytes", 3, {"filename": "x"}, ["a"]])
def test_text_in_place_of_a_file_is_refused(value):
    assert refusal(File(), value) == ["Not a file: send it as multipart/form-data."]


def test_content_types_are_patterns():
    field = File(content_types=("image/*", "application/pdf"))
    assert load(field, upload(content_type="image/tiff"))
    assert load(field, upload(content_type="Image/PNG; charset=binary"))
    assert refusal(field, upload(content_type="text/csv")) == [
        "Expected a file of the content type image/* or application/pdf, got text/csv."
    ]


def test_an_untold_content_type_is_guessed_from_the_name():
    field = File(content_types="image/*")
    assert load(field, upload(content_type="application/octet-stream"))
    assert refusal(field, upload("notes.txt", content_type=""))
    assert refusal(field, upload("nameless", content_type=""))


def test_suffixes_are_those_of_the_clients_name():
    field = File(suffixes=("png", ".tar.gz"))
    assert load(field, upload("a.PNG"))
    assert load(field, upload("a.tar.gz"))
    assert "ends in .png or .tar.gz, got 'a.gif'" in refusal(field, upload("a.gif"))[0]


def test_a_file_that_is_too_large_is_refused():
    assert load(File(max_bytes=10), upload(size=10))
    assert refusal(File(max_bytes=9), upload(size=10)) == [
        "The file has 10 bytes; at most 9 are taken."
    ]


def test_several_files_come_as_a_list():
    assert [file.size for file in load(Files(), [upload(size=1), upload(size=2)])] == [1, 2]
    assert len(load(Files(), upload())) == 1


def test_the_wrong_one_of_several_files_is_named_by_its_place():
    assert refusal(Files(suffixes=".png"), [upload(), upload("a.gif")]).keys() == {1}


def test_a_record_shows_the_clients_name():
    assert marshmallow.Schema.from_dict({"x": File()})().dump({"x": upload()}) == {"x": "photo.PNG"}
