"""What a model prints goes to a log, and is never a reason to fail."""

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from modelyard.models_plugin.redaction import hiding

PRINTS = """
import os, sys
from modelyard.models_plugin.redaction import install_output
install_output()
for number in range(3000):
    print("a line for the log", number)
print("and one of its errors", file=sys.stderr)
sys.stdout.flush()
os.write(int(sys.argv[1]), b"all is printed")
"""


def test_lines_that_a_full_disk_does_not_take_are_lost_and_nothing_fails(tmp_path: Path) -> None:
    told = tmp_path / "told"
    with Path("/dev/full").open("wb") as full, told.open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-c", PRINTS, str(file.fileno())],
            stdout=full,
            stderr=full,
            pass_fds=[file.fileno()],
        )
    assert (done.returncode, told.read_bytes()) == (0, b"all is printed")


@pytest.mark.parametrize("value", ["hidden\udcff", "\ud83dhidden", "hid/d\u00e4n & words"])
def test_a_secret_is_hidden_also_where_bytes_of_a_header_were_no_text(value: str) -> None:
    hide = hiding([value])
    assert hide is not None
    url = quote(value.encode(errors="replace"))
    for told in (value, repr(value), json.dumps(value), url):
        assert "[secret]" in hide(told) and "hid" not in hide(told), told
