"""Archives that were made to do harm: each is refused or unpacked as plain files, in bounded
memory; nothing is written outside."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yard_examples import examples

from modelyard.errors import BadArchive
from modelyard.unpacking import Limits, is_archive, safe_path, unpack

MB = 1 << 20


def unpacked(archive: Path, folder: Path, **limits: int) -> dict[str, bytes]:
    folder.mkdir()
    unpack(archive, folder, "client.zip", Limits(**limits) if limits else None)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refused(archive: Path, folder: Path, **limits: int) -> str:
    with pytest.raises(BadArchive) as caught:
        unpacked(archive, folder, **limits)
    assert {path.name for path in folder.parent.iterdir()} <= {archive.name, folder.name, "to"}
    return str(caught.value)


def a_zip(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return path


def changed(path: Path, *pairs: tuple[bytes, bytes]) -> Path:
    content = path.read_bytes()
    for before, after in pairs:
        assert before in content and len(before) == len(after)
        content = content.replace(before, after)
    path.write_bytes(content)
    return path


# -- zip ------------------------------------------------------------------------------------------


def test_an_encrypted_zip_is_told(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "x", ("a.png", b"one"))
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1  # general purpose bit 0
    archive.write_bytes(content)
    assert "encrypted" in refused(archive, tmp_path / "to")


def test_a_zip_with_sizes_of_64_bits_that_lie_is_refused_or_bounded(tmp_path: Path) -> None:
    """Both places say 2^60 bytes by the extra field of zip64; the data are a few."""
    member = zipfile.ZipInfo("a.bin")
    archive = a_zip(tmp_path / "x", (member, b"few bytes"))
    content = archive.read_bytes()
    start = content.index(b"PK\x01\x02")
    huge = struct.pack("<HHQQ", 1, 16, 1 << 60, 1 << 60)
    head = bytearray(content[start : start + 46])
    head[20:28] = b"\xff" * 8  # compressed and plain size: see the extra field
    head[30:32] = struct.pack("<H", len(huge))
    name_end = start + 46 + len("a.bin")
    rest = bytearray(content[name_end:])
    rest[12:16] = struct.pack("<I", 46 + len("a.bin") + len(huge))  # of the end record
    archive.write_bytes(content[:start] + head + b"a.bin" + huge + rest)
    refused(archive, tmp_path / "to")


def test_members_that_share_their_data_are_counted_each(tmp_path: Path) -> None:
    """A bomb without nesting: many entries of the directory name the same 10 MB of zeros."""
    archive = a_zip(tmp_path / "x", ("0000", bytes(10 * MB)))
    content = archive.read_bytes()
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entry, last = content[start:end], bytearray(content[end:])
    entries = b"".join(entry.replace(b"0000", b"%04d" % number) for number in range(200))
    last[8:12] = struct.pack("<HH", 200, 200)
    last[12:16] = struct.pack("<I", len(entries))
    archive.write_bytes(content[:start] + entries + last)
    refused(archive, tmp_path / "to", slack_bytes=30 * MB)
    written = sum(file.stat().st_size for file in (tmp_path / "to").rglob("*"))
    assert written <= 30 * MB + 100 * archive.stat().st_size


def test_a_zip_of_a_compression_that_nobody_knows_is_told(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "x", ("a.png", b"one" * 100))
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.index(signature) + offset] = 99
    archive.write_bytes(content)
    assert "deflate" in refused(archive, tmp_path / "to")


@pytest.mark.parametrize("name", ["", ".", "./."])
def test_a_file_whose_name_names_none_is_refused(tmp_path: Path, name: str) -> None:
    """A generated zip with such a name once ended in an IndexError."""
    archive = a_zip(tmp_path / "x", ("abc", b"one"))
    changed(archive, (b"abc", name.encode().ljust(3, b"\0")))
    assert "names none" in refused(archive, tmp_path / "to")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_a_member_that_is_packed_by_another_method_is_refused(tmp_path: Path, method: int) -> None:
    """437 bytes of bzip2 were 400 MB, unpacked at once, before they were counted."""
    with zipfile.ZipFile(tmp_path / "x", "w", method) as archive:
        archive.writestr("a", bytes(100 * MB))
    assert grown(tmp_path / "x", tmp_path / "to", 10) < 20_000
    assert "deflate" in refused(tmp_path / "x", tmp_path / "to2")


def test_a_name_that_differs_between_directory_and_member_is_refused(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "x", ("a.png", b"one"))
    content = archive.read_bytes()
    archive.write_bytes(content.replace(b"a.png", b"../ab", 1))
    assert "damaged" in refused(archive, tmp_path / "to")


def test_no_mode_of_an_archive_is_given_to_a_file(tmp_path: Path) -> None:
    member = zipfile.ZipInfo("run.sh")
    member.external_attr = (stat.S_IFREG | 0o6777) << 16
    archive = a_zip(tmp_path / "x", (member, b"#!/bin/sh"))
    unpacked(archive, tmp_path / "to")
    assert not (tmp_path / "to" / "run.sh").stat().st_mode & 0o7111
    with tarfile.open(tmp_path / "y", "w") as tar:
        told = tarfile.TarInfo("run.sh")
        told.mode, told.uid, told.uname = 0o6777, 12345, "somebody"
        tar.addfile(told, io.BytesIO(b""))
    unpacked(tmp_path / "y", tmp_path / "to2")
    found = (tmp_path / "to2" / "run.sh").stat()
    assert not found.st_mode & 0o7111 and found.st_uid == os.getuid()


# -- tar ------------------------------------------------------------------------------------------


def a_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def test_a_sparse_member_is_counted_by_what_it_unpacks_to(tmp_path: Path) -> None:
    """512 bytes that say to be a terabyte with a hole (GNU.sparse.1.0)."""
    with tarfile.open(tmp_path / "x", "w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("hole.bin")
        member.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": "hole.bin",
            "GNU.sparse.realsize": str(1 << 40),
        }
        blocks = b"1\n0\n0\n".ljust(512, b"\0")
        member.size = len(blocks)
        archive.addfile(member, io.BytesIO(blocks))
    refused(tmp_path / "x", tmp_path / "to", slack_bytes=20 * MB)
    written = sum(file.stat().st_size for file in (tmp_path / "to").rglob("*"))
    assert written <= 22 * MB


def a_pax(*records: tuple[str, str]) -> bytes:
    """Records that stand before a member (POSIX.1-2001, pax)."""
    lines = b""
    for name, value in records:
        rest = f" {name}={value}\n"
        size = len(rest) + len(str(len(rest) + 2))
        lines += f"{size}{rest}".encode()
    return a_header("pax", len(lines), tarfile.XHDTYPE) + padded(lines)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


HOLES = a_pax(("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "9"))


@pytest.mark.parametrize(
    "content",
    [
        HOLES + a_header("a", 5) + padded(b"hello"),
        HOLES + a_header("a", 512) + padded(b"9" * 5000),
        a_pax(("GNU.sparse.map", "0,x")) + a_header("a", 5) + padded(b"hello"),
        a_header("p", 5120, tarfile.XHDTYPE) + padded(b"9" * 5000 + b" a=b\n"),
    ],
    ids=["no map", "digits of a map", "a map of words", "digits of a record"],
)
def test_a_tar_whose_numbers_are_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content + bytes(1024))
    with (tmp_path / "x").open("rb") as file:
        is_archive(file)
    refused(tmp_path / "x", tmp_path / "to")


@pytest.mark.parametrize("kind", ["pax", "gnu"])
def test_a_map_of_holes_is_not_read_without_end(tmp_path: Path, kind: str) -> None:
    """A byte of it takes twenty of memory, and gzip makes it out of next to nothing."""
    if kind == "pax":
        content = HOLES + a_header("a", 1 << 33) + b"90000000\n" + b"1\n" * (5 * MB)
    else:
        head = bytearray(a_header("a", 512, tarfile.GNUTYPE_SPARSE))
        head[482] = 1  # further blocks follow, each of 21 holes
        head[148:156] = b"%06o\0 " % (sum(head) - sum(head[148:156]) + 8 * 32)
        block = (b"%011o\0" % 0 + b"%011o\0" % 1) * 21 + b"\1" + bytes(7)
        content = bytes(head) + block * 20_000
    (tmp_path / "x").write_bytes(gzip.compress(content, 6))
    assert grown(tmp_path / "x", tmp_path / "to", 10) < 20_000
    assert "map of holes" in refused(tmp_path / "x", tmp_path / "to2", members=10)


@pytest.mark.parametrize("size", [-1, -(1 << 40), 1 << 60], ids=["minus-one", "minus", "huge"])
def test_a_size_that_cannot_be_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "x").write_bytes(a_header("a.bin", size) + bytes(4096))
    refused(tmp_path / "x", tmp_path / "to")


def test_a_link_is_refused_before_a_member_goes_through_it(tmp_path: Path) -> None:
    link = tarfile.TarInfo("data")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
    with tarfile.open(tmp_path / "x", "w") as archive:
        archive.addfile(link)
        through = tarfile.TarInfo("data/planted")
        archive.addfile(through, io.BytesIO(b""))
    assert "link" in refused(tmp_path / "x", tmp_path / "to")
    assert not (tmp_path / "planted").exists()


def test_names_that_differ_by_case_alone_are_two_files(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "x", ("a.png", b"one"), ("A.png", b"two"))
    assert unpacked(archive, tmp_path / "to") == {"a.png": b"one", "A.png": b"two"}


_UNPACK = """
import sys
from pathlib import Path
from modelyard.errors import BadArchive
from modelyard.unpacking import Limits, unpack

def most():  # getrusage tells what the parent had before this program began
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

before = most()
try:
    unpack(Path(sys.argv[1]), Path(sys.argv[2]), "x", Limits(members=int(sys.argv[3])))
except BadArchive as error:
    print("refused", error, file=sys.stderr)
print(most() - before)
"""


def grown(archive: Path, folder: Path, members: int) -> int:
    """KiB of memory that unpacking takes, in a process of its own."""
    folder.mkdir()
    words = [sys.executable, "-c", _UNPACK, str(archive), str(folder), str(members)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_members_of_a_tar(tmp_path: Path) -> None:
    """40,000 folders of one name: 20 MB as a tar, 70 KB as gzip. (tarfile keeps every header.)"""
    with gzip.open(tmp_path / "x", "wb", 6) as file:
        block = a_header("a/", 0, tarfile.DIRTYPE) * 1000
        for _ in range(40):
            file.write(block)
        file.write(bytes(1024))
    assert grown(tmp_path / "x", tmp_path / "to", 1_000_000) < 8_000


def test_a_header_that_repeats_for_ever_is_refused(tmp_path: Path) -> None:
    """Long names for a member that never comes: each is small, together they would be a stack."""
    name = b"n" * 100
    long = a_header("././@LongLink", len(name), tarfile.GNUTYPE_LONGNAME) + name.ljust(512, b"\0")
    (tmp_path / "x").write_bytes(gzip.compress(long * 5000, 6))
    refused(tmp_path / "x", tmp_path / "to")


# -- anything -------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *("..", ".", "", "/", "\\", "a", "C:", "~", "\0", "\n", "\x1b[2J", "CON", "é", "\u202e"),
        *("\udcff", "n" * 300, " ", "%2e%2e", "a/../..", "//host/share", "-rf"),
    ]
)
NAMES = st.one_of(st.lists(PIECES, min_size=1, max_size=6).map("/".join), st.text(max_size=60))


@examples(300)
@given(name=NAMES)
def test_whatever_a_member_is_called_its_path_stays_inside(name: str) -> None:
    try:
        path = safe_path(name, "x")
    except (BadArchive, UnicodeError):
        return
    assert not path.is_absolute() and ".." not in path.parts and "\0" not in str(path)
    inside = os.path.normpath(os.path.join("/home/data", path))  # noqa: PTH118
    assert inside == "/home/data" or inside.startswith("/home/data/")


@examples(60)
@given(at=st.floats(0, 1), new=st.binary(min_size=1, max_size=40), kind=st.sampled_from("zg "))
def test_whatever_bytes_are_changed_an_archive_is_refused_or_unpacked_inside(
    tmp_path_factory: pytest.TempPathFactory, at: float, new: bytes, kind: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    archive = folder / "x"
    if kind == "z":
        a_zip(archive, ("a/b.png", b"one" * 50), ("c.png", b""))
    else:
        plain = a_header("a/b.png", 150) + b"one".ljust(512, b"\0") + bytes(1024)
        archive.write_bytes(plain if kind == " " else gzip.compress(plain, 6))
    content = bytearray(archive.read_bytes())
    start = int(at * len(content))
    content[start : start + len(new)] = new
    archive.write_bytes(content)
    with contextlib.suppress(BadArchive):
        unpacked(archive, folder / "to")
    assert {path.name for path in folder.iterdir()} <= {"x", "to"}
    assert not [path for path in (folder / "to").rglob("*") if path.is_symlink()]
