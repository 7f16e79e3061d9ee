"""`modelyard doctor`: what it finds in homes and stores, and what it mends."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from yard_bundles import key_of, make_bundle, office_at

from modelyard.records.home import Home
from modelyard.records.runs import RunRecord, insert_run
from modelyard.records.store import RecordStore
from modelyard.records.weights import WeightsRecord, insert_weights
from modelyard.schemas.states import Phase, Status
from modelyard.storage.checkup import check_home

A_WEEK = 7 * 24 * 3600


@pytest.fixture
def kept(tmp_path, empty_home):
    """A home with one version that a folder store has as well; both, and the version's folder."""
    home, store = tmp_path / "home", tmp_path / "store"
    shutil.copytree(empty_home, home)
    bundle = make_bundle(home / "weights", {"a": b"a" * 9, "b": b"b" * 300_000})

    async def publish():
        async with office_at(home, str(store)) as office:
            await office.publish("weights", key_of(bundle), bundle)

    asyncio.run(publish())
    record(home, bundle, stored=True)
    return home, store, bundle


def record(home, bundle, **values):
    async def work():
        store = RecordStore(home / "records.db")
        await store.open()
        made = WeightsRecord(bundle.name, "m", datetime.now(UTC), **values)
        await store.write(lambda connection: insert_weights(connection, made))
        await store.close()

    asyncio.run(work())


@pytest.fixture
def doctor(modelyard):
    """`doctor(home, store, *words)`: the exit code, and the faults it tells with their remedies."""

    def run(home, store=None, *words):
        flags = () if store is None else ("--storage", store)
        done = modelyard("doctor", "--home", home, *flags, "--json", "--quick", *words)
        assert done.returncode in (0, 1), done.stderr
        told = json.loads(done.stdout)
        assert told["well"] is (done.returncode == 0)
        faults = [f"{one['message']} {one['remedy']}" for one in told["findings"] if one["remedy"]]
        return done.returncode, faults, [one["message"] for one in told["findings"]]

    return run


def test_a_home_and_a_store_that_are_well(doctor, kept, modelyard):
    home, store, _ = kept
    code, faults, told = doctor(home, store)
    assert (code, faults) == (0, [])
    assert any("no server uses it" in text for text in told)
    assert any("conditional: yes" in text for text in told)
    plain = modelyard("doctor", "--home", home, "--quick")
    assert plain.returncode == 0 and "FAULT" not in plain.stdout


def test_it_tells_how_much_models_libraries_keep(doctor, kept):
    home, store, _ = kept
    (home / "cache" / "m" / "tiktoken").mkdir(parents=True)
    (home / "cache" / "m" / "tiktoken" / "a").write_bytes(bytes(3 << 20))
    code, _, told = doctor(home, store)
    (said,) = (text for text in told if "models' libraries" in text)
    assert code == 0 and said.startswith("3 MB kept") and "10240 MB" in said


def test_a_home_that_is_named_and_not_there_is_a_fault(doctor, modelyard, tmp_path):
    code, faults, _ = doctor(tmp_path / "nowhere")
    assert code == 1 and faults[0].startswith(f"There is no home at {tmp_path / 'nowhere'}")
    unnamed = modelyard("doctor", "--quick", cwd=tmp_path)
    assert unnamed.returncode == 0 and "There is no home at" in unnamed.stdout
    assert "--url" not in modelyard("doctor", "--help").stdout


def test_what_is_broken_here_and_whole_in_the_store_is_brought_anew(doctor, kept):
    home, store, bundle = kept
    (bundle / "files" / "b").unlink()
    code, faults, _ = doctor(home, store)
    assert code == 1 and len(faults) == 1 and "--repair" in faults[0]
    code, _, told = doctor(home, store, "--repair")
    assert code == 0 and f"Brought anew from the store: m/{bundle.name[:12]}." in told
    assert (bundle / "files" / "b").read_bytes() == b"b" * 300_000


def test_what_the_store_cannot_give_whole_is_left_as_it_is(doctor, kept):
    home, store, bundle = kept
    for blob in store.glob("blobs/sha256/*/*"):
        blob.chmod(0o600)
        blob.write_bytes(b"x" * 300_000)
    (bundle / "files" / "b").unlink(missing_ok=True)
    code, faults, _ = doctor(home, store, "--repair")
    assert code == 1 and "could not be brought anew" in faults[0]
    assert (bundle / "manifest.json").exists() and (bundle / "files" / "a").exists()


def rotten(bundle):
    """Another byte in a file of the same size."""
    file = bundle / "files" / "b"
    file.chmod(0o644)
    file.write_bytes(b"B" + file.read_bytes()[1:])


def test_a_changed_byte_is_found_and_mended_where_the_store_has_it(modelyard, kept):
    home, store, bundle = kept
    rotten(bundle)
    words = ("doctor", "--home", home, "--storage", store)
    named = {"MODELYARD_MODEL_NAME": "bare"}
    plugins = str(Path(__file__).parent.parent / "plugins")
    done = modelyard(*words, plugins=plugins, more_env=named)
    (fault,) = (line for line in done.stdout.splitlines() if line.startswith("FAULT"))
    assert done.returncode == 1 and f"m/{bundle.name[:12]} (b is not what" in fault
    assert "Corrupt on this disk, but in the store" in fault
    mended = modelyard(*words, "--repair", plugins=plugins, more_env=named)
    assert mended.returncode == 0 and "Brought anew" in mended.stdout, mended.stdout
    assert (bundle / "files" / "b").read_bytes() == b"b" * 300_000


def test_a_changed_byte_of_the_only_copy_is_told_with_what_can_be_done(tmp_path, kept):
    home, _, bundle = kept
    assert all(one.remedy is None for one in check_home(Home(home), False, every_byte=True))
    rotten(bundle)
    (told,) = (one for one in check_home(Home(home), False, every_byte=True) if one.remedy)
    assert "b is not what its manifest says (size or SHA-256)" in told.message
    assert "from a backup or import their archives" in told.remedy
    assert all(one.remedy is None for one in check_home(Home(home), False)), "sizes tell nothing"


def test_the_only_copy_is_not_removed_and_what_is_not_published_is_told(doctor, kept):
    home, store, _ = kept
    only = make_bundle(home / "weights", {"a": b"x"})
    record(home, only, state="publishing", reason="the network is down")
    code, faults, _ = doctor(home, store)
    assert code == 1 and "Not in the store yet" in faults[0] and "the network is down" in faults[0]
    (only / "files" / "a").unlink()
    code, faults, _ = doctor(home, store, "--repair")
    assert code == 1 and only.exists()
    assert any("backup" in fault and only.name[:12] in fault for fault in faults)


def test_what_nothing_refers_to_is_found_and_removed_beside_a_running_server(
    doctor, kept, start_server
):
    home, store, _ = kept
    server = start_server("--model-name", "counter", "--storage", str(store), home=home)
    lost = store / "blobs" / "sha256" / "aa" / ("a" * 64)
    lost.parent.mkdir(parents=True, exist_ok=True)
    lost.write_bytes(b"nobody's")
    old = time.time() - A_WEEK
    os.utime(lost, (old, old))
    code, faults, told = doctor(home, store)
    assert code == 1 and "1 blobs and packs" in faults[0]
    assert any(f"pid {server.process.pid}" in text for text in told)
    code, faults, _ = doctor(home, store, "--repair")
    assert not lost.exists()
    assert code == 1 and "uses this home" in faults[0], "its part of the home is left alone"
    assert doctor(home, store)[0] == 0


@pytest.mark.parametrize(
    ("begin", "end"),
    [(0, 100), (4096, 8192), (4096, None)],
    ids=["head", "one page", "all but one"],
)
def test_damage_and_a_store_that_is_away_are_told_with_a_remedy(doctor, kept, begin, end):
    home, _, _ = kept
    (home / "home.json").write_text("{")
    data = bytearray((home / "records.db").read_bytes())
    data[begin:end] = b"\xff" * len(data[begin:end])
    (home / "records.db").write_bytes(data)
    _, faults, _ = doctor(home, "s3:no-store")
    assert any("home.json is damaged" in fault for fault in faults)
    assert any("records.db" in fault and "damaged" in fault for fault in faults)
    assert faults[-1].startswith("s3:no-store")


def test_models_are_imported_tensorboard_is_started_and_the_machine_is_looked_at(
    modelyard, tmp_path, empty_home
):
    home = shutil.copytree(empty_home, tmp_path / "home")
    plugins = str(Path(__file__).parent.parent / "plugins")
    named = {"MODELYARD_MODEL_NAME": "bare,broken-import"}
    done = modelyard("doctor", "--home", home, "--json", plugins=plugins, more_env=named)
    told = json.loads(done.stdout)
    faults = [one for one in told["findings"] if one["remedy"]]
    assert done.returncode == 1 and [one["part"] for one in faults] == ["model"]
    assert faults[0]["message"].startswith("broken-import: It cannot be imported")
    said = [one["message"] for one in told["findings"]]
    assert "bare: can be imported." in said and "TensorBoard starts." in said
    for word in ("Open files", "memory free", "/dev/shm", "The clock says"):
        assert any(word in text for text in said), word


def test_what_odd_models_say_is_cut_and_their_names_are_quoted(modelyard, tmp_path, empty_home):
    home, site = shutil.copytree(empty_home, tmp_path / "home"), tmp_path / "site"
    info = site / "odd-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 0.1\n")
    points = "loud = loud:Model\nmy $(model)\x1b[2J = loud:Model\nmany = many\n"
    (info / "entry_points.txt").write_text(f"[modelyard.models]\n{points}")
    (site / "loud.py").write_text("raise ValueError('\\x1b[2Jwrong ' + 'x' * 1_000_000)")
    done = modelyard("doctor", "--home", home, plugins=str(site))
    assert done.returncode == 1 and len(done.stdout) < 10_000
    assert "\x1b" not in done.stdout
    assert "loud: It cannot be imported: ValueError: \\x1b[2Jwrong xxx" in done.stdout
    assert "'my $(model)\\x1b[2J': The entry point's name" in done.stdout
    assert "plugin check 'my $(model)" in done.stdout


def test_settings_that_a_server_would_refuse_or_warn_of_are_told(modelyard, empty_home, tmp_path):
    key = tmp_path / "key.pem"
    key.write_text("x")
    key.chmod(0o644)
    wrong = {
        "MODELYARD_PROT": "canary",
        "MODELYARD_DATA": str(tmp_path / "nowhere"),
        "MODELYARD_TLS_KEY": str(key),
        "MODELYARD_TLS_CERT": str(key),
    }
    home = shutil.copytree(empty_home, tmp_path / "home")  # other tests copy what is there
    done = modelyard("doctor", "--home", home, "--json", "--quick", more_env=wrong)
    faults = [one for one in json.loads(done.stdout)["findings"] if one["remedy"]]
    said = " ".join(one["message"] for one in faults if one["part"] == "settings")
    assert done.returncode == 1 and "canary" not in done.stdout + done.stderr
    for words in ("data: ", "does not exist", "MODELYARD_PROT is no setting", f"chmod o-r {key}"):
        assert words in said


@pytest.mark.slow
def test_leftovers_are_told_and_removed_only_on_request_and_without_a_server(
    doctor, tmp_path, empty_home, start_server
):
    home = shutil.copytree(empty_home, tmp_path / "home")
    old = time.time() - 2 * 24 * 3600
    left = [home / "tmp" / "a-call", home / "runs" / f".gone-{'a' * 32}"]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x")
        os.utime(folder, (old, old))
    code, faults, _ = doctor(home)
    assert code == 1 and "tmp/a-call" in faults[0] and "--repair" in faults[0]
    assert all(folder.exists() for folder in left), "nothing is removed unasked"
    code, _, told = doctor(home, None, "--repair")
    assert code == 0 and not any(folder.exists() for folder in left)
    assert any(text.startswith("Removed what was left over: ") for text in told)
    server = start_server("--model-name", "bare", "--no-warm-start", home=home)
    left[0].mkdir()
    os.utime(left[0], (old, old))
    code, faults, _ = doctor(home, None, "--repair")
    assert code == 1 and "uses this home" in faults[0] and left[0].exists()
    assert server.get("/healthz").ok


def test_what_a_cut_off_deletion_put_away_is_no_leftover_while_it_is_recorded(
    doctor, tmp_path, empty_home
):
    home = shutil.copytree(empty_home, tmp_path / "home")
    kept, left = (home / "weights" / f".gone-{letter * 32}" for letter in "ab")
    for folder in (kept, left):
        folder.mkdir()
        os.utime(folder, (0, 0))

    async def work():
        store = RecordStore(home / "records.db")
        await store.open()
        version = WeightsRecord("a" * 32, "m", datetime.now(UTC))
        await store.write(lambda connection: insert_weights(connection, version))
        await store.close()

    asyncio.run(work())
    doctor(home, None, "--repair")
    assert kept.exists() and not left.exists(), "a server's start brings it back"


def test_a_home_that_others_may_enter_is_told_and_shut_on_request(doctor, tmp_path, empty_home):
    home = shutil.copytree(empty_home, tmp_path / "home")
    home.chmod(0o777)
    code, faults, _ = doctor(home)
    assert code == 1 and "others may write into it and read" in faults[0] and "0777" in faults[0]
    assert f"chmod 700 {home}" in faults[0] and "--repair" in faults[0]
    home.chmod(0o755)
    code, faults, _ = doctor(home)
    assert code == 1 and "others may read what it keeps (mode 0755)" in faults[0]
    code, _, told = doctor(home, None, "--repair")
    assert code == 0 and f"{home}: for its owner alone now (mode 0700)." in told
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_home_that_may_only_be_read_is_told(doctor, tmp_path, empty_home):
    home = tmp_path / "home"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", str(home)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system")
    try:
        shutil.copytree(empty_home, home, dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", str(home)], check=True)
        code, faults, _ = doctor(home)
        assert code == 1
        (fault,) = (text for text in faults if "May only be read" in text)
        assert str(home / "runs") in fault and "Mount its file system for writing" in fault
        code, faults, _ = doctor(home, None, "--repair")
        assert code == 1 and any("May only be read" in text for text in faults)
    finally:
        subprocess.run(["umount", "-l", str(home)], check=False)


def test_runs_without_folder_and_folders_without_record_are_told(doctor, tmp_path, empty_home):
    home = shutil.copytree(empty_home, tmp_path / "home")

    async def work():
        store = RecordStore(home / "records.db")
        await store.open()
        for number, ended in ((1, True), (2, False)):
            phase = {"status": Status.DONE, "phase": Phase.FINISHED} if ended else {}
            run = RunRecord(f"{number:032x}", "m", {}, "", datetime.now(UTC), **phase)
            await store.write(lambda connection, run=run: insert_run(connection, run))
        await store.close()

    asyncio.run(work())
    strange = home / "runs" / ("f" * 32)
    strange.mkdir()
    (strange / "epoch").write_text("1")
    weights = home / "weights" / ("e" * 32)
    weights.mkdir()
    os.utime(weights, (0, 0))
    code, faults, _ = doctor(home)
    (told,) = [text for text in faults if str(weights) in text]
    assert "No record knows the weights" in told
    faults.remove(told)
    assert code == 1
    assert "not ended is gone: " + f"{2:032x}" in faults[0]
    assert "ended run is gone: " + f"{1:032x}" in faults[1] and "--purge" in faults[1]
    assert "f" * 32 in faults[2]


def test_records_of_the_future_are_the_clocks_fault(doctor, tmp_path, empty_home):
    home = shutil.copytree(empty_home, tmp_path / "home")
    made = make_bundle(home / "weights", {"a": b"x"})
    record(home, made)
    with sqlite3.connect(home / "records.db") as connection:
        connection.execute("UPDATE weights SET created_at = '2199-01-01 00:00:00.000000'")
    connection.close()
    code, faults, _ = doctor(home)
    assert code == 1 and "2199-01-01" in faults[0] and "Set the clock" in faults[0]
