"""pip leaves DEEPaaS out where Modelyard stands in for it."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment with this one's packages at hand, and none of its own."""
    folder = tmp_path / "env"
    venv.create(folder, with_pip=False)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    outside = sysconfig.get_path("purelib")
    (site / "site-packages" / "outside.pth").write_text(
        f"import site; site.addsitedir({outside!r})\n"  # so that .pth files there count too
    )
    return folder


def _run(environment: Path, *command: str) -> subprocess.CompletedProcess[str]:
    python = environment / "bin" / "python"
    words = [python, *command]
    if command[:2] == ("-m", "pip"):  # ours, for that environment: a pip there takes long to make
        words = [sys.executable, "-m", "pip", "--python", python, *command[2:]]
    return subprocess.run(words, text=True, capture_output=True, check=False)


CALL = "from modelyard.cli.plugin import plugin; plugin()"


def test_pip_takes_deepaas_as_installed(environment: Path) -> None:
    before = _run(environment, "-m", "pip", "install", "--no-index", "deepaas>=2.2")
    assert before.returncode != 0
    made = _run(environment, "-c", CALL, "stand-in")
    assert made.returncode == 0, made.stderr
    after = _run(environment, "-m", "pip", "install", "--no-index", "deepaas>=2.2")
    assert after.returncode == 0, after.stderr
    assert "already satisfied" in after.stdout


@pytest.mark.slow
def test_stand_in_can_be_uninstalled_by_pip(environment: Path) -> None:
    _run(environment, "-c", CALL, "stand-in")
    gone = _run(environment, "-m", "pip", "uninstall", "-y", "deepaas")
    assert gone.returncode == 0, gone.stderr
    shown = _run(environment, "-m", "pip", "show", "deepaas")
    assert shown.returncode != 0


def test_stand_in_can_be_removed(environment: Path) -> None:
    _run(environment, "-c", CALL, "stand-in")
    assert _run(environment, "-c", CALL, "stand-in", "--remove").returncode == 0
    assert _run(environment, "-m", "pip", "show", "deepaas").returncode != 0


def test_real_deepaas_is_not_overwritten(environment: Path) -> None:
    _run(environment, "-c", CALL, "stand-in")
    record = next(environment.glob("lib/python3*/site-packages/deepaas-*.dist-info/INSTALLER"))
    record.write_text("pip\n")
    refused = _run(environment, "-c", CALL, "stand-in")
    assert refused.returncode == 1
    assert "pip uninstall deepaas" in refused.stderr
