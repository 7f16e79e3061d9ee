"""Six public modules' ways of being written, each used as its own clients use it."""

import base64

import pytest

MEDIA = {
    "demo-image": ("i.png", b"an image", "image/png"),
    "demo-audio": ("a.wav", b"a sound", "audio/wav"),
    "demo-video": ("v.mp4", b"a film", "video/mp4"),
}
FILE = ("p.png", b"PNG", "image/png")


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old(
        "old-demo", "old-template", "old-tagged", "old-json-settings", "old-ranges", "old-breeds"
    )


def test_the_demonstration_module_hands_back_what_it_got(server):
    answer = server.predict("old-demo", files=MEDIA, params=[("demo-list-of-floats", "1")])
    assert answer.status_code == 200
    assert answer.json() == {
        "demo-str": "some-string",
        "demo-str-choice": "choice2",
        "demo-int": 1,
        "demo-int-range": 50,
        "demo-float": 0.1,
        "demo-bool": True,
        "demo-dict": {"a": 0, "b": 1},
        "demo-list-of-floats": [1.0],
        "demo-image": base64.b64encode(b"an image").decode(),
        "demo-audio": base64.b64encode(b"a sound").decode(),
        "demo-video": base64.b64encode(b"a film").decode(),
        "labels": ["class0", "class1"],
        "probabilities": [0.75, 0.25],
    }


def test_the_demonstration_module_refuses_in_its_fields_words(server):
    nothing = server.predict("old-demo")
    assert nothing.status_code == 422
    assert nothing.json() == {name: ["Missing data for required field."] for name in MEDIA}
    wrong = server.predict("old-demo", files=MEDIA, params={"demo-int-range": "500"})
    assert wrong.status_code == 422
    assert wrong.json() == {
        "demo-int-range": ["Must be greater than or equal to 1 and less than or equal to 100."]
    }


def test_the_demonstration_module_trains_and_leaves_a_folder(server):
    record = server.train("old-demo", epoch_num=2)
    ended = server.wait_run(record)
    assert ended["result"]["output"] == {"status": "done", "final accuracy": 0.9}
    assert "epoch 1 loss" in server.log(record)
    assert list(server.base.glob("models/*/final_model.hdf5"))


def test_the_template_predicts_with_a_model_of_its_folder(server):
    sent = {"files": {"input_file": FILE}, "params": {"model_name": "first"}}
    answer = server.predict("old-template", **sent, headers={"accept": "application/json"})
    assert answer.json() == {
        "status": "OK",
        "predictions": {"model": "first", "size": 3, "options": {}},
    }
    text = server.predict("old-template", **sent, headers={"accept": "text/plain"})
    assert text.headers["Content-Type"].startswith("text/plain")
    assert text.text == '{"model": "first", "size": 3, "options": {}}'
    stream = server.predict("old-template", **sent, headers={"accept": "application/octet-stream"})
    assert (stream.headers["Content-Type"], stream.text) == (
        "application/octet-stream",
        text.text,
    )


def test_the_template_refuses_a_model_that_its_folder_lacks_and_takes_it_once_it_is_there(server):
    sent = {"files": {"input_file": FILE}, "params": {"model_name": "late"}}
    refused = server.predict("old-template", **sent)
    assert refused.status_code == 422
    assert refused.json() == {"model_name": ["Checkpoint `late` not found."]}
    (server.base / "models" / "late").mkdir()
    assert server.predict("old-template", **sent).status_code == 200


def test_the_template_trains_with_a_file(server):
    record = server.post(
        "/v2/models/old-template/train/",
        files={"input_file": ("rows.csv", b"1,2\n")},
        data={"epochs": "2", "token": "hush"},
    ).json()
    assert record["args"] == {"input_file": "rows.csv", "epochs": 2}
    ended = server.wait_run(record)
    assert ended["status"] == "done", ended
    assert ended["result"]["output"]["file"] == "rows.csv"


def test_the_detector_answers_with_json_text_and_image(server, predictions, png):
    sent = {"files": {"input": ("p.png", png, "image/png")}}
    assert predictions(server.predict("old-tagged", **sent)) == {
        "input": ["p.png"],
        "model": None,
        "task_type": "det",
        "conf": 0.25,
        "augment": False,
        "classes": None,
        "accept": "application/json",
    }
    table = server.predict("old-tagged", **sent, headers={"accept": "text/csv"})
    assert table.text == "class,score\ncat,0.9\n"
    image = server.predict("old-tagged", **sent, headers={"accept": "image/png"})
    assert (image.headers["Content-Type"], image.content) == ("image/png", png)


def test_the_detectors_set_is_the_result_of_its_training(server):
    ended = server.wait_run(
        server.post("/v2/models/old-tagged/train/", json={"model": "n.pt"}).json()
    )
    assert ended["status"] == "done", ended
    assert ended["result"]["output"] == ["The model was trained and saved to: models/n.pt"]


def test_the_plankton_module_tells_errors_in_its_own_way(server):
    nothing = server.predict("old-json-settings")
    assert nothing.status_code == 200
    assert nothing.json() == {
        "status": "error",
        "message": "You must provide either 'image' or 'zip' in the payload",
    }
    archive = server.predict("old-json-settings", files={"zip_data": ("a.zip", b"PK")})
    assert archive.json() == {
        "status": "OK",
        "predictions": {"name": "zip_data", "file": "a.zip"},
    }


def test_the_anomaly_detector_trains_with_its_default_objects(server):
    record = server.train("old-ranges")
    assert record["args"]["time_range"] == "<2018-01-01,2019-01-01)"
    ended = server.wait_run(record)
    assert ended["result"]["output"]["time_range"] == "<2018-01-01,2019-01-01)"


def test_the_breed_module_may_remove_the_file_that_it_got(server, predictions):
    answer = server.predict("old-breeds", files={"data": FILE})
    assert predictions(answer) == [{"file": "p.png", "size": 3, "network": "Resnet50"}]
    either = server.predict("old-breeds")
    assert either.status_code == 400
    assert either.json()["message"] == "You must provide either 'url' or 'data' in the payload"


def test_the_breed_modules_metadata_are_made_of_its_fields(server):
    shown = server.get("/v2/models/old-breeds/").json()
    assert shown["help-train"]["num_epochs"] == {
        "default": 10,
        "type": "<class 'int'>",
        "help": "Epochs",
        "choices": None,
        "required": False,
    }
    assert shown["help-predict"]["network"]["choices"] == ["Resnet50", "VGG16"]


def test_the_breed_modules_keras_history_ends_well(server):
    ended = server.wait_run(server.train("old-breeds", num_epochs=2))
    assert ended["status"] == "done", ended
    assert ended["result"]["output"]["history"] == {"loss": [0.5, 0.25], "acc": [0.6, 0.7]}
