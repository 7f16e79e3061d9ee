"""Options made of a model's arguments."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from modelyard.cli import printing
from modelyard.cli.options import ModelOptions, bounds_of, help_of, normalize
from modelyard.client import Argument, Run


def collect(arguments: list[Argument], *words: str, taken: tuple[str, ...] = ()):
    """What the words come to; None (with click's own message printed) if they are refused."""
    options = ModelOptions(arguments, {"help", *taken})
    got = []

    def callback(**params):
        got.append(options.collect(params))

    command = click.Command(
        "c",
        params=options.params,
        callback=callback,
        context_settings={"token_normalize_func": normalize},
    )
    result = CliRunner().invoke(command, list(words))
    if result.exit_code:
        assert result.exit_code == 2, result.output
        return result.output
    return got[0]


LIST = Argument("names", "list", items=Argument("", "string"))
NUMBERS = Argument("numbers", "list", nullable=True, items=Argument("", "integer"))


@pytest.mark.parametrize(
    ("argument", "words", "value"),
    [
        (Argument("x", "integer"), ["--x", "5"], 5),
        (Argument("x", "integer"), ["--x", "five"], "five"),
        (Argument("x", "number"), ["--x=-1e-3"], -0.001),
        (Argument("x", "number"), ["--x", "nan"], "nan"),
        (Argument("x", "string"), ["--x", "5"], "5"),
        (Argument("x", "string", nullable=True), ["--x", "null"], "null"),
        (Argument("x", "integer", nullable=True), ["--x", "null"], None),
        (Argument("x", "boolean"), ["--x"], True),
        (Argument("x", "boolean"), ["--x", "false"], False),
        (Argument("x", "boolean"), ["--no-x"], False),
        (Argument("x", "boolean"), ["--x", "perhaps"], "perhaps"),
        (Argument("x", "dict"), ["--x", '{"a": 1}'], {"a": 1}),
        (Argument("x", "tensor"), ["--x", "[[1, 2]]"], [[1, 2]]),
        (LIST, ["--names", "a", "--names", "b"], ["a", "b"]),
        (LIST, ["--names", '["a", "b"]'], ["a", "b"]),
        (NUMBERS, ["--numbers", "3"], [3]),
        (NUMBERS, ["--numbers", "[]"], []),
        (NUMBERS, ["--numbers", "null"], None),
    ],
)
def test_a_text_becomes_the_kind_of_value_that_the_argument_has(argument, words, value):
    assert collect([argument], *words).arguments == {argument.name: value}


def test_what_was_not_given_is_left_to_the_server():
    arguments = [Argument("a", "integer", has_default=True, default=3), Argument("b", "list")]
    assert collect(arguments).arguments == {}


def test_underscores_and_dashes_are_the_same():
    arguments = [Argument("learning_rate", "number"), Argument("demo-str", "string")]
    for words in (
        ["--learning-rate", "1", "--demo-str", "x"],
        ["--learning_rate=1", "--demo_str=x"],
    ):
        assert collect(arguments, *words).arguments == {"learning_rate": 1, "demo-str": "x"}


def test_an_argument_called_like_an_own_option_gets_another_name():
    options = ModelOptions([Argument("url", "string"), Argument("help", "string")], {"url", "help"})
    assert options.option_of("url") == "--arg-url"
    got = collect([Argument("url", "string")], "--arg-url", "x", taken=("url",))
    assert got.arguments == {"url": "x"}


def test_names_that_differ_by_a_dash_only_stay_apart():
    arguments = [Argument("a_b", "integer"), Argument("a-b", "integer")]
    assert collect(arguments, "--a-b", "1", "--arg-a-b", "2").arguments == {"a_b": 1, "a-b": 2}


def test_wrong_json_is_refused_with_the_options_name():
    assert "Invalid value for '--x'" in collect([Argument("x", "dict")], "--x", "{a}")


def test_json_may_come_from_a_file(tmp_path):
    (tmp_path / "x.json").write_text("[1, 2]")
    assert collect([Argument("x", "tensor")], "--x", f"@{tmp_path}/x.json").arguments["x"] == [1, 2]
    assert "No such file" in collect([Argument("x", "tensor")], "--x", "@/none.json")


def test_files_are_paths_that_exist(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    one, many = Argument("one", "file"), Argument("many", "list", items=Argument("", "file"))
    got = collect([one, many], "--one", f"{tmp_path}/a.png", "--many", f"{tmp_path}/a.png")
    assert got.files == {"one": tmp_path / "a.png", "many": [tmp_path / "a.png"]}
    assert "does not exist" in collect([one], "--one", "/none.png")


def test_values_go_where_the_server_looks_for_them():
    arguments = [
        Argument("q", "list", place="query"),
        Argument("accept", "string", place="headers"),
        Argument("f", "string", place="form"),
    ]
    got = collect(arguments, "--q", "1", "--q", "2", "--accept", "image/png", "--f", "x")
    assert got.query == {"q": [1, 2]}
    assert got.headers == {"accept": "image/png"}
    assert (got.arguments, got.as_form) == ({"f": "x"}, True)


def test_help_tells_range_unit_default_and_choices():
    epochs = Argument(
        "epochs", "integer", minimum=1, maximum=100, unit="epochs", has_default=True, default=20,
        description="How often.",
    )  # fmt: skip
    assert help_of(epochs) == "How often.  [1..100 epochs; default: 20]"
    assert bounds_of(Argument("x", minimum=0, exclusive_minimum=True, maximum=1)) == "0<..1"
    assert help_of(Argument("x", required=True)) == "[required]"
    command = click.Command("c", params=ModelOptions([Argument("x", choices=("a", 1))], ()).params)
    assert "--x [a|1]" in CliRunner().invoke(command, ["--help"]).output


def test_a_secret_without_a_value_is_asked_for():
    options = ModelOptions([Argument("token", "string", secret=True)], ())
    command = click.Command("c", params=options.params, callback=lambda **p: print(p))
    asked = CliRunner().invoke(command, ["--token"], input="s3cret\n")
    assert asked.output.count("s3cret") == 1  # in what the callback printed, not at the prompt
    assert "{'argument_0': None}" in CliRunner().invoke(command, []).output


def test_file_means_the_required_file_argument():
    many = [Argument("mask", "file"), Argument("image", "file", required=True)]
    found = ModelOptions(many, ()).file_argument()
    assert found is not None
    assert found.name == "image"
    assert ModelOptions([Argument("x")], ()).file_argument() is None


@pytest.mark.parametrize(
    ("progress", "told"),
    [
        ({"done": 3, "total": 7, "text": "epochs"}, "3/7 epochs"),
        ({"done": 3, "total": 7, "text": "epoch 3 of 7"}, "epoch 3 of 7"),
        ({"done": 3, "total": 7, "text": ""}, "3/7"),
        ({"done": None, "total": None, "text": "reading"}, "reading"),
        ({"done": None, "total": None, "text": "", "step": 5}, "step 5"),
    ],
)
def test_how_far_a_run_has_come_is_told_with_its_numbers(progress, told):
    """In lists too: `run.progress(3, 7, "epochs")` is what docs/plugins.md has plugins write."""
    record = {"uuid": "a" * 32, "status": "running", "progress": progress}
    assert printing.amount(Run.from_data("some", record)) == told
