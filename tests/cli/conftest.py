"""Runs the command line as a user does: a process with its exit code and its two outputs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def modelyard():
    """`modelyard(*words, url=...)` runs the command and returns the completed process."""

    def run(*words: object, url: str | None = None, timeout: float = 60, cwd=None, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("MODELYARD_")}
        env["COLUMNS"] = "100"
        if url is not None:
            env["MODELYARD_URL"] = url
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
