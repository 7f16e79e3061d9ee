"""`deepaas-cli`, as people and scripts use it: processes, what they print, write, exit with."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "modelyard.cli.deepaas_cli"]


# -- methods ------------------------------------------------------------------------------------


def test_metadata_is_returned_as_json_in_a_log_line_of_deepaas(cli, returned):
    done = cli("old_modules.plain", "get_metadata")
    assert json.loads(returned(done))["name"] == "plain"
    line = done.stdout.splitlines()[-1]
    assert re.match(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \d+ INFO deepaas\.cmd\.cli \[-\] return: ", line
    )
    assert done.stderr == ""


def test_no_method_means_get_metadata(cli, returned):
    done = cli("old_modules.plain")
    assert "WARNING deepaas.cmd.cli [-] No Method was requested! Return get_metadata()" in (
        done.stdout
    )
    assert json.loads(returned(done))["name"] == "plain"


def test_warm_says_that_it_has_ended(cli, returned):
    assert returned(cli("old_modules.warming", "warm")) == "Finished warm() method"


def test_predict_prints_what_the_module_returns(cli, returned):
    shown = returned(cli("old_modules.answers", "predict", "--do", "dict"))
    assert shown == ("{'label': 'cat', 'scores': [0.75, 0.25], 'none': None, 1: 'a number as key'}")


def test_train_returns_the_record_that_deepaas_returns(cli, returned):
    done = cli("old_modules.trainer", "train", "--do", "numpy", "--password", "hunter2")
    record = json.loads(returned(done))
    assert list(record) == ["date", "args", "status", "uuid", "result"]
    assert record["status"] == "done" and re.fullmatch("[0-9a-f]{32}", record["uuid"])
    assert list(record["result"]) == ["finish_date", "duration", "output"]
    assert record["result"]["output"]["accuracy"] == 0.5
    assert record["args"] == {"do": "numpy", "when": None, "seconds": 0.0}
    assert "hunter2" not in done.stdout
    assert "training numpy" in done.stdout and "to stderr numpy" in done.stderr
    assert "INFO old_modules.trainer [-] logged by oslo numpy" in done.stdout


def test_a_training_result_without_json_form_does_not_lose_the_record(cli, returned):
    done = cli("old_modules.trainer", "train", "--do", "object")
    assert json.loads(returned(done))["result"]["output"] is None
    assert "What train() returned is not in the record" in done.stdout


def test_a_module_of_one_function_works_and_the_others_are_told_missing(cli):
    assert cli("old_modules.only_predict", "predict").returncode == 0
    done = cli("old_modules.only_predict", "train")
    assert done.returncode == 1
    assert "it has no train()" in done.stderr


# -- output -------------------------------------------------------------------------------------


def test_results_are_written_as_json(cli, tmp_path, returned):
    done = cli("old_modules.plain", "--deepaas_method_output", "new/meta.txt", "get_metadata")
    assert json.loads((tmp_path / "new/meta.txt").read_text()) == json.loads(returned(done))
    done = cli("old_modules.trainer", "--deepaas_method_output", "t.txt", "train")
    assert returned(done) == "Output is saved in t.txt"
    assert json.loads((tmp_path / "t.txt").read_text())["result"]["output"] == {"loss": 0.25}
    done = cli("old_modules.answers", "predict", "--deepaas_method_output", "p.json")
    assert json.loads((tmp_path / "p.json").read_text())["label"] == "cat"


def test_a_suffix_that_does_not_fit_gets_the_right_one_behind_it(cli, tmp_path, returned):
    done = cli("old_modules.answers", "--deepaas_method_output", "p.txt", "predict")
    assert returned(done) == "Output is saved in p.txt.json"
    assert "You are trying to store .json type data in the file with .txt extension!" in (
        done.stdout
    )
    assert json.loads((tmp_path / "p.txt.json").read_text())["label"] == "cat"


@pytest.mark.parametrize("behind", [True, False])
def test_a_folder_in_the_place_of_the_output_file_is_wrong_usage(cli, tmp_path, behind):
    (tmp_path / "out").mkdir()
    words = ["predict", "--deepaas_method_output", "out/"]
    done = cli("old_modules.answers", *(words if behind else [*words[1:], words[0]]))
    assert done.returncode == 2
    assert "--deepaas_method_output: out/ is a folder. Name a file" in done.stderr
    assert not (tmp_path / "out.json").exists() and not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("kind", "accept"),
    [("bytes", "image/png"), ("buffer", "image/*"), ("file", "image/*"), ("returned", "image/png")],
)
def test_files_that_a_module_returns_are_stored_as_they_are(cli, tmp_path, kind, accept, returned):
    """KD-34: a result of bytes was reported as saved, and was not."""
    words = ["predict", "--do", kind, "--accept", accept]
    done = cli("old_modules.answers", "--deepaas_method_output", "p.png", *words)
    assert returned(done) == "Output is saved in p.png"
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_numpy_and_dates_are_stored_as_json(cli, tmp_path):
    for what in ("numpy", "dates", "nan"):
        cli("old_modules.answers", "--deepaas_method_output", "p.json", "predict", "--do", what)
        assert json.loads((tmp_path / "p.json").read_text())


def test_a_file_that_is_not_stored_is_told_and_not_poured_out(cli, returned):
    shown = returned(cli("old_modules.answers", "predict", "--do", "bytes"))
    assert shown == "<68 bytes of image/png: --deepaas_method_output FILE stores them>"


# -- which model --------------------------------------------------------------------------------

TWO = {"one": "old_modules.plain", "two": "old_modules.answers"}


def test_several_models_without_a_name_are_listed(cli):
    done = cli(TWO, "get_metadata")
    assert done.returncode == 1
    assert done.stderr.startswith("[ERROR]: There are several models available (['")
    assert "'one'" in done.stderr and "'two'" in done.stderr


def test_the_name_chooses_among_several(cli, tmp_path, returned):
    """KD-34: `--model-name` had no effect."""
    (tmp_path / "it.conf").write_text("[DEFAULT]\nmodel_name = two\n")
    assert json.loads(returned(cli(TWO, "--model-name", "one", "get_metadata")))["name"] == "plain"
    assert cli(TWO, "predict", "--do", "text", DEEPAAS_V2_MODEL="two").returncode == 0
    assert cli(TWO, "--config-file", "it.conf", "predict", "--do", "text").returncode == 0
    (tmp_path / ".deepaas").mkdir()
    (tmp_path / "it.conf").rename(tmp_path / ".deepaas/deepaas-cli.conf")
    assert cli(TWO, "predict", "--do", "text", HOME=str(tmp_path)).returncode == 0
    both = cli(TWO, "--model-name=one", "get_metadata", DEEPAAS_V2_MODEL="two")
    assert json.loads(returned(both))["name"] == "plain"


def test_a_name_that_nothing_has_lists_those_that_there_are(cli):
    done = cli(TWO, "--model-name", "three", "get_metadata")
    assert done.returncode == 1
    assert "[ERROR]: The model three is not available.\nAvailable models: [" in done.stderr


def test_a_model_with_an_interpreter_of_its_own_runs_in_it(cli, tmp_path, returned, write_module):
    python = tmp_path / "own-python"
    python.write_text(f'#!/bin/sh\nOWN=yes exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    settings = tmp_path / "settings.toml"
    settings.write_text(
        f'[models.the-model]\npython = "{python}"\nenv.PYTHONPATH = "{tmp_path / "site"}"\n'
    )
    write_module(
        "owned",
        "import os, sys\n"
        "from deepaas.model.v2.wrapper import UploadedFile\n"
        "from webargs import fields\n"
        "def get_predict_args(): return {'x': fields.Int(missing=1)}\n"
        "def predict(x): return [x, os.environ.get('OWN'), 'aiohttp' in sys.modules]\n",
    )
    done = cli("owned", "--config-file", settings, "predict", "--x", "5")
    assert returned(done) == "[5, 'yes', False]"


# -- failures -----------------------------------------------------------------------------------


def test_a_failure_is_told_with_its_cause_and_exits_with_1(cli):
    done = cli("old_modules.failing", "predict", "--do", "bare_of_error")
    assert done.returncode == 1
    assert "the moon is full" in done.stderr and "Traceback" not in done.stderr
    done = cli("old_modules.failing", "predict", "--do", "fail")
    assert done.returncode == 1
    assert "CRITICAL deepaas-cli [-] Unhandled error: ValueError: the moon is full" in done.stdout
    assert "Traceback" in done.stdout


def test_a_module_that_cannot_be_imported_is_told(cli):
    done = cli("old_modules.broken_import", "get_metadata")
    assert done.returncode == 1
    assert "importing the model 'the-model'" in done.stderr


def test_ctrl_c_ends_a_training_with_130_and_leaves_nothing(cli, old_environment, tmp_path):
    cli("old_modules.trainer", "--help")
    process = subprocess.Popen(
        [*COMMAND, "train", "--do", "epochs", "--seconds", "0.05"],
        env=old_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "epoch 1" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - begun < 10
    assert errors.splitlines()[-1] == "deepaas-cli: stopped"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_processes_that_a_module_spawns_find_its_imports_too(
    cli, site, tmp_path, returned, write_module
):
    write_module(
        "spawning",
        "import multiprocessing\n"
        "from deepaas.model.v2.wrapper import UploadedFile\n"
        "from webargs import fields\n"
        "ARGS = {'x': fields.Int(missing=2, description='old style')}\n"
        "def get_predict_args(): return ARGS\n"
        "def work(x): return [2 * x, multiprocessing.get_start_method()]\n"
        "def predict(x):\n"
        "    with multiprocessing.Pool(1) as pool: return pool.map(work, [x])\n",
    )
    assert returned(cli("spawning", "predict")) == "[[4, 'spawn']]"
    settings = tmp_path / "own.toml"
    settings.write_text(
        f'[models.the-model]\npython = "{sys.executable}"\nenv.PYTHONPATH = "{site}"\n'
    )
    done = cli("spawning", "--config-file", settings, "predict")
    assert returned(done) == "[[4, 'spawn']]"
    done = cli("spawning", "--nodeepaas_with_multiprocessing", "predict")
    assert returned(done) != "[[4, 'spawn']]"


# -- models of the native contract --------------------------------------------------------------


def test_a_native_model_that_needs_no_weights_predicts_and_trains(
    cli, site, returned, write_module
):
    write_module(
        "native",
        "from marshmallow import fields\n"
        "from modelyard.models_plugin.contract import Model\n"
        "class Doubler(Model):\n"
        "    weights_optional = True\n"
        "    predict_arguments = {'x': fields.Float(required=True)}\n"
        "    train_arguments = {'steps': fields.Integer(load_default=2)}\n"
        "    def predict(self, x): return {'twice': 2 * x}\n"
        "    def train(self, run, steps):\n"
        "        for step in range(steps): run.report(step, loss=1.0)\n"
        "        with run.checkpoint(steps) as made: (made.weights / 'w').write_text('1')\n"
        "        return {'steps': steps}\n",
    )
    points = site / "some_models-0.1.dist-info" / "entry_points.txt"
    (site / "native-1.dist-info").mkdir()
    (site / "native-1.dist-info" / "METADATA").write_text("Name: native\nVersion: 1\n")
    (site / "native-1.dist-info" / "entry_points.txt").write_text(
        "[modelyard.models]\ndoubler = native:Doubler\n"
    )
    done = cli({}, "--model-name", "doubler", "predict", "--x", "4")
    assert points.exists() and returned(done) == "{'twice': 8.0}"
    done = cli({}, "--model-name", "doubler", "train")
    assert "step 1: loss=1" in done.stdout
    kept = re.search(r"The files of this training are in (\S+)", done.stdout)
    assert kept and (Path(kept[1]) / "step-2/weights/w").read_text() == "1"
