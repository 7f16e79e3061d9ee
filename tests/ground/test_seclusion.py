"""What a process knows is hidden from others of its user; the kernel's own files are asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.seclusion import plain_environment

SECLUDED = """
import ctypes, os, resource, subprocess, sys
from modelyard.seclusion import seclude
seclude()
print(os.environ["STORE_KEY"], os.environ["HOME"])
print(subprocess.run(["printenv", "STORE_KEY"], capture_output=True, text=True).stdout.strip())
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0] <= 1)
sys.stdout.flush()
sys.stdin.read()
"""


@pytest.fixture
def secluded():
    environ = {**os.environ, "STORE_KEY": "canary-of-the-store", "HOME": "/of/somebody"}
    with subprocess.Popen(
        [sys.executable, "-c", SECLUDED],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


def test_a_variable_is_blanked_where_others_see_it_and_stays_for_the_process_itself(secluded):
    own, child, kernel = (secluded.stdout.readline().strip() for _ in range(3))
    assert own == "canary-of-the-store /of/somebody"
    assert child == "canary-of-the-store"
    assert kernel == "0 True"  # not to be dumped, nor looked into
    try:
        shown = Path(f"/proc/{secluded.pid}/environ").read_bytes()
    except PermissionError:  # whoever is not root sees nothing at all
        return
    assert b"canary" not in shown
    assert b"HOME=/of/somebody" in shown.split(b"\0")


def test_another_process_of_the_user_cannot_look_into_it(secluded):
    for _ in range(3):
        secluded.stdout.readline()
    if _can_trace():
        pytest.skip("this user may look into every process: it has CAP_SYS_PTRACE")
    for name in ("environ", "mem", "maps"):
        with pytest.raises(PermissionError), open(f"/proc/{secluded.pid}/{name}", "rb") as file:  # noqa: PTH123
            file.read(1)


def _can_trace() -> bool:
    lines = Path("/proc/self/status").read_text().splitlines()
    (effective,) = (line.split()[1] for line in lines if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> 19 & 1)


@pytest.mark.parametrize(
    "name", ["AWS_SECRET_ACCESS_KEY", "MODELYARD_STORAGE", "GITHUB_TOKEN", "DATABASE_URL", "MINE"]
)
def test_processes_that_need_no_secret_get_none(name):
    assert plain_environment({name: "x", "PATH": "/bin", "PYTHONPATH": "/p"}) == {
        "PATH": "/bin",
        "PYTHONPATH": "/p",
    }
