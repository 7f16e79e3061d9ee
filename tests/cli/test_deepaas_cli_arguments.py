"""`deepaas-cli`: the model's arguments as options, their help, and files."""

import json

import pytest

ECHO = """
from webargs import fields, validate

def get_predict_args():
    return {
        "d": fields.Dict(missing={}),
        "deb": fields.Str(missing=None),
        "model-name": fields.Str(),
        "some_list": fields.List(fields.Float(), missing=[0.5]),
        "flag": fields.Bool(missing=False, description="100% of it"),
        "size": fields.Int(missing=3, validate=validate.Range(min=1, max=9)),
        "kind": fields.Str(missing="a", enum=["a", "b"]),
        "absent": fields.Str(required=False),
        "header": fields.Int(location="headers", missing=1),
        "query": fields.List(fields.Int(), location="query", missing=[]),
        "form": fields.Dict(location="form", missing={}),
    }

def predict(**kwargs):
    return dict(sorted(kwargs.items()))
"""
DEFAULTS = {
    "d": {}, "deb": None, "flag": False, "form": {}, "header": 1, "kind": "a", "query": [],
    "size": 3, "some_list": [0.5],
}  # fmt: skip


@pytest.fixture
def echo(cli, returned, write_module):
    """Predicts with what is given to the arguments above; what predict() got."""
    name = write_module("echo", ECHO)

    def run(*words):
        return eval(returned(cli(name, "predict", *words)))

    return run


def test_absent_arguments_are_not_passed(echo):
    """KD-34: they arrived as the sentinel `missing`."""
    assert echo() == DEFAULTS


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["--d", "{'a': 1, 2: None}", "--some_list", "(1, 2)", "--flag", "T", "--size", "9",
             "--deb", "a b", "--model-name", "mine", "--absent", ""],
            {"d": {"a": 1, 2: None}, "some_list": [1.0, 2.0], "flag": True, "size": 9,
             "deb": "a b", "model-name": "mine", "absent": ""},
        ),
        (
            ["--d", '{"a": [true, null]}', "--some-list", "7", "--flag=no", "--header", "4",
             "--query", "[1]", "--form", "{'a': 1}"],
            {"d": {"a": [True, None]}, "some_list": [7.0], "header": 4, "query": [1],
             "form": {"a": 1}},
        ),
    ],
    ids=["python", "json"],
)  # fmt: skip
def test_values_are_read_as_what_the_argument_is(echo, words, expected):
    assert echo(*words) == {**DEFAULTS, **expected}


def test_wrong_values_are_told_for_each_argument_before_anything_runs(cli, write_module):
    """KD-34: nothing was checked."""
    name = write_module("echo", ECHO)
    words = ["--size", "10", "--kind", "c", "--flag", "perhaps", "--d", "{'a'"]
    done = cli(name, "predict", *words[:6])
    assert done.returncode == 2
    assert "deepaas-cli predict: error: argument --size: Must be greater than or equal" in (
        done.stderr
    )
    assert "argument --kind: Must be one of: a, b." in done.stderr
    assert "argument --flag: Not a valid boolean." in done.stderr
    done = cli(name, "predict", *words[6:])
    assert done.returncode == 2
    assert "argument --d: This is neither JSON nor a Python literal." in done.stderr


def test_options_are_not_guessed_from_their_beginnings(cli, write_module):
    """KD-34: `--d` was ambiguous."""
    name = write_module("echo", ECHO)
    assert cli(name, "predict", "--siz", "4").returncode == 2
    assert cli(name, "--mod", "echo", "predict").returncode == 2
    done = cli(name, "predict", "--nothing", "3")
    assert done.returncode == 2
    assert "unrecognized arguments: --nothing 3" in done.stderr


def test_missing_arguments_are_told_together(cli):
    done = cli("old_modules.demo", "predict", "--demo-image", "a.png")
    assert done.returncode == 2
    assert (
        "deepaas-cli predict: error: the following arguments are required: "
        "--demo-audio, --demo-video"
    ) in done.stderr


def test_help_of_a_method_shows_each_argument_with_its_type_default_and_choices(cli):
    done = cli("old_modules.demo", "predict", "--help")
    assert done.returncode == 0
    for shown in (
        "--demo-str-choice DEMO_STR_CHOICE",
        "Choices: ['choice1', 'choice2']",
        "Default: choice2",
        "Range: 1 to 100",
        'Type: list, enclosed as string: "[...]"\n          Default: [0.1, 0.2, 0.3]',
        "          image\n          Type: str (filepath)\n          *Required*",
    ):
        assert shown in done.stdout
    done = cli("old_modules.keeper", "train", "--help")
    assert "--name" in done.stdout


def test_help_of_the_command_needs_no_model(cli):
    done = cli({}, "--help")
    assert done.returncode == 0
    assert "{get_metadata,warm,predict,train}" in done.stdout


# -- files --------------------------------------------------------------------------------------


def test_a_file_reaches_the_module_as_a_copy_that_it_may_delete(cli, tmp_path, returned):
    (tmp_path / "cat.png").write_bytes(b"abc")
    done = cli("old_modules.files", "predict", "--data", "cat.png", "--remove", "yes")
    told = eval(returned(done))["data"]
    assert told["original_filename"] == "cat.png" and told["suffix"] == ".png"
    assert told["content_type"] == "image/png" and told["size"] == 3
    assert (tmp_path / "cat.png").read_bytes() == b"abc"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_training_gets_its_file_and_the_record_names_it(cli, tmp_path, returned):
    (tmp_path / "data.csv").write_text("1,2")
    record = json.loads(returned(cli("old_modules.files", "train", "--data", "data.csv")))
    assert record["args"]["data"] == "data.csv"
    assert record["result"]["output"] == {"size": 3, "labels": False, "name": "data"}


def test_a_file_that_is_not_there_is_a_wrong_argument(cli):
    done = cli("old_modules.files", "predict", "--data", "nowhere.png")
    assert done.returncode == 2
    assert "argument --data: nowhere.png: No such file or directory" in done.stderr


ODD_NAMES = """
from webargs import fields

NAMES = ["a[b]", "", "with space", "100%", "%(prog)s", "(x)", "a-b", "a.b", "x\\ny", "[", "self"]
NAMES += [f"long_name_of_an_argument_{number}" for number in range(9)]

def get_predict_args():
    return {name: fields.Str(missing="d") for name in NAMES}

def predict(**given):
    return given["a[b]"] + given["100%"]
"""


def test_arguments_of_odd_names_have_help_and_usage(cli, write_module, returned):
    write_module("odd_names", ODD_NAMES)
    helped = cli("odd_names", "predict", "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    usage = helped.stdout.partition("\n\n")[0]
    assert usage.startswith("usage: deepaas-cli predict [-h] [--a[b] A_B_]")
    assert "[--100% 100_]" in usage and "[--%(prog)s " in usage
    assert all(len(line) < 100 for line in usage.splitlines())
    assert returned(cli("odd_names", "predict", "--a[b]", "1", "--100%=2")) == "12"
    wrong = cli("odd_names", "predict", "--nothing")
    assert wrong.returncode == 2 and "unrecognized arguments: --nothing" in wrong.stderr
