"""The audit log: whole lines by several writers, files of a bounded size, and no more of them."""

import json
import resource
import subprocess
import sys

from modelyard.records.audit import CHANGES, REFUSED, AuditLog, Rotation

SIZE, KEPT = 2000, 3
ROTATION = {name: Rotation(SIZE, KEPT) for name in (CHANGES, REFUSED)}
LINES = 150
WRITER = """
import sys
from pathlib import Path
from modelyard.records.audit import AuditLog, Rotation
audit = AuditLog(Path(sys.argv[1]), {"changes.jsonl": Rotation(4000, 1000)})
for number in range(int(sys.argv[3])):
    audit.write("changes.jsonl", principal=sys.argv[2], number=number, text="x" * number)
"""


def lines_of(folder, name):
    """All that is kept, the oldest first; every line is whole JSON."""
    files = sorted(folder.glob(f"{name}.*"), key=lambda path: -int(path.suffix[1:]))
    return [json.loads(line) for path in [*files, folder / name] for line in path.open()]


def test_older_lines_are_kept_in_numbered_files_of_a_bounded_size_and_then_go(tmp_path):
    audit = AuditLog(tmp_path / "audit", ROTATION)
    for number in range(3 * LINES):
        audit.write(CHANGES, number=number)
    names = {path.name for path in (tmp_path / "audit").iterdir()}
    assert names == {"lock", CHANGES, *(f"{CHANGES}.{n}" for n in range(1, KEPT + 1))}
    numbers = [line["number"] for line in lines_of(tmp_path / "audit", CHANGES)]
    assert numbers == list(range(numbers[0], 3 * LINES)), "the newest, in order, without a gap"
    assert numbers[0] > LINES
    for path in (tmp_path / "audit").glob(f"{CHANGES}*"):
        assert path.stat().st_size < SIZE + 100 and path.stat().st_mode & 0o077 == 0


def test_a_flood_of_refused_requests_pushes_no_change_out(tmp_path):
    audit = AuditLog(tmp_path, ROTATION)
    audit.write(CHANGES, number=1)
    for number in range(10 * LINES):
        audit.write(REFUSED, number=number)
    assert [line["number"] for line in lines_of(tmp_path, CHANGES)] == [1]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < (KEPT + 2) * SIZE


def test_several_processes_write_whole_lines_and_lose_none_while_files_are_renamed(tmp_path):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, name, str(LINES)])
        for name in ("server", "keys", "doctor")
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    lines = lines_of(tmp_path, CHANGES)
    assert len(list(tmp_path.iterdir())) > 5, "files were renamed meanwhile"
    for name in ("server", "keys", "doctor"):
        numbers = [line["number"] for line in lines if line["principal"] == name]
        assert numbers == list(range(LINES))


def test_a_disk_that_is_full_in_the_middle_of_a_line_spoils_no_other(tmp_path):
    audit = AuditLog(tmp_path)
    audit.write(CHANGES, number=1)
    size = (tmp_path / CHANGES).stat().st_size
    limit = resource.RLIMIT_FSIZE
    done = subprocess.run(
        [sys.executable, "-c", WRITER, tmp_path, "server", "50"],
        preexec_fn=lambda: resource.setrlimit(limit, (size + 10, size + 10)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "OSError" in done.stderr
    audit.write(CHANGES, number=2)
    assert [line["number"] for line in lines_of(tmp_path, CHANGES)] == [1, 2]
