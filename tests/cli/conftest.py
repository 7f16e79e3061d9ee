"""Runs the command line as a user does: a process with its exit code and its two outputs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[1] / "old_plugins"


@pytest.fixture(scope="session")
def modelyard():
    """`modelyard(*words, url=...)` runs the command and returns the completed process.

    `plugins` are folders that stand first on its PYTHONPATH.
    """

    def run(
        *words: object,
        url: str | None = None,
        timeout: float = 60,
        cwd=None,
        plugins: str | None = None,
        more_env: dict[str, str] | None = None,
        **more,
    ):
        env = {k: v for k, v in os.environ.items() if not k.startswith("MODELYARD_")}
        env |= {"COLUMNS": "100", **(more_env or {})}
        if url is not None:
            env["MODELYARD_URL"] = url
        if plugins is not None:
            paths = [plugins, env.get("PYTHONPATH", "")]
            env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        return subprocess.run(
            [sys.executable, "-m", "modelyard", *map(str, words)],
            env=env,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            **more,
        )

    return run


@pytest.fixture
def site(tmp_path):
    """A folder that holds the fixtures' modules and a package, whose models `cli` sets."""
    folder = tmp_path / "site"
    info = folder / "some_models-0.1.dist-info"
    info.mkdir(parents=True)
    (folder / "old_modules").symlink_to(PLUGINS / "old_modules")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-models\nVersion: 0.1\n")
    return folder


@pytest.fixture
def cli(site, old_environment, tmp_path, monkeypatch):
    """`cli(module, *words)` runs the command with that module as the only model installed."""
    monkeypatch.chdir(tmp_path)

    def run(modules, *words, **env):
        if isinstance(modules, str):
            modules = {"the-model": modules}
        points = "".join(f"{name} = {value}\n" for name, value in modules.items())
        (site / "some_models-0.1.dist-info" / "entry_points.txt").write_text(
            f"[deepaas.v2.model]\n{points}"
        )
        return subprocess.run(
            [sys.executable, "-m", "modelyard.cli.deepaas_cli", *map(str, words)],
            env={**old_environment, **env},
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def old_environment(site, tmp_path):
    """The environment in which `site` is installed; temporary files go to `tmp_path`/tmp."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MODELYARD_", "DEEPAAS_"))}
    path = {"PYTHONPATH": str(site), "COLUMNS": "100", "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    return {**kept, **path}


@pytest.fixture
def returned():
    """`returned(done)` is what stands behind `return: ` at the end of the log."""

    def read(done):
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.split("return: ", 1)[1].rstrip("\n")

    return read


@pytest.fixture
def write_module(site):
    """`write_module(name, text)` puts a module beside the fixtures."""

    def write(name, text):
        (site / f"{name}.py").write_text(text)
        return name

    return write
