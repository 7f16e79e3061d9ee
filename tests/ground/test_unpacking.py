"""Archives from strangers: plain files are unpacked, everything else is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from modelyard.errors import BadArchive
from modelyard.unpacking import Limits, Watcher, is_archive, unpack

FILES = {"train/a/0.png": b"first", "train/b/1.png": b"second"}


def make_zip(path: Path, files: dict[str, bytes], level: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", level) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: dict[str, bytes], kind: str = "") -> Path:
    with tarfile.open(path, f"w:{kind}") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


MAKERS = [make_zip, *(partial(make_tar, kind=kind) for kind in ("", "gz", "bz2", "xz"))]


def unpacked(archive: Path, folder: Path, **limits: int) -> dict[str, bytes]:
    folder.mkdir()
    unpack(archive, folder, "client.zip", Limits(**limits) if limits else None)
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refused(archive: Path, folder: Path, **limits: int) -> str:
    with pytest.raises(BadArchive) as caught:
        unpacked(archive, folder, **limits)
    assert caught.value.details == {"file": "client.zip"}
    outside = [path for path in folder.parent.iterdir() if path not in (archive, folder)]
    assert outside == []
    return str(caught.value)


@pytest.mark.parametrize("kind", ["zip", "", "gz", "bz2", "xz"])
def test_every_kind_of_archive_is_unpacked_whatever_its_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "upload.bin"
    archive = make_zip(path, FILES) if kind == "zip" else make_tar(path, FILES, kind)
    assert unpacked(archive, tmp_path / "to") == FILES


@pytest.mark.parametrize(
    "program", [["tar", "-cz"], ["tar", "-cj"], ["tar", "-cJ"], ["tar", "-c"]], ids=" ".join
)
def test_what_the_tar_program_makes_is_unpacked(tmp_path: Path, program: list[str]) -> None:
    for name, content in FILES.items():
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_bytes(content)
    done = subprocess.run(
        [*program, "-f", tmp_path / "x", "-C", tmp_path / "from", "."], capture_output=True
    )
    if done.returncode != 0:
        pytest.skip(f"no {' '.join(program)} here")
    assert unpacked(tmp_path / "x", tmp_path / "to") == FILES


@pytest.mark.parametrize("compressed", [False, True])
def test_a_tar_that_ends_with_a_zip_is_no_zip(tmp_path: Path, compressed: bool) -> None:
    files = {**FILES, "z.zip": make_zip(tmp_path / "inner", {"inside": b"x"}).read_bytes()}
    archive = make_tar(tmp_path / "x", files)
    if compressed:
        archive.write_bytes(gzip.compress(archive.read_bytes(), 0))
    assert unpacked(archive, tmp_path / "to") == files


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    "name", ["../out.png", "/out.png", "a/../../out.png", "..\\out.png", "C:\\out.png"]
)
def test_a_path_that_leads_out_is_refused(
    tmp_path: Path, make: Callable[[Path, dict[str, bytes]], Path], name: str
) -> None:
    assert "leads out" in refused(make(tmp_path / "x", {name: b"x"}), tmp_path / "to")


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(
    tmp_path: Path, kind: bytes, compression: str
) -> None:
    with tarfile.open(tmp_path / "x", f"w:{compression}") as archive:
        member = tarfile.TarInfo("train")
        member.type, member.linkname = kind, "/etc"
        archive.addfile(member)
    assert "link or a device" in refused(tmp_path / "x", tmp_path / "to")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        member = zipfile.ZipInfo("train")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc")
    assert "link or a device" in refused(tmp_path / "x", tmp_path / "to")


@pytest.mark.parametrize("make", [one for one in MAKERS if one is not MAKERS[1]])
def test_a_bomb_is_refused_while_it_goes_off(
    tmp_path: Path, make: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    archive = make(tmp_path / "x", {"big.png": bytes(30_000_000)})
    assert archive.stat().st_size < 100_000
    message = refused(archive, tmp_path / "to", ratio=10, slack_bytes=5_000_000)
    assert "too much for its size" in message
    written = sum(path.stat().st_size for path in (tmp_path / "to").iterdir())
    assert written <= 10 * archive.stat().st_size + 5_000_000


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x", {"big.png": bytes(1_000_000)})
    true, lie = (1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(true, lie))
    refused(archive, tmp_path / "to")


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    files = {f"{number}.png": b"" for number in range(20)}
    assert "more than 10 members" in refused(
        make_zip(tmp_path / "x", files), tmp_path / "to", members=10
    )


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "x", {"n" * 3_000_000: b""}, "gz")
    assert "header is too long" in refused(archive, tmp_path / "to")


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    "name",
    [
        f"train/a/{'n' * 252}.png",  # 256 bytes
        f"train/{'n' * 256}/a.png",
        f"train/a/{'é' * 126}.png",  # 130 characters
        f"train/{'n' * 256}/",
        "/".join(["é" * 100] * 9) + ".png",
    ],
)
def test_a_name_that_no_file_system_takes_is_told(
    tmp_path: Path, make: Callable[[Path, dict[str, bytes]], Path], name: str
) -> None:
    message = refused(make(tmp_path / "x", {name: b""}), tmp_path / "to")
    assert "too long" in message and name[:150] in message


@pytest.mark.parametrize("make", MAKERS)
def test_the_longest_name_that_file_systems_take_is_unpacked(
    tmp_path: Path, make: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    files = {f"train/a/{'é' * 125}n.png": b"x"}
    assert unpacked(make(tmp_path / "x", files), tmp_path / "to") == files


@pytest.mark.parametrize("names", [("a", "a/"), ("a", "a/b"), ("a/b", "a")])
def test_a_member_that_is_file_and_folder_is_refused(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    archive = make_zip(tmp_path / "x", dict.fromkeys(names, b""))
    assert "two members" in refused(archive, tmp_path / "to")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr("a.png", "1")
        archive.writestr("a.png", "2")
    assert "two members" in refused(tmp_path / "x", tmp_path / "to")


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"\x1f\x8b broken", b"PK\x03\x04"])
def test_what_is_no_archive_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert "the archive" in refused(tmp_path / "x", tmp_path / "to")


def test_a_truncated_archive_is_told(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "x", {"a.png": bytes(range(256)) * 400}, "gz")
    archive.write_bytes(archive.read_bytes()[:-200])
    assert "damaged" in refused(archive, tmp_path / "to")


@pytest.mark.parametrize("make", MAKERS)
def test_a_watcher_is_told_of_every_file_with_its_hash_and_of_how_much_was_read(
    tmp_path: Path, make: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    archive = make(tmp_path / "x", FILES)
    told: list[tuple[str, int, str]] = []
    read: list[int] = []
    (tmp_path / "to").mkdir()
    watcher = Watcher(lambda *file: told.append(file), read.append)
    with archive.open("rb") as file:
        unpack(file, tmp_path / "to", "x", watcher=watcher)
    assert told == [
        (name, len(content), hashlib.sha256(content).hexdigest()) for name, content in FILES.items()
    ]
    assert read == sorted(read) or make is make_zip
    assert 0 < max(read) <= archive.stat().st_size


@pytest.mark.parametrize("make", MAKERS)
def test_an_archive_is_known_by_its_content(
    tmp_path: Path, make: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    with make(tmp_path / "x", FILES).open("rb") as file:
        assert is_archive(file) and file.tell() == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"a,b\n1,2\n" * 200, gzip.compress(b"a,b\n1,2\n" * 200), bytes(4096), b"PK\x03\x04"],
    ids=["empty", "text", "compressed text", "zeros", "half a zip"],
)
def test_what_is_no_archive_is_not_taken_for_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with (tmp_path / "x").open("rb") as file:
        assert not is_archive(file)
