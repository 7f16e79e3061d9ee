"""The home folder: taken by one server, restricted, never somebody else's."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.errors import CannotStart, HomeInUse
from modelyard.records.home import Home


def test_new_home_has_its_folders_for_its_user_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    home.open()
    for folder in (home.root, home.runs, home.weights, home.logs, home.tensorboard, home.calls):
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o777 == 0o700
    home.close()


def test_home_that_others_could_read_is_restricted(tmp_path: Path) -> None:
    Home(tmp_path).open()
    tmp_path.chmod(0o755)
    with pytest.raises(HomeInUse):
        Home(tmp_path).open()


def test_home_opened_again_is_restricted_and_its_calls_swept(tmp_path: Path) -> None:
    root = tmp_path / "home"
    home = Home(root)
    home.open()
    (home.calls / "a call").mkdir()
    (home.calls / "a call" / "upload.png").write_bytes(b"left")
    (home.tmp / "file").write_bytes(b"left")
    (home.tmp / "link").symlink_to(tmp_path)
    (home.workers / "one" / "shut").mkdir(parents=True)
    (home.workers / "one" / "shut").chmod(0)
    home.close()
    root.chmod(0o755)
    home.open()
    assert root.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in home.tmp.rglob("*")) == ["calls", "workers"]
    assert tmp_path.exists()
    home.close()


def test_second_server_is_refused_with_the_pid_of_the_holder(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from modelyard.records.home import Home\n"
        "Home(pathlib.Path(sys.argv[1])).open(); print('open', flush=True); sys.stdin.read()"
    )
    root = tmp_path / "home"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"open\n"
    with pytest.raises(HomeInUse, match=f"pid {holder.pid}") as caught:
        Home(root).open()
    assert caught.value.exit_code == 4
    assert caught.value.details["pid"] == holder.pid
    holder.kill()
    holder.wait()
    home = Home(root)
    home.open()  # a killed server leaves no lock behind
    home.close()


def test_lock_is_not_inherited_by_other_programs(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.open()
    code = "import os; print([os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}')])"  # noqa: E501
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, close_fds=False
    )
    assert "lock" not in out.stdout
    flags = fcntl.fcntl(home._lock or -1, fcntl.F_GETFD)
    assert flags & fcntl.FD_CLOEXEC
    home.close()


def test_folder_with_other_things_is_not_made_a_home(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "draft").write_text("precious too")
    mode = tmp_path.stat().st_mode
    with pytest.raises(CannotStart, match="holds other things"):
        Home(tmp_path).open()
    assert (tmp_path / "tmp" / "draft").exists()
    assert tmp_path.stat().st_mode == mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.txt", "tmp"]


def test_empty_volume_becomes_a_home(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    home = Home(tmp_path)
    home.open()
    home.close()


def test_home_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.open()
    home.close()
    home.format_file.write_text(json.dumps({"format": 99}))
    with pytest.raises(CannotStart, match="newer release"):
        home.open()
    home.format_file.write_text("{}")
    with pytest.raises(CannotStart, match="is damaged"):
        home.open()
    home.format_file.write_text(json.dumps({"format": 1}))
    home.open()
    home.close()


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_lost_records_are_told_and_not_replaced(tmp_path: Path, how: str) -> None:
    home = Home(tmp_path)
    home.open()
    home.close()
    (home.runs / ("a" * 32)).mkdir()
    if how == "empty":
        home.database.touch()
    with pytest.raises(CannotStart, match=r"records\.db: is missing or empty"):
        home.open()
    assert (home.runs / ("a" * 32)).exists()


def test_records_that_a_server_has_saved_are_told_and_not_forgotten_for_new_ones(tmp_path):
    """Also where there is no run and no weights version: keys are records too."""
    home = Home(tmp_path)
    home.open()
    home.close()
    (tmp_path / "records.db.saved-20260102T000000Z").touch()  # the disk was full: nothing in it
    home.open()
    home.close()
    assert home.lost() is None
    for day in (3, 4):
        (tmp_path / f"records.db.saved-2026010{day}T000000Z").write_bytes(b"records")
    with pytest.raises(CannotStart, match=r"saved what it held: .*0104T000000Z, the newest of 2"):
        home.open()
    assert not home.database.exists()
    (tmp_path / "records.db.saved-20260104T000000Z").rename(home.database)
    home.open()
    home.close()


def test_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(CannotStart, match="is a file, or lies below one"):
        Home(path).open()


def test_two_homes_can_be_open_in_one_process(tmp_path: Path) -> None:
    homes = [Home(tmp_path / name) for name in ("one", "two")]
    for home in homes:
        home.open()
    assert homes[0].database != homes[1].database
    assert (tmp_path / "one" / "lock").read_text() == f"{os.getpid()}\n"
    for home in homes:
        home.close()


def test_home_has_an_id_that_stays_also_of_a_home_of_a_release_before(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        home = Home(tmp_path / "home")
        home.open()
        ids.append(home.server_id)
        home.close()
    assert ids[0] == ids[1] and len(ids[0]) == 32
    home.format_file.write_text('{"format": 1}')
    home.open()
    assert len(home.server_id) == 32 and home.server_id not in ids
    assert json.loads(home.format_file.read_text())["server"] == home.server_id
    home.close()
