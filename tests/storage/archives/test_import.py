"""Import: what is taken is what its manifest says to the last bit, and nothing else is taken."""

import io
import json
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.errors import BadArchive, Conflict, DiskFull
from modelyard.storage.archives.export import export
from modelyard.storage.archives.formats import ArchiveFormat
from modelyard.storage.archives.import_ import import_archive
from modelyard.storage.versions import install_version, is_whole
from modelyard.unpacking import Limits


def archived(folder: Path, kind: ArchiveFormat, to: Path) -> Path:
    with to.open("wb") as file:
        export(folder, kind, file)
    return to


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def members_of(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def tar_of(members: dict[str, bytes], to: Path, mode: str = "w:gz") -> Path:
    with tarfile.open(to, mode) as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return to


@pytest.mark.parametrize("kind", list(ArchiveFormat))
def test_what_was_exported_is_imported_whole(make_version, tmp_path, kind):
    source = make_version()
    archive = archived(source, kind, tmp_path / "named.anything")
    manifest = import_archive(archive, tmp_path / "taken", "x", "m")
    assert members_of(tmp_path / "taken").keys() == members_of(source).keys()
    assert install_version(tmp_path / "taken", tmp_path).id == manifest["id"]
    assert is_whole(tmp_path / manifest["id"])
    assert manifest_of(tmp_path / "taken") == {**manifest_of(source), "origin": "import"}
    assert stat.S_IMODE((tmp_path / "taken").stat().st_mode) == 0o700


def test_an_archive_that_a_person_packed_anew_is_taken(make_version, tmp_path):
    """By `tar -c .`: folders, names with ./ before them, the manifest anywhere, uncompressed."""
    source = make_version()
    (source / "MODEL_CARD.md").write_text("notes of mine")
    subprocess.run(["tar", "-cf", tmp_path / "x.tar", "-C", source, "."], check=True)
    import_archive(tmp_path / "x.tar", tmp_path / "taken", "x.tar")
    assert is_whole(tmp_path / "taken")
    assert sorted(path.name for path in (tmp_path / "taken").iterdir()) == [
        "files",
        "manifest.json",
    ]
    late = members_of(source)
    late["manifest.json"] = late.pop("manifest.json")
    import_archive(tar_of(late, tmp_path / "late"), tmp_path / "again", "late")
    assert is_whole(tmp_path / "again")


def test_a_version_without_files_is_one(make_version, tmp_path):
    archive = archived(make_version(contents={}), ArchiveFormat.TAR_XZ, tmp_path / "x")
    import_archive(archive, tmp_path / "taken", "x")
    assert is_whole(tmp_path / "taken") and (tmp_path / "taken" / "files").is_dir()


def test_members_of_the_manifest_that_this_release_does_not_know_are_kept(make_version, tmp_path):
    source = make_version(novelty={"a": [1, 2.5, None]}, lineage={"seed": 7})
    import_archive(archived(source, ArchiveFormat.ZIP, tmp_path / "x"), tmp_path / "taken", "x")
    taken = manifest_of(tmp_path / "taken")
    assert taken["novelty"] == {"a": [1, 2.5, None]} and taken["lineage"] == {"seed": 7}


# -- refusals ---------------------------------------------------------------------------------


def refused(archive: Path, **more) -> str:
    folder = archive.with_name("refused")
    outside = {path for path in archive.parent.iterdir() if path != folder}
    with pytest.raises(BadArchive) as caught:
        import_archive(archive, folder, "theirs", **more)
    assert {path for path in archive.parent.iterdir() if path != folder} == outside
    assert not (folder / "manifest.json").exists(), "it looks like a version"
    assert not is_whole(folder)
    return caught.value.message


FLAWS: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "no manifest.json": lambda m: {k: v for k, v in m.items() if k != "manifest.json"},
    "is missing": lambda m: {k: v for k, v in m.items() if k != "files/classes/names.json"},
    "is not in its manifest": lambda m: {**m, "files/extra.bin": b"x"},
    "'notes.txt' is not in": lambda m: {**m, "notes.txt": b"x"},
    "is not what its manifest says": lambda m: {**m, "files/classes/names.json": b'["a", "c"]'},
    "size or SHA-256": lambda m: {**m, "files/classes/names.json": b""},
    "leads out": lambda m: {**m, "files/../../escaped": b"x"},
    "no path": lambda m: {**m, "/escaped": b"x"},
    "two members": lambda m: {**m, "./manifest.json": b"{}"},
}


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "zip"])
@pytest.mark.parametrize("said", FLAWS)
def test_what_is_not_exactly_its_manifest_is_refused(make_version, tmp_path, said, mode):
    members = FLAWS[said](members_of(make_version()))
    if mode == "zip":
        with zipfile.ZipFile(tmp_path / "x", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        tar_of(members, tmp_path / "x", mode)
    assert said in refused(tmp_path / "x")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused(make_version, tmp_path, kind):
    with tarfile.open(tmp_path / "x", "w:gz") as archive:
        header = tarfile.TarInfo("files/model.safetensors")
        header.type, header.linkname = kind, "/etc/hostname"
        archive.addfile(header)
    assert "link or a device" in refused(tmp_path / "x")


MANIFESTS = {
    "newer release": {"format": 2},
    "no weights": {"kind": "dataset"},
    "no version id": {"id": "../../elsewhere"},
    "'run' is no id": {"run": "../x"},
    "no number of steps": {"step": "5"},
    "'checkpoint'": {"checkpoint": "x" * 1000},
    "'lineage' is no object": {"lineage": [1]},
    "'dataset' is no object": {"dataset": "pets"},
    "'metrics' holds more": {"metrics": {str(i): "x" * 100 for i in range(1000)}},
    "no SHA-256": {"files": [{"path": "a", "size": 1, "sha256": "0"}]},
    "number of bytes": {"files": [{"path": "a", "size": -1, "sha256": "0" * 64}]},
    "no path inside": {"files": [{"path": "../a", "size": 1, "sha256": "0" * 64}]},
    "named twice": {"files": [{"path": "a", "size": 1, "sha256": "0" * 64}] * 2},
    "too many": {"files": [{"path": "a", "size": 2**62, "sha256": "0" * 64}]},
    "manifest.json is refused": {"files": 7},
    "surrogates not allowed": {"checkpoint": "\ud800"},
    "date value out of range": {"created_at": "0001-01-01T00:00:00+14:00"},
    "not JSON compliant": {"metrics": {"loss": float("nan")}},
    "the dataset's id is no text": {"dataset": {"id": {"a": 1}}},
    "'arguments' of its lineage": {"lineage": {"arguments": [1]}},
    "'environment' of its lineage": {"lineage": {"environment": "x"}},
    "'secrets' of its lineage": {"lineage": {"secrets": 7}},
    "'secrets' of its lineage holds": {"lineage": {"secrets": ["token", {}]}},
    "'uploads' of its lineage holds": {"lineage": {"uploads": [1]}},
    "'earlier' of its lineage holds": {"lineage": {"earlier": ["x"]}},
    "'repeats' of its lineage": {"lineage": {"repeats": {"a": 1}}},
    "the dataset's name is no text": {"dataset": {"name": 5}},
    "the dataset's id is none": {"dataset": {"id": "../x"}},
    "nests deeper": {"lineage": {"arguments": json.loads('{"a":' * 500 + "1" + "}" * 500)}},
}


@pytest.mark.parametrize("said", MANIFESTS)
def test_a_manifest_that_cannot_be_is_refused(make_version, tmp_path, said):
    members = {"manifest.json": (make_version(**MANIFESTS[said]) / "manifest.json").read_bytes()}
    assert said in refused(tar_of(members, tmp_path / "x"))


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"[" * 100_000, b"\xff", b"{}"])
def test_a_manifest_that_is_none_is_refused(tmp_path, text):
    assert "manifest.json" in refused(tar_of({"manifest.json": text}, tmp_path / "x"))


@pytest.mark.parametrize("content", [b"", b"text", b"\x1f\x8b", b"\xfd7zXZ\x00", b"PK\x03\x04 no"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert refused(tmp_path / "x")


@pytest.mark.parametrize("kind", list(ArchiveFormat))
def test_a_truncated_or_changed_archive_never_makes_another_version(make_version, tmp_path, kind):
    source = make_version(
        contents={"a.bin": random.Random(1).randbytes(70_000), "b.txt": b"b" * 9000}
    )
    whole = archived(source, kind, tmp_path / "whole").read_bytes()
    chance = random.Random(2)
    for number in range(25):
        at = chance.randrange(len(whole))
        cut = number % 2 == 0
        harmed = whole[:at] if cut else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        (tmp_path / "x").write_bytes(harmed)
        folder = tmp_path / f"taken{number}"
        try:
            import_archive(tmp_path / "x", folder, "x")
        except BadArchive:
            assert not (folder / "manifest.json").exists()
        else:  # in the card, in padding, after the last file
            assert members_of(folder)["files/a.bin"] == members_of(source)["files/a.bin"]
            assert members_of(folder)["files/b.txt"] == members_of(source)["files/b.txt"]
            assert manifest_of(folder)["id"] == manifest_of(source)["id"]


def test_another_models_version_is_a_conflict(make_version, tmp_path):
    archive = archived(make_version(), ArchiveFormat.ZIP, tmp_path / "x")
    with pytest.raises(Conflict, match="model 'm', not of 'other'"):
        import_archive(archive, tmp_path / "taken", "x", "other")
    assert not (tmp_path / "taken" / "manifest.json").exists()


# -- bombs, full disks, kills -----------------------------------------------------------------


def run(archive: Path, folder: Path, *more: str, **options) -> tuple[int, dict]:
    command = [sys.executable, "-m", "modelyard.storage.archives.import_", archive, folder, *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_what_unpacks_to_too_much_is_refused_before_it_fills_the_disk(make_version, tmp_path):
    members = {**members_of(make_version()), "files/a bomb": b"\0" * (32 << 20)}
    archive = tar_of(members, tmp_path / "x", "w:xz")
    said = refused(archive, limits=Limits(ratio=10, slack_bytes=2 << 20))
    assert "unpacks to more" in said
    written = sum(p.stat().st_size for p in (tmp_path / "refused").rglob("*") if p.is_file())
    assert written < 4 << 20


def test_too_many_members_are_refused(make_version, tmp_path):
    members = {**members_of(make_version()), **{f"files/{i}": b"" for i in range(60)}}
    del members["manifest.json"]
    assert "more than 50 members" in refused(
        tar_of(members, tmp_path / "x"), limits=Limits(members=50)
    )


def test_an_archive_that_asks_for_gigabytes_of_memory_is_refused(tmp_path):
    """An xz whose header asks for a dictionary of 4 GiB."""
    flags = b"\x00\x01"
    header = bytes([2, 0, 0x21, 1, 40, 0, 0, 0])
    block = header + struct.pack("<I", zlib.crc32(header)) + b"\x01\x00\x00x\x00"
    start = b"\xfd7zXZ\x00" + flags + struct.pack("<I", zlib.crc32(flags))
    (tmp_path / "x").write_bytes(start + block + bytes(100))
    code, said = run(tmp_path / "x", tmp_path / "taken")
    assert code == 1 and said["error"] == "BadArchive", said


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_disk_is_told_and_leaves_no_version(make_version, tmp_path):
    source = make_version(contents={"a.bin": random.Random(1).randbytes(3 << 20)})
    archive = archived(source, ArchiveFormat.TAR_GZ, tmp_path / "x")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small]).returncode:
        pytest.skip("may not mount")
    try:
        with pytest.raises(DiskFull):
            import_archive(archive, small / "taken", "x")
        assert not (small / "taken" / "manifest.json").exists()
        code, said = run(archive, small / "again")
        assert (code, said["error"]) == (1, "DiskFull"), said
    finally:
        subprocess.run(["umount", small], check=True)


def _kill_at_random_moments(make_version, tmp_path, times: int) -> None:
    source = make_version(
        contents={f"{i}.bin": random.Random(i).randbytes(1 << 20) for i in range(12)}
    )
    archive = archived(source, ArchiveFormat.TAR_XZ, tmp_path / "x")
    root = tmp_path / "weights"
    root.mkdir()
    command = [sys.executable, "-m", "modelyard.storage.archives.import_", archive]
    began = time.monotonic()
    subprocess.run([*command, tmp_path / "timed"], check=True, stdout=subprocess.DEVNULL)
    takes = time.monotonic() - began
    whole = 0
    for number in range(times):
        folder = tmp_path / f"taken{number}"
        process = subprocess.Popen([*command, folder], stdout=subprocess.DEVNULL)
        time.sleep(random.uniform(0, takes * 1.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (folder / "manifest.json").exists() and is_whole(folder):
            # Only what is all there, and verified, may look like a version.
            install_version(folder, root)
            (installed,) = root.iterdir()
            theirs, ours = members_of(source), members_of(installed)
            assert {k: v for k, v in ours.items() if k != "manifest.json"} == {
                k: v for k, v in theirs.items() if k != "manifest.json"
            }
            whole += 1
        shutil.rmtree(folder, ignore_errors=True)
    assert whole < times or times < 5, "it was never killed before its end"


def test_an_import_killed_at_any_moment_leaves_nothing_that_passes_for_a_version(
    make_version, tmp_path
):
    _kill_at_random_moments(make_version, tmp_path, 4)


@pytest.mark.slow
def test_an_import_killed_at_many_moments_leaves_nothing_that_passes_for_a_version(
    make_version, tmp_path
):
    _kill_at_random_moments(make_version, tmp_path, 60)
