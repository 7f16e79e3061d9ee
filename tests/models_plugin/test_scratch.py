"""Where a plugin's process keeps temporary files, and what its libraries keep for the next one."""

import os
import subprocess
import sys
import time
from pathlib import Path

from modelyard.clearing import remove_tree
from modelyard.models_plugin.environment import plugin_environment
from modelyard.models_plugin.plugin import PluginSource
from modelyard.models_plugin.scratch import OwnFolders
from modelyard.serving.temporary import LONGEST_S, LONGEST_WHEN_FULL_S, TemporaryFiles

SHARING = """
import multiprocessing, os, sys
from modelyard.models_plugin.scratch import use_temporary_folder
use_temporary_folder()
if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        print(manager.list([1, 2]), os.listdir(os.environ["TMPDIR"]))
"""
SOURCE = PluginSource("one", "one:One")


def test_processes_share_through_sockets_however_long_the_homes_path_is(tmp_path):
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    environ = {**os.environ, "TMPDIR": str(folder)}
    told = subprocess.run(
        [sys.executable, "-c", SHARING], env=environ, capture_output=True, text=True, check=False
    )
    assert told.stdout.startswith("[1, 2] ['listener-"), told.stderr


def test_a_models_own_table_may_name_another_temporary_folder(tmp_path):
    folders = OwnFolders(tmp_path / "tmp", tmp_path / "cache")
    seen = plugin_environment(SOURCE, {"TMPDIR": "/scratch"}, environ={}, folders=folders)
    assert seen["TMPDIR"] == "/scratch"
    server = {"TMPDIR": "/var/of-the-server", "TEMP": "/var/of-the-server"}
    seen = plugin_environment(SOURCE, {}, environ=server, folders=folders)
    assert {seen[name] for name in ("TMPDIR", "TMP", "TEMP")} == {str(tmp_path / "tmp")}


def test_caches_that_somebody_has_placed_stay_there(tmp_path):
    folders = OwnFolders(tmp_path / "tmp", tmp_path / "cache")
    environ = {"TORCHINDUCTOR_CACHE_DIR": "/fast", "HOME": str(tmp_path)}
    seen = plugin_environment(SOURCE, {}, environ=environ, folders=folders)
    assert seen["TORCHINDUCTOR_CACHE_DIR"] == "/fast"
    assert seen["TFHUB_CACHE_DIR"] == str(tmp_path / "cache" / "tensorflow-hub")
    assert "MPLCONFIGDIR" not in seen  # the account's settings of matplotlib are honoured
    nowhere = {"HOME": "/dev/null"}
    seen = plugin_environment(SOURCE, {}, environ=nowhere, folders=folders)
    assert seen["MPLCONFIGDIR"] == str(tmp_path / "cache" / "matplotlib")


def test_a_folder_that_nobody_may_enter_is_removed_and_links_are_not_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    folder = tmp_path / "folder"
    (folder / "shut" / "deep").mkdir(parents=True)
    (folder / "shut" / "deep" / "file").touch()
    (folder / "link").symlink_to(kept)
    (folder / "shut").chmod(0)
    assert remove_tree(folder)
    assert not folder.exists() and (kept / "file").exists()
    assert remove_tree(folder)


def test_what_calls_leave_goes_after_an_hour_and_what_is_in_use_stays(tmp_path):
    names = ("loaded", "left", "open", "folder")
    (tmp_path / "loaded").touch()
    leftovers = TemporaryFiles(str(tmp_path))
    leftovers.begin()
    for name in names[1:3]:
        (tmp_path / name).write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "loaded")

    def there():
        return {path.name for path in tmp_path.iterdir()}

    now = time.time()
    with (tmp_path / "open").open():
        leftovers.sweep(LONGEST_S, now + LONGEST_S - 60)
        assert there() == {*names, "link"}
        future = now + LONGEST_S + 60
        os.utime(tmp_path / "folder" / "file", (future, future))
        leftovers.sweep(LONGEST_S, future)
        assert there() == {"loaded", "open", "folder"}
    leftovers.sweep(LONGEST_WHEN_FULL_S, now + 3 * LONGEST_S)
    assert there() == {"loaded"}
    assert Path(tmp_path / "loaded").exists()


def test_folders_nested_too_deep_to_look_through_do_not_keep_the_rest(tmp_path):
    leftovers = TemporaryFiles(str(tmp_path))
    nest = "import os\nfor _ in range(1050):\n    os.mkdir('d')\n    os.chdir('d')\n"
    subprocess.run([sys.executable, "-c", nest], cwd=tmp_path, check=True)
    for number in range(20):
        (tmp_path / f"left{number}").touch()
    try:
        leftovers.sweep(LONGEST_S, time.time() + LONGEST_S + 60)
        assert {path.name for path in tmp_path.iterdir()} <= {"d"}
    finally:
        assert remove_tree(tmp_path / "d")  # pytest could not
