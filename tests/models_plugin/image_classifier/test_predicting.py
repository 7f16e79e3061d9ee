"""Trained weights tell the class of pictures; a weights folder is plain tensors and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from modelyard.errors import InvalidArguments
from modelyard.models_plugin.image_classifier.plugin import ImageClassifier
from modelyard.models_plugin.image_classifier.weights_file import BadWeights, load_network
from modelyard.models_plugin.values import UploadedFile


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a training on stripes that learned them."""
    from modelyard.models_plugin.image_classifier.arguments import TrainArguments
    from modelyard.training.context import RunContext
    from modelyard.training.messages import RunOrder
    from modelyard.training.paths import RunPaths
    from modelyard.training.reporting import Reporter

    root = tmp_path_factory.mktemp("trained")
    for split, count in (("train", 40), ("val", 10)):
        for label, name in enumerate(("across", "down")):
            folder = root / "data/stripes" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                stripes(label, 10 * number + len(split)).save(folder / f"{number}.png")
    paths = RunPaths(root / "run")
    paths.root.mkdir()
    order = RunOrder("0" * 32, "m", {}, threads=1, data_root=str(root / "data"))
    run = RunContext(paths, order, Reporter(paths))
    arguments = TrainArguments().load({"dataset": "stripes", "epochs": 10, "batch_size": 16})
    ImageClassifier().train(run, **arguments)
    folder = sorted(paths.checkpoints.glob("0*"))[-1]
    return folder / "weights"


def stripes(label: int, number: int) -> Image.Image:
    image = Image.new("L", (8, 8), number % 50)
    for line in range(number % 2, 8, 2):
        box = (0, line, 8, line + 1) if label == 0 else (line, 0, line + 1, 8)
        image.paste(150 + number % 100, box)
    return image


@pytest.fixture
def model(weights: Path) -> ImageClassifier:
    model = ImageClassifier()
    model.load(weights, "cpu")
    model.warm()
    return model


@pytest.fixture
def upload(tmp_path: Path) -> Callable[..., UploadedFile]:
    def make(name: str, label: int | None, number: int = 7) -> UploadedFile:
        path = tmp_path / name
        if label is None:
            path.write_bytes(b"no picture")
        else:
            stripes(label, number).save(path)
        return UploadedFile("image", str(path), "image/png", f"my {name}", path.stat().st_size)

    return make


def call(*files: UploadedFile, top_k: int = 5) -> dict[str, Any]:
    return {"image": list(files), "top_k": top_k}


def test_one_picture_has_the_same_answer_shape_as_many(model: ImageClassifier, upload: Any) -> None:
    one = model.predict(**call(upload("a.png", 1)))
    assert list(one) == ["predictions"]
    (prediction,) = one["predictions"]
    assert prediction["filename"] == "my a.png" and prediction["label"] == "down"
    assert prediction["probability"] == prediction["probabilities"]["down"] > 0.5
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)
    assert [item["label"] for item in prediction["top"]] == ["down", "across"]
    many = model.predict(**call(upload("a.png", 1), upload("b.tif", 0), top_k=1))["predictions"]
    assert [item["label"] for item in many] == ["down", "across"]
    assert [len(item["top"]) for item in many] == [1, 1]


def test_a_batch_of_calls_answers_each_as_alone(model: ImageClassifier, upload: Any) -> None:
    calls = [
        call(upload("a.png", 0)),
        call(upload("b.png", 1), upload("c.png", 0), upload("d.png", 1)),
        call(upload("e.png", 1), top_k=1),
    ]
    together, alone = model.predict_batch(calls), [model.predict(**one) for one in calls]
    for one, other in zip(together, alone, strict=True):
        for mine, yours in zip(one["predictions"], other["predictions"], strict=True):
            assert (mine["filename"], mine["label"]) == (yours["filename"], yours["label"])
            assert mine["probability"] == pytest.approx(yours["probability"], abs=1e-4)


def test_more_pictures_than_one_forward_takes_are_answered_in_order(
    model: ImageClassifier, upload: Any
) -> None:
    files = [upload("a.png", 0), upload("b.png", 1)] * 150
    labels = [item["label"] for item in model.predict(**call(*files))["predictions"]]
    assert labels == ["across", "down"] * 150


def test_a_file_that_is_no_picture_is_an_argument_error_with_its_name(
    model: ImageClassifier, upload: Any
) -> None:
    good, bad = upload("a.png", 0), upload("b.png", None)
    with pytest.raises(InvalidArguments) as caught:
        model.predict(**call(good, bad))
    assert "my b.png" in caught.value.errors["image"][0]
    with pytest.raises(InvalidArguments):
        model.predict_batch([call(good), call(bad)])
    assert model.predict(**call(good))["predictions"][0]["label"] == "across"


def test_a_bad_picture_without_a_name_is_told_without_one(
    model: ImageClassifier, upload: Any
) -> None:
    bad = replace(upload("b.png", None), original_filename="")
    with pytest.raises(InvalidArguments) as caught:
        model.predict(**call(bad))
    assert caught.value.errors["image"] == ["this is no PNG, JPEG or TIFF picture"]


def test_the_metadata_tell_the_classes_once_there_are_weights(weights: Path) -> None:
    model = ImageClassifier()
    assert "weights" not in model.metadata()
    model.load(weights, "cpu")
    assert model.metadata()["weights"]["classes"] == ["across", "down"]
    json.dumps(model.metadata())


def test_weights_are_tensors_and_json_and_stay_mapped_from_the_file(weights: Path) -> None:
    assert {path.name for path in weights.iterdir()} == {"model.safetensors", "description.json"}
    network, description = load_network(weights, "cpu")
    assert description.arguments["epochs"] == 10
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(tensor.is_meta for tensor in network.state_dict().values())
    maps = Path("/proc/self/maps").read_text()
    start = network.head.weight.data_ptr()
    line = next(
        line for line in maps.splitlines()
        if int(line.split("-")[0], 16) <= start < int(line.split(" ")[0].split("-")[1], 16)
    )  # fmt: skip
    assert line.endswith("model.safetensors")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("description.json", None),
        ("description.json", b"{}"),
        ("description.json", b"\xff"),
        ("model.safetensors", None),
        ("model.safetensors", b"short"),
    ],
)
def test_damaged_weights_are_told_by_file(
    weights: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    for path in weights.iterdir():
        if path.name != name:
            (tmp_path / path.name).write_bytes(path.read_bytes())
        elif content is not None:
            (tmp_path / path.name).write_bytes(content)
    with pytest.raises(BadWeights, match=name):
        ImageClassifier().load(tmp_path, "cpu")


def test_weights_that_do_not_fit_their_description_are_refused(
    weights: Path, tmp_path: Path
) -> None:
    for path in weights.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    description = json.loads((tmp_path / "description.json").read_text())
    description["classes"].append("other")
    (tmp_path / "description.json").write_text(json.dumps(description))
    with pytest.raises(BadWeights, match="does not fit"):
        load_network(tmp_path, "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_answers_as_the_cpu_does(weights: Path, model: ImageClassifier, upload: Any) -> None:
    other = ImageClassifier()
    other.load(weights, "cuda")
    other.warm()
    asked = call(upload("a.png", 0), upload("b.png", 1))
    mine, yours = (one.predict(**asked)["predictions"] for one in (model, other))
    assert [item["label"] for item in mine] == [item["label"] for item in yours]
