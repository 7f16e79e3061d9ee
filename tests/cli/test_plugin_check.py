"""`modelyard plugin check`: what it finds in modules with faults, and how it tells it."""

import json
import os
import re
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

PLUGINS = os.pathsep.join(
    str(Path(__file__).parents[1] / name) for name in ("plugins", "old_plugins")
)

FAULTY = """
import os
import subprocess
from marshmallow import validate
from webargs import fields


def get_predict_args():
    return {
        "untaken": fields.Int(missing=1),
        "optional": fields.Int(),
        "bad_default": fields.Int(missing=12, validate=validate.Range(max=10)),
        "outside": fields.Str(missing="c", enum=["a", "b"]),
        "numbers": fields.Int(missing=1, enum=["1", "2"]),
        "dumped": fields.Int(default=3),
        "placed": fields.Int(missing=1, location="cookies"),
        "data": fields.Field(required=True, type="file", location="form", description="A table"),
        "picture": fields.Field(missing=None, type="file", description="An image"),
        "accept": fields.Str(missing="application/json"),
        "even": fields.Int(missing=2, validate=lambda value: value % 2 == 0),
    }


def predict(optional, needed, dumped=1, bad_default=1, outside="", numbers=0, placed=0, data=None,
            picture=None, accept="", even=0):
    from deepaas.model.v2.wrapper import ModelWrapper


async def train():
    subprocess.Popen(["tensorboard", "--logdir", "logs", "--port", os.environ["monitorPORT"]])
    os.system("fuser -k 6006/tcp")


def get_metadata():
    return {"about": object()}


warm = 3
schema = {"x": 3}
"""


@pytest.fixture
def check(modelyard, tmp_path):
    """`check(entrypoint, *options)` runs the command; with `module`, for that text as a module."""

    def run(entrypoint, *options, module=None, **more):
        if module is not None:
            (tmp_path / f"{entrypoint.partition(':')[0]}.py").write_text(module)
        return modelyard("plugin", "check", entrypoint, *options, cwd=tmp_path, **more)

    return run


@pytest.fixture(autouse=True)
def fixtures_installed(monkeypatch):
    paths = [PLUGINS, os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))


def found(done):
    """The findings of `--json`, by their codes."""
    codes = {}
    for finding in json.loads(done.stdout)["findings"]:
        codes.setdefault(finding["code"], []).append(finding)
    return codes


def test_a_good_module_may_be_served_and_that_is_said_in_plain_words(check):
    done = check("old-demo")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("old-demo (old_modules.demo), DEEPaaS module\n")
    assert "\nworks differently: enum= of demo-str-choice is checked: " in done.stdout
    assert "\ngood to know: 12 of 12 arguments are written for marshmallow 3" in done.stdout
    assert "\n  where:  predict.demo-str-choice (" in done.stdout
    assert "demo.py:" in done.stdout and "\n  remedy: " in done.stdout
    assert done.stdout.endswith("\nNothing prevents serving it.\n")


def test_every_fault_of_a_module_is_found_with_its_place(check):
    done = check("faulty", "--json", module=FAULTY)
    assert done.returncode == 1, done.stderr
    codes = found(done)
    what = {code: " ".join(one["what"] for one in those) for code, those in codes.items()}
    assert "'untaken': every call fails" in what["unknown-argument"]
    assert "needs 'needed'" in what["no-such-argument"]
    assert "needs 'optional'" in what["optional-but-needed"]
    assert "12, is refused" in what["default-refused"]
    assert "'c', is refused" in what["default-refused"]
    assert "numbers is checked" in what["enum"] and "of type str" in what["enum"]
    assert "default=" in what["default-for-missing"] and "dumped" in what["default-for-missing"]
    assert "location='cookies'" in what["location"]
    assert "file data" in what["file-description"] and "picture" not in what["file-description"]
    assert "accept has no choices" in what["accept-without-choices"]
    assert "even" in what["validator-function"]
    assert "train() is asynchronous" in what["async"]
    assert "warm is int" in what["not-callable"]
    assert "no JSON form" in what["metadata"]
    assert "response schema" in what["response-schema"]
    assert "deepaas.model.v2.wrapper.ModelWrapper" in what["deepaas-name"]
    assert {"tensorboard", "monitor-port", "fuser", "old-keywords", "no-entry-point"} <= set(codes)
    assert codes["location"][0]["where"].endswith("faulty.py:16)")
    assert codes["location"][0]["level"] == "differs"
    assert codes["no-such-argument"][0]["level"] == "fault"
    assert codes["tensorboard"][0]["level"] == "note"
    levels = [one["level"] for one in json.loads(done.stdout)["findings"]]
    assert levels[: levels.count("fault")] == ["fault"] * levels.count("fault")


def test_a_missing_package_is_named_with_how_to_install_it(check):
    done = check("lacking", module="import no_such_thing_at_all.part\n")
    assert done.returncode == 1
    assert "the package 'no_such_thing_at_all' is not installed" in done.stdout
    assert "lacking.py:1" in done.stdout
    assert "-m pip install no-such-thing-at-all" in done.stdout


PREVENTED = {
    "crash": ("import ctypes; ctypes.string_at(0)", "crashed while importing"),
    "_exit": ("import os; os._exit(7)", "ended its process while importing m__exit (exit code 7)"),
    "exit": ("import sys; sys.exit(7)", "ends the process while it is imported (exit code 7)"),
    "fail": ("1 / 0", "ZeroDivisionError: division by zero"),
    "deep": ("from deepaas.cmd import run", "not supplied in the place of DEEPaaS"),
    "bare": ("x = 1", "neither predict() nor train()"),
    "number": (
        "def predict(): pass\ndef get_predict_args(): return 3",
        "no set of arguments",
    ),
    "type": (
        "def predict(x): pass\ndef get_predict_args(): return {'x': int}",
        "which is no field",
    ),
    "key": ("def predict(): pass\ndef get_predict_args(): return {}['k']", "KeyError: 'k'"),
}
NATIVE = {
    "no-methods": "neither a predict() nor a train()",
    "missing-parameter": "does not take this argument",
    "bad-default": "refused by the field itself",
    "not-a-field": "is no field",
}


@pytest.fixture(scope="module")
def checked(modelyard, tmp_path_factory):
    """What the command said of all those, by name: two processes at a time."""
    folder = tmp_path_factory.mktemp("prevented")
    for name, (text, _) in PREVENTED.items():
        (folder / f"m_{name}.py").write_text(text)

    def check(name):
        entrypoint = f"m_{name}" if name in PREVENTED else name
        return name, modelyard("plugin", "check", entrypoint, cwd=folder, plugins=PLUGINS)

    with ThreadPoolExecutor(2) as threads:
        return dict(threads.map(check, [*PREVENTED, *NATIVE]))


@pytest.mark.parametrize("name", PREVENTED)
def test_what_prevents_serving_is_told_and_exits_with_1(checked, name):
    assert checked[name].returncode == 1, checked[name].stdout
    assert PREVENTED[name][1] in checked[name].stdout


def test_a_module_that_hangs_is_ended_and_told(check):
    begun = time.monotonic()
    done = check("hanging", "--timeout", "2", module="import time; time.sleep(600)")
    assert done.returncode == 1
    assert "It was still importing hanging after 2 s." in done.stdout
    assert time.monotonic() - begun < 20


def test_a_module_that_stops_itself_is_ended_long_before_the_timeout_and_told(check):
    stop = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    done = check("stopping", "--timeout", "600", module=stop)
    assert done.returncode == 1
    assert "stopped by a signal (SIGSTOP) while importing stopping" in done.stdout


def test_a_text_of_megabytes_is_cut_and_no_terminal_is_deceived(check):
    done = check("long", module="raise ValueError('\\x1b[2Jwrong ' + 'x' * 1_000_000)")
    assert done.returncode == 1 and len(done.stdout) < 4000
    assert "ValueError: \\x1b[2Jwrong xxx" in done.stdout and "more characters)" in done.stdout


def test_what_a_module_prints_does_not_disturb_the_json(check):
    done = check("loud", "--json", module="print('{')\ndef predict(): pass\n")
    assert done.returncode == 0
    assert json.loads(done.stdout)["servable"] is True


@pytest.mark.parametrize("name", NATIVE)
def test_faults_of_the_native_contract_are_told_as_the_server_tells_them(checked, name):
    assert checked[name].returncode == 1
    assert NATIVE[name] in checked[name].stdout
    assert "model of the native contract" in checked[name].stdout


def test_the_contract_of_a_module_is_guessed_and_can_be_said(check):
    text = (
        "from marshmallow import fields\n"
        "from modelyard.models_plugin.contract import Model\n"
        "class Doubler(Model):\n"
        "    predict_arguments = {'x': fields.Float(required=True)}\n"
        "    def predict(self, x): return 2 * x\n"
    )
    done = check("doubling:Doubler", module=text)
    assert done.returncode == 0, done.stdout
    assert "native contract" in done.stdout
    assert "DEEPaaS module" in check("doubling:Doubler", "--group", "deepaas").stdout


def test_two_plugins_of_one_name_and_a_name_unfit_for_urls_are_told(check, tmp_path, monkeypatch):
    for package, points in (("first", "same = a\n"), ("second", "same = b\nmy model = c\n")):
        info = tmp_path / f"{package}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {package}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[deepaas.v2.model]\n{points}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = check("same")
    assert done.returncode == 1 and "Two plugins have the name 'same'" in done.stdout
    done = check("my model")
    assert done.returncode == 1 and "cannot stand in a URL" in done.stdout


def test_a_model_is_checked_in_an_interpreter_of_its_own(check, tmp_path):
    python = tmp_path / "own-python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={PLUGINS} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = check("old-demo", "--python", python, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["python"] == str(python)
    done = check("old-demo", "--python", tmp_path / "nowhere")
    assert done.returncode == 1 and "does not exist" in done.stdout


def test_what_is_neither_model_nor_module_is_a_usage_error(check):
    done = check("no-such-model")
    assert done.returncode == 2
    assert "Installed models: " in done.stderr and "old-demo" in done.stderr


def test_a_module_that_prints_without_end_fills_no_disk_and_is_ended_in_time(check):
    def no_large_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**24, 2**24))

    started = time.monotonic()
    done = check(
        "noisy", "--timeout", "3", "--json",
        module="while True:\n    print('x' * 100_000)\n",
        preexec_fn=no_large_files,
    )  # fmt: skip
    assert time.monotonic() < started + 60
    (broken,) = found(done)["broken-off"]
    assert "still importing noisy after 3 s" in broken["what"]
    assert len(broken["what"]) < 50_000


@pytest.mark.slow
def test_an_interpreter_that_hangs_is_given_up_within_the_timeout(check, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nsleep 60\n")
    python.chmod(0o755)
    started = time.monotonic()
    done = check("x", "--python", python, "--timeout", "2", "--json")
    assert time.monotonic() < started + 40
    assert "within 2 s" in found(done)["interpreter"][0]["what"]


DEFAULTS = """
from webargs import fields

def nothing():
    raise KeyError("no such thing")

def get_predict_args():
    return {
        "made": fields.Str(missing=lambda: "zz", enum=["a", "b"]),
        "fails": fields.Str(missing=nothing),
        "good": fields.DateTime(missing=__import__("datetime").datetime.now),
        "listed": fields.Str(enum=["caf\\udce9", "b"]),
        "said": fields.Str(missing="caf\\udce9"),
    }

def predict(**given):
    return given
"""


def test_defaults_that_functions_make_are_checked_too(check):
    codes = found(check("defaults", "--json", module=DEFAULTS))
    (refused,) = codes["default-refused"]
    assert "default of made, 'zz' (of its function), is refused" in refused["what"]
    assert (refused["level"], refused["where"][:12]) == ("differs", "predict.made")
    (failing,) = codes["default-fails"]
    assert "KeyError: 'no such thing'" in failing["what"] and failing["level"] == "fault"


def test_texts_that_no_client_can_send_are_told(check):
    choice, default = found(check("defaults", "--json", module=DEFAULTS))["no-utf-8"]
    assert "The choice 'caf\\udce9' of listed is no UTF-8" in choice["what"]
    assert "The default 'caf\\udce9' of said is no UTF-8" in default["what"]
    assert choice["level"] == "differs" and "os.fsencode" in choice["remedy"]


def install(folder, name, version, *requires):
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {one}" for one in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    return info


def test_an_environment_that_misses_what_the_server_needs_is_told(check, tmp_path, monkeypatch):
    install(tmp_path, "aiohttp", "3.9.5")
    info = install(tmp_path, "pinning", "1.0", "aiohttp<3.10", "numpy")
    (info / "entry_points.txt").write_text("[deepaas.v2.model]\npinning = pinned\n")
    (tmp_path / "pinned.py").write_text("def predict():\n    return 1\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = check("pinning", "--json")
    (finding,) = found(done)["requirements"]
    assert finding["level"] == "differs" and done.returncode == 0
    assert re.search(r"needs aiohttp\S+, and 3\.9\.5 is installed", finding["what"])
    assert "pinning requires aiohttp<3.10" in finding["what"]
    assert "python = " in finding["remedy"]


def test_a_server_that_does_not_even_start_there_is_a_fault(check, tmp_path, monkeypatch):
    install(tmp_path, "apispec", "5.0")
    (tmp_path / "apispec").mkdir()
    (tmp_path / "apispec" / "__init__.py").write_text("raise ImportError('too old')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = check("small", "--json", module="def predict():\n    return 1\n")
    (finding,) = found(done)["requirements"]
    assert finding["level"] == "fault" and done.returncode == 1
    assert "too old" in finding["what"]


def test_an_environment_that_has_all_is_not_spoken_of(check):
    assert "requirements" not in found(check("defaults", "--json", module=DEFAULTS))
