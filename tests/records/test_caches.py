"""What models' libraries keep in a home: within its bound, whatever a plugin or a kill does."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from modelyard.records.caches import GRACE_S, ModelCaches

KILO = 1024


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "cache"
    made.mkdir()
    return made


def put(path, kilobytes=64, ago_s=7 * 86_400.0):
    """A file as a library keeps it, used so long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(kilobytes * KILO))
    used(path, ago_s)
    return path


def used(path, ago_s):
    for one in (*path.parents, path):
        if "cache" in one.parts[:-1]:
            os.utime(one, (time.time() - ago_s, time.time() - ago_s))


def test_what_was_used_longest_ago_goes_until_the_rest_fits(folder):
    days = {n: put(folder / "m" / "tiktoken" / f"f{n}", ago_s=n * 86_400) for n in (3, 1, 5, 2, 4)}
    swept = ModelCaches(folder, limit=200 * KILO).sweep(time.time())
    assert [n for n, path in days.items() if path.exists()] == [3, 1, 2]
    assert swept.removed == 128 * KILO and swept.size <= 200 * KILO
    assert not (folder / ".gone").exists()


def test_a_file_that_was_read_lately_was_used_lately(folder):
    old, read = (put(folder / "m" / "tiktoken" / name) for name in ("old", "read"))
    os.utime(read, (time.time() - 2 * GRACE_S, read.stat().st_mtime))
    ModelCaches(folder, limit=64 * KILO).sweep(time.time())
    assert (old.exists(), read.exists()) == (False, True)


def test_what_belongs_together_goes_together(folder):
    hub = folder / "m" / "tensorflow-hub"
    module = [put(hub / "abc" / name) for name in ("saved_model.pb", "variables/data")]
    put(hub / "abc.descriptor.txt", 1, ago_s=86_400)
    kernels = [put(folder / "m" / "torchinductor" / "fxgraph" / "ab" / n / "k") for n in "xy"]
    used(kernels[1], 86_400)
    ModelCaches(folder, limit=100 * KILO).sweep(time.time())
    assert [path.exists() for path in module] == [False, False]
    assert [path.exists() for path in kernels] == [False, True], "each kernel stands for itself"


def test_what_was_used_a_moment_ago_stays_though_it_is_too_much(folder):
    path = put(folder / "m" / "tensorflow-hub" / "abc" / "data", 500, ago_s=GRACE_S / 2)
    caches = ModelCaches(folder, limit=100 * KILO)
    assert caches.sweep(time.time()).removed == 0 and path.exists()
    assert caches.sweep(time.time() + GRACE_S).removed > 0 and not path.exists()


def test_a_time_that_is_far_ahead_keeps_nothing(folder):
    path = put(folder / "m" / "lib" / "ahead", 500, ago_s=-365 * 86_400)
    ModelCaches(folder, limit=100 * KILO).sweep(time.time())
    assert not path.exists()


def test_a_model_that_keeps_much_drives_out_nothing_of_one_that_keeps_little(folder):
    small = put(folder / "small" / "tiktoken" / "a", 64, ago_s=365 * 86_400)
    large = [put(folder / "large" / "lib" / f"f{n}", 64, ago_s=3600 + n) for n in range(10)]
    ModelCaches(folder, limit=300 * KILO).sweep(time.time())
    assert small.exists() and sum(path.exists() for path in large) == 3
    fresh = [put(folder / "large" / "lib" / f"g{n}", 64, ago_s=1) for n in range(10)]
    ModelCaches(folder, limit=300 * KILO).sweep(time.time())
    assert small.exists() and all(path.exists() for path in fresh)


def test_without_a_limit_it_goes_only_while_the_disk_is_short_of_room(folder):
    path = put(folder / "m" / "lib" / "a")
    assert ModelCaches(folder).sweep(time.time()).removed == 0 and path.exists()
    ModelCaches(folder, min_free=1 << 60).sweep(time.time())
    assert not path.exists()


def test_links_are_not_followed_and_odd_things_do_no_harm(folder, tmp_path):
    mine = put(tmp_path / "mine" / "precious", ago_s=365 * 86_400)
    (folder / "m" / "lib").mkdir(parents=True)
    for link in (folder / "m" / "lib" / "link", folder / "m" / "all", folder / "linked"):
        link.symlink_to(tmp_path / "mine")
    (folder / "m" / "lib" / "round").symlink_to(folder)
    os.mkfifo(folder / "m" / "pipe")
    (folder / ".gone").symlink_to(tmp_path / "mine")
    put(folder / "loose", ago_s=86_400 * 9)
    deep = folder / "m" / "lib" / "deep"
    deep.joinpath(*["d"] * 300).mkdir(parents=True)
    assert ModelCaches(folder, limit=1).sweep(time.time() + 2 * GRACE_S).removed >= 64 * KILO
    assert mine.exists() and mine.parent.stat().st_mode & 0o777 != 0o700
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert ModelCaches(folder / "nowhere", limit=1).sweep(time.time()).size == 0


SWEEP = """
import sys, time
from modelyard.records.caches import ModelCaches
print("begins", flush=True)
ModelCaches(Path(sys.argv[1]), limit=1).sweep(time.time())
"""


def test_killed_in_the_middle_it_leaves_each_piece_whole_or_gone(folder):
    hub, files = folder / "m" / "tensorflow-hub", 20
    for module in range(40):
        for number in range(files):
            put(hub / f"module{module}" / f"f{number}", 1)
    for number in range(6):
        sweeping = subprocess.Popen(
            [sys.executable, "-c", SWEEP, str(folder)], stdout=subprocess.PIPE
        )
        sweeping.stdout.readline()
        time.sleep(number * 0.004)
        sweeping.send_signal(signal.SIGKILL)
        sweeping.communicate()
        left = {module.name: len(list(module.iterdir())) for module in hub.iterdir()}
        assert set(left.values()) <= {files}, left
    assert ModelCaches(folder, limit=1).sweep(time.time()).size < 64 * KILO
    assert list(hub.iterdir()) == [] and not (folder / ".gone").exists()


def test_a_server_keeps_to_the_bound(start_server, empty_home, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(empty_home, home)
    old = put(home / "cache" / "bare" / "tiktoken" / "old", 3000)
    new = put(home / "cache" / "bare" / "tiktoken" / "new", 900, ago_s=86_400)
    server = start_server("--model-name", "bare", "--model-cache", "1M", home=home)
    until = time.monotonic() + 120
    while old.exists():
        assert time.monotonic() < until
        time.sleep(0.1)
    assert new.exists() and server.get("/healthz").ok
