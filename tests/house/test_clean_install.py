"""The wheel in a new environment, started where the author's own `api/` and `schemas/` stand.

The libraries come from the environment of the tests by a path file, since installing torch again
takes minutes; `modelyard` itself is the wheel's, and the plugin is installed with pip as any is.
"""

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PLUGIN = '''
from marshmallow import Schema, fields


class Doubler:
    """Doubles a number."""

    weights_optional = True

    class predict_arguments(Schema):
        number = fields.Integer(required=True)

    def predict(self, number):
        return {"doubled": 2 * number}
'''
PLUGIN_SETUP = """
[metadata]
name = a-doubler
version = 1.2.3
[options]
py_modules = a_doubler
[options.entry_points]
modelyard.models =
    doubler = a_doubler:Doubler
"""
EXPLODES = "raise RuntimeError('the server imported a folder that is not its own')\n"


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of a new environment with the wheel and the plugin."""
    folder = tmp_path_factory.mktemp("clean")
    tree, plugin = folder / "tree", folder / "plugin"
    for path in (tree, plugin):
        path.mkdir()
    # The tree without what is not of the package: builds are made in place.
    rooms = [p.parent.name for p in ROOT.glob("*/__init__.py")]
    beside = ["py.typed", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"]
    names = [*rooms, *(p.name for p in ROOT.glob("*.py")), *beside]
    run("cp", "-r", *(ROOT / name for name in names), tree, cwd=folder)
    (plugin / "a_doubler.py").write_text(PLUGIN)
    (plugin / "setup.cfg").write_text(PLUGIN_SETUP)
    (plugin / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    )
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    for source in (tree, plugin):
        run(*build, source, cwd=folder)
    run(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    site = Path(
        run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=folder).strip()
    )
    # First on sys.path stands the environment's own folder, so `modelyard` there hides the other.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    wheels = (folder / "dist").glob("*.whl")
    # Our pip, for that environment: one of its own would take seconds to install.
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    run(
        *pip,
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--ignore-installed",
        *wheels,
        cwd=folder,
    )
    return python


@pytest.fixture
def authors_folder(tmp_path) -> Path:
    """A model author's repository: packages of the same names as our rooms, and more."""
    rooms = ("api", "schemas", "settings", "storage", "training", "cli", "client", "web")
    for name in (*rooms, "records"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(EXPLODES)
    (tmp_path / "errors.py").write_text(EXPLODES)
    return tmp_path


def test_the_package_comes_from_the_wheel(python, authors_folder):
    where = run(python, "-c", "import modelyard; print(modelyard.__file__)", cwd=authors_folder)
    assert Path(where.strip()).is_relative_to(python.parents[1])


def test_a_server_started_in_an_authors_folder_predicts(python, authors_folder):
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("MODELYARD_", "PYTHON"))}
    command = [python.parent / "modelyard", "serve", "--port", "0", "--model-name", "doubler"]
    with subprocess.Popen(
        command,
        cwd=authors_folder,
        env={**environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        try:
            url = address(server)
            answer = predict(url, {"number": 21})
            assert answer["predictions"] == {"doubled": 42}
            server.send_signal(signal.SIGTERM)
            assert server.wait(20) == 0
        finally:
            server.kill()


def address(server: "subprocess.Popen[str]") -> str:
    """Where the server says that it listens."""
    seen = []
    assert server.stdout is not None
    for line in server.stdout:
        seen.append(line)
        found = re.search(r"listening on (http://\S+?)/?$", line.strip())
        if found:
            return found.group(1)
    raise AssertionError("the server ended:\n" + "".join(seen))


def predict(url: str, arguments: dict[str, object], timeout_s: float = 60) -> dict:
    """Asks until the model is loaded."""
    request = urllib.request.Request(
        f"{url}/v2/models/doubler/predict/",
        json.dumps(arguments).encode(),
        {"Content-Type": "application/json"},
    )
    until = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > until:
                raise AssertionError(f"{error.code}: {error.read().decode()}") from error
            time.sleep(0.2)
