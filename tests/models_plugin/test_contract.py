"""The contract is checked when a plugin is loaded: a mistake names plugin, part and remedy."""

import json
import sys
import time
from types import SimpleNamespace

import pytest
from marshmallow import Schema, fields, validate

from modelyard.errors import InvalidArguments, NotSupported, PluginFailed, PluginRefused
from modelyard.models_plugin import Model
from modelyard.models_plugin.device import resolve_device
from modelyard.models_plugin.native import NativePlugin
from modelyard.models_plugin.plugin import PluginSource
from modelyard.schemas.transport import RequestData

SOURCE = PluginSource("mine", "package.module:Mine")


def opened(**members):
    return NativePlugin(SOURCE, type("Mine", (), members)())


def predict(self, **arguments):
    return arguments


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, ["neither a predict() nor a train()"]),
        ({"predict": 3}, ["predict is int, not a method"]),
        (
            {"predict": predict, "predict_arguments": {"a": int}},
            ["predict_arguments.a", "fields.Integer()"],
        ),
        ({"predict": predict, "predict_arguments": "a"}, ["predict_arguments", "no schema"]),
        (
            {
                "predict": predict,
                "predict_arguments": {
                    "a": fields.Integer(load_default=0, validate=validate.Range(min=1))
                },
            },
            ["predict_arguments.a", "default 0"],
        ),
        (
            {"predict": lambda self: 1, "predict_arguments": {"a": fields.Integer()}},
            ["predict_arguments.a", "does not take", "'a'"],
        ),
        ({"predict": lambda self, b: 1}, ["needs 'b'", "predict_arguments"]),
        ({"train": lambda self: 1}, ["train() takes no run"]),
        ({"predict": predict, "load": lambda self: 1}, ["load()", "load(self, weights, device)"]),
        ({"predict": predict, "metadata": [1]}, ["metadata is list"]),
        ({"predict": predict, "max_batch": 0}, ["max_batch is 0"]),
    ],
)
def test_a_mistake_is_told_with_plugin_part_and_remedy(members, words):
    with pytest.raises(PluginFailed) as caught:
        opened(**members).describe()
    for word in ["'mine'", "package.module:Mine", *words]:
        assert word in caught.value.message


def test_schemas_may_be_dicts_classes_instances_or_methods():
    class Arguments(Schema):
        a = fields.Integer(load_default=1)

    for form in (
        {"a": fields.Integer(load_default=1)},
        Arguments,
        Arguments(),
        lambda self: Arguments,
    ):
        plugin = opened(predict=predict, predict_arguments=form)
        assert [field.name for field in plugin.describe().predict_arguments] == ["a"]
        assert plugin.arguments("predict", RequestData()) == {"a": 1}


def test_choices_that_a_method_reads_are_described_anew():
    choices = ["one"]
    plugin = opened(
        predict=predict,
        predict_arguments=lambda self: {"c": fields.String(validate=validate.OneOf(list(choices)))},
    )
    assert plugin.describe().predict_arguments[0].choices == ["one"]
    choices.append("two")
    assert plugin.describe().predict_arguments[0].choices == ["one", "two"]


def test_what_a_plugin_cannot_do_is_not_supported():
    plugin = opened(predict=predict)
    assert plugin.describe().train_arguments is None
    with pytest.raises(NotSupported):
        plugin.arguments("train", RequestData())

    def unfinished(self):
        raise NotImplementedError("later")

    with pytest.raises(NotSupported, match="later"):
        opened(predict=unfinished).predict({})


def test_an_exception_is_told_with_its_type_its_text_and_its_cause():
    def fails(self):
        try:
            raise KeyError("x")
        except KeyError as error:
            raise ValueError("no such class") from error

    with pytest.raises(PluginFailed) as caught:
        opened(predict=fails).predict({})
    assert "ValueError: no such class (caused by KeyError: 'x')" in caught.value.message
    assert caught.value.original_type == "ValueError"
    assert "fails" in caught.value.traceback


def test_a_cause_that_the_text_repeats_is_told_once():
    def fails(self):
        try:
            raise IndexError("no row 7")
        except IndexError as error:
            raise ValueError(f"bad table: {error}") from error

    with pytest.raises(PluginFailed) as caught:
        opened(predict=fails).predict({})
    assert caught.value.message.count("no row 7") == 1


def test_an_http_exception_of_any_framework_keeps_its_status():
    class HTTPException(Exception):
        status = 409
        reason = "already there"

    class HTTPConflict(HTTPException):
        pass

    def refuses(self):
        raise HTTPConflict

    with pytest.raises(PluginRefused, match="already there") as caught:
        opened(predict=refuses).predict({})
    assert caught.value.status == 409


def test_an_answer_that_its_schema_refuses_is_the_models_fault(tmp_path):
    class Response(Schema):
        label = fields.String(required=True)
        score = fields.Float(validate=validate.Range(max=1))

    plugin = opened(predict=predict, predict_response=Response)
    good = plugin.answer("predict", {"label": "a", "score": 0.5, "more": 1}, {}, tmp_path)
    assert good.body == b'{"label":"a","score":0.5}'
    for bad in ({"score": 0.5}, {"label": "a", "score": 2}):
        with pytest.raises(PluginFailed, match="predict_response"):
            plugin.answer("predict", bad, {}, tmp_path)


def test_members_that_are_only_dumped_are_part_of_an_answer(tmp_path):
    class Inner(Schema):
        twice = fields.Method("make_twice")
        once = fields.Integer(dump_only=True)

        def make_twice(self, value):
            return value["once"] * 2

    plugin = opened(
        predict=predict,
        predict_response={"inner": fields.Nested(Inner), "made": fields.Constant(1)},
    )
    answer = plugin.answer("predict", {"inner": {"once": 2}}, {}, tmp_path)
    assert json.loads(answer.body) == {"inner": {"once": 2, "twice": 4}, "made": 1}


def test_a_batch_with_too_few_answers_is_the_models_fault():
    plugin = opened(predict=predict, predict_batch=lambda self, calls: [1])
    assert "predict_batch" in plugin.describe().capabilities
    with pytest.raises(PluginFailed, match="2 calls and returned 1"):
        plugin.predict_batch([{}, {}])


def test_the_base_class_alone_offers_nothing_and_is_refused():
    with pytest.raises(PluginFailed, match="neither"):
        NativePlugin(SOURCE, Model())


def test_a_default_that_a_function_makes_is_pinned_by_the_record():
    counter = iter(range(100))
    plugin = opened(
        train=lambda self, run, seed: None,
        train_arguments={"seed": fields.Integer(load_default=lambda: next(counter))},
    )
    first = plugin.arguments("train", RequestData())
    record = plugin.record_of("train", first)
    assert plugin.arguments("train", RequestData(), record) == first
    assert plugin.arguments("train", RequestData(query=[("seed", "50")]), record) == {"seed": 50}


def test_secrets_are_named_and_left_out_of_the_record_also_inside_others():
    class Login(Schema):
        user = fields.String()
        key = fields.String(metadata={"format": "password"})

    plugin = opened(
        train=lambda self, run, **a: None,
        train_arguments={
            "token": fields.String(load_only=True, metadata={"format": "password"}),
            "login": fields.Nested(Login),
        },
    )
    body = b'{"token": "s3cret", "login": {"user": "u", "key": "s3cret"}}'
    arguments = plugin.arguments("train", RequestData(body=body))
    assert arguments["token"] == arguments["login"]["key"] == "s3cret"
    assert plugin.secrets_of("train", arguments) == ["token", "login"]
    assert plugin.record_of("train", arguments) == {"login": {"user": "u"}}


@pytest.mark.parametrize("setting", ["cpu", "cuda", "cuda:1"])
def test_a_device_that_was_named_is_taken_as_it_is_without_torch(monkeypatch, setting):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert resolve_device(setting) == setting


@pytest.mark.parametrize(
    ("setting", "gpus", "built", "told"),
    [
        ("cuda", 0, None, "this torch (2.9) was built without GPUs"),
        ("cuda:0", 0, "13.0", "torch sees none"),
        ("cuda:1", 1, "13.0", "torch sees one"),
        ("cuda:99", 2, "13.0", "torch sees 2 (cuda:0 to cuda:1)"),
    ],
)
def test_a_gpu_that_torch_does_not_see_is_told_with_those_that_it_sees(
    monkeypatch, setting, gpus, built, told
):
    cuda = SimpleNamespace(is_available=lambda: gpus > 0, device_count=lambda: gpus)
    version = SimpleNamespace(cuda=built)
    torch = SimpleNamespace(cuda=cuda, version=version, __version__="2.9")
    monkeypatch.setitem(sys.modules, "torch", torch)
    with pytest.raises(PluginFailed) as caught:
        resolve_device(setting)
    assert f"device = {setting}: " in caught.value.message and told in caught.value.message
    assert "--device" in caught.value.message
    assert all(resolve_device(f"cuda:{number}") for number in range(gpus))
    assert resolve_device("cpu") == "cpu"


def test_auto_asks_torch_only_if_the_model_brought_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert resolve_device("auto") == "cpu"
    assert "torch" not in sys.modules


def test_many_unknown_names_are_refused_at_once_and_told_in_part():
    plugin = opened(predict=predict)
    names = {f"unknown{number}": 1 for number in range(100_000)}
    began = time.process_time()
    with pytest.raises(InvalidArguments) as caught:
        plugin.arguments("predict", RequestData(body=json.dumps(names).encode()))
    assert time.process_time() - began < 5  # it was minutes
    assert len(caught.value.errors) == 50
