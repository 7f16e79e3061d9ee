"""Export: what the usual programs can unpack, the same bytes for the same version, or a failure."""

import gzip
import hashlib
import io
import json
import lzma
import os
import random
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from modelyard.storage.archives.export import export
from modelyard.storage.archives.formats import DAMAGED, ArchiveFormat
from modelyard.storage.archives.writers import BLOCK, GzipWriter, XzWriter
from modelyard.storage.versions import BadVersion

EVERY = pytest.mark.parametrize("kind", list(ArchiveFormat))


def exported(folder: Path, kind: ArchiveFormat) -> bytes:
    out = io.BytesIO()
    export(folder, kind, out)
    return out.getvalue()


def unpacked(archive: bytes, kind: ArchiveFormat) -> dict[str, bytes]:
    """In the archive's order."""
    if kind is ArchiveFormat.ZIP:
        with zipfile.ZipFile(io.BytesIO(archive)) as file:
            assert file.testzip() is None
            return {name: file.read(name) for name in file.namelist()}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


@EVERY
def test_an_archive_holds_the_manifest_the_card_and_every_file(make_version, kind):
    folder = make_version()
    found = unpacked(exported(folder, kind), kind)
    assert list(found)[:2] == ["manifest.json", "MODEL_CARD.md"]
    manifest = json.loads(found["manifest.json"])
    assert manifest == json.loads((folder / "manifest.json").read_text())
    for item in manifest["files"]:
        content = found[f"files/{item['path']}"]
        assert content == (folder / "files" / item["path"]).read_bytes()
    assert len(found) == 2 + len(manifest["files"])
    assert b"# m" in found["MODEL_CARD.md"]


@EVERY
def test_the_same_version_gives_the_same_bytes_wherever_it_was_kept(make_version, kind):
    """Another home's copy: other times, another order in its manifest, fetched from a store."""
    first = make_version("first")
    second = make_version("second", packs=[{"sha256": "0" * 64}], exports={"onnx": {}})
    data = json.loads((second / "manifest.json").read_text())
    (second / "manifest.json").write_text(json.dumps(dict(reversed(data.items())), indent=3))
    os.utime(second / "files" / "model.safetensors", (1, 1))
    assert exported(first, kind) == exported(second, kind)


@EVERY
@pytest.mark.parametrize("harm", ["flipped", "shorter", "longer", "missing", "link"])
def test_a_damaged_version_is_not_exported_as_a_whole_one(make_version, tmp_path, kind, harm):
    folder = make_version()
    path = folder / "files" / "model.safetensors"
    content = path.read_bytes()
    path.unlink()
    if harm == "flipped":
        path.write_bytes(content[:1000] + b"\x99" + content[1001:])
    elif harm == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        path.symlink_to(tmp_path / "elsewhere")
    elif harm != "missing":
        path.write_bytes(content[:-1] if harm == "shorter" else content + b"x")
    with pytest.raises(BadVersion):
        exported(folder, kind)
    done = subprocess.run(
        [sys.executable, "-m", "modelyard.storage.archives.export", str(folder), kind.value],
        capture_output=True,
    )
    said = done.stderr.decode()
    assert done.returncode == DAMAGED and said.startswith("files/model.safetensors ")
    assert str(tmp_path) not in said and "Traceback" not in said


@pytest.mark.parametrize("kind", ["tar.gz", "tar.xz"])
def test_a_streamed_archive_is_the_same_as_one_in_a_file(make_version, tmp_path, kind):
    folder = make_version()
    command = [sys.executable, "-m", "modelyard.storage.archives.export", str(folder), kind]
    piped = subprocess.run(command, capture_output=True, check=True).stdout
    with (tmp_path / "file").open("wb") as file:
        subprocess.run(command, stdout=file, check=True)
    assert piped == (tmp_path / "file").read_bytes() == exported(folder, ArchiveFormat(kind))


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


CONTENTS = {
    "nothing": b"",
    "one byte": b"x",
    "a block that shrinks": b"\0" * BLOCK,
    "a block that does not": noise(BLOCK),
    "both": noise(BLOCK + 1) + b"abc" * BLOCK + noise(70_000),
    "an odd end": noise(3 * 65_536 + 7),
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
@pytest.mark.parametrize("writer", [GzipWriter, XzWriter])
def test_what_the_writers_make_is_read_by_others(writer, content, tmp_path):
    pieces: list[bytes] = []
    made = writer(pieces.append)
    for at in range(0, len(content), 100_001):
        made.write(content[at : at + 100_001])
    made.close()
    packed = b"".join(pieces)
    plain = gzip.decompress(packed) if writer is GzipWriter else lzma.decompress(packed)
    assert hashlib.sha256(plain).digest() == hashlib.sha256(content).digest()
    program = "gzip" if writer is GzipWriter else "xz"
    tested = subprocess.run([program, "-t"], input=packed, capture_output=True)
    assert tested.returncode == 0, tested.stderr


def test_what_does_not_shrink_costs_next_to_nothing_and_what_does_is_packed():
    for writer in (GzipWriter, XzWriter):
        sizes = []
        for content in (noise(BLOCK), b"\0" * BLOCK):
            pieces: list[bytes] = []
            made = writer(pieces.append)
            made.write(content)
            made.close()
            sizes.append(sum(map(len, pieces)))
        assert sizes[0] < BLOCK * 1.001 and sizes[1] < BLOCK // 100


@EVERY
def test_memory_is_bounded_whatever_the_size(make_version, kind):
    folder = make_version(contents={"large.bin": noise(96 << 20)})
    code = (
        "import sys; from modelyard.storage.archives.export import main;"
        f"code = main([{str(folder)!r}, {kind.value!r}]);"
        "lines = open('/proc/self/status').read().split('VmHWM:');"
        "print(lines[1].split()[0], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True
    )
    assert int(done.stderr) < 120 * 1024, "KiB at most"
