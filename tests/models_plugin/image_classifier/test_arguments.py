"""The classifier's arguments, as they come in requests."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.errors import InvalidArguments
from modelyard.models_plugin.image_classifier.arguments import TrainSettings
from modelyard.models_plugin.loading import open_plugin
from modelyard.models_plugin.plugin import Plugin, PluginSource
from modelyard.schemas.transport import FilePart, RequestData


@pytest.fixture(scope="module")
def plugin() -> Plugin:
    value = "modelyard.models_plugin.image_classifier.plugin:ImageClassifier"
    return open_plugin(PluginSource(name="image-classifier", value=value))


def part(field: str, name: str = "my data.zip") -> FilePart:
    return FilePart(field, f"/nowhere/0{name[-4:]}", name, "application/octet-stream", 10)


def refused(plugin: Plugin, **request: Any) -> dict[str, Any]:
    with pytest.raises(InvalidArguments) as caught:
        plugin.arguments("train", RequestData(**request))
    return caught.value.errors


def test_every_argument_is_described_and_every_number_has_its_range(plugin: Plugin) -> None:
    described = plugin.describe()
    for field in [*(described.train_arguments or []), *(described.predict_arguments or [])]:
        assert field.description, field.name
        if field.kind in ("integer", "number") and not field.choices:
            assert field.minimum is not None and field.maximum is not None, field.name
    expected = {"predict", "predict_batch", "train", "torch", "read_dataset"}
    assert set(described.capabilities) == expected


def test_data_come_by_name_or_as_an_upload_in_either_field(plugin: Plugin) -> None:
    named = plugin.arguments("train", RequestData(query=[("dataset", "digits")]))
    assert (named["dataset"], named["archive"]) == ("digits", None)
    for request in (
        RequestData(files=[part("archive")], form=[("dataset", ""), ("from_weights", "")]),
        RequestData(files=[part("dataset")]),
        RequestData(raw=part("")),
    ):
        arguments = plugin.arguments("train", request)
        upload = arguments["archive"] or arguments["dataset"]
        assert upload.original_filename == "my data.zip"
        assert "my data.zip" in plugin.record_of("train", arguments).values()


def test_exactly_one_source_of_data_is_taken(plugin: Plugin) -> None:
    assert list(refused(plugin)) == ["dataset"]
    both = refused(plugin, query=[("dataset", "digits")], files=[part("archive")])
    assert both == {"archive": ["Give either dataset or archive, not both."]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", "0"),
        ("epochs", "2.5"),
        ("batch_size", "1"),
        ("learning_rate", "0"),
        ("learning_rate", "nan"),
        ("schedule", "linear"),
        ("decay_factor", "1.1"),
        ("label_smoothing", "1"),
        ("validation_fraction", "1"),
        ("image_size", "7"),
        ("channels", "2"),
        ("architecture", "huge"),
        ("device", "cuda:0"),
        ("seed", "-1"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(plugin: Plugin, name: str, value: str) -> None:
    assert list(refused(plugin, query=[("dataset", "digits"), (name, value)])) == [name]


def test_half_an_epoch_is_not_cut_to_a_whole_one(plugin: Plugin) -> None:
    errors = refused(plugin, body=b'{"dataset": "digits", "epochs": 2.5}')
    assert errors == {"epochs": ["Not a valid integer."]}


def test_pictures_come_one_or_many_under_one_name_or_as_the_body(plugin: Plugin) -> None:
    one = plugin.arguments("predict", RequestData(raw=part("", "a.png")))
    assert [file.original_filename for file in one["image"]] == ["a.png"]
    two = [part("image", "a.png"), part("image", "b.png")]
    arguments = plugin.arguments("predict", RequestData(files=two, query=[("top_k", "2")]))
    assert [file.original_filename for file in arguments["image"]] == ["a.png", "b.png"]
    assert arguments["top_k"] == 2


def test_weights_do_not_depend_on_the_name_by_which_their_data_were_asked_for(
    plugin: Plugin,
) -> None:
    told = [
        TrainSettings(**plugin.arguments("train", RequestData(query=[("dataset", name)]))).to_data()
        for name in ("birds", "0" * 32)
    ]
    assert told[0] == told[1]
    assert told[0]["epochs"] > 0
