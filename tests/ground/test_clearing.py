"""Whatever a plugin left in a folder, the folder goes; nothing keeps a server from starting."""

import os
import subprocess
import sys

import pytest

from modelyard.clearing import make_folder, remove_tree
from modelyard.records.home import Home

NEST = """
import os, sys
os.chdir(sys.argv[1])
for _ in range(1050):
    open("file", "w").close()
    os.mkdir("deep")
    os.chdir("deep")
"""


def test_folders_are_made_for_one_user_with_their_parents(tmp_path):
    before = os.umask(0)
    try:
        make_folder(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(before)
    for folder in ("a", "a/b", "a/b/c"):
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o700
    (tmp_path / "a").chmod(0o755)
    make_folder(str(tmp_path / "a"))
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755, "as it is"
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    for wrong in ("file", "file/inner", "nowhere", "nowhere/inner"):
        with pytest.raises(OSError):
            make_folder(tmp_path / wrong)


def test_a_server_starts_whatever_was_left_in_its_temporary_folder(tmp_path):
    """Folders deeper than Python's stack and than the longest path, shut ones, links, a pipe."""
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o755)
    (kept / "file").write_text("mine")
    home = Home(tmp_path / "home")
    home.open()
    home.close()
    (home.tmp / "loop").symlink_to(home.root)
    os.mkfifo(home.tmp / "pipe")
    inner = home.workers / "a" / ".0"
    inner.mkdir(parents=True)
    (inner / "link").symlink_to(kept)
    subprocess.run([sys.executable, "-c", NEST, str(inner)], check=True)
    inner.chmod(0)
    inner.parent.chmod(0)
    home.open()
    home.close()
    assert {path.name for path in home.tmp.rglob("*")} == {"calls", "workers"}
    assert home.format_file.exists()
    assert (kept / "file").read_text() == "mine" and kept.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("kind", ["file", "pipe", "link", "lost link", "nothing"])
def test_what_is_no_folder_is_removed_too_and_a_link_is_not_followed(tmp_path, kind):
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o755)
    (kept / "file").write_text("mine")
    one = tmp_path / "one"
    if kind == "file":
        one.write_text("a")
    elif kind == "pipe":
        os.mkfifo(one)
    elif kind.endswith("link"):
        one.symlink_to(kept if kind == "link" else tmp_path / "nowhere")
    assert remove_tree(one) and not os.path.lexists(one)
    assert (kept / "file").read_text() == "mine" and kept.stat().st_mode & 0o777 == 0o755
