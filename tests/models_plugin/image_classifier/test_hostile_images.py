"""Pictures that were made to do harm: refused in words, or read in bounded memory."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from yard_examples import examples

from modelyard.models_plugin.image_classifier.images import BadImage, decode, read_header

MEMORY = """
import sys
from pathlib import Path
from modelyard.models_plugin.image_classifier.images import BadImage, decode

def most():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

before = most()
try:
    print("read", decode(sys.argv[1], 32, int(sys.argv[2])).shape)
except BadImage as error:
    print("refused", error)
print((most() - before) // 1024)
"""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int = 8, colour: int = 0, *more: bytes) -> bytes:
    """A picture of zeros; the rows of a large one are packed a thousandfold."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = 1 + (width * bits * channels + 7) // 8
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(row)) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *more, chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def head_only(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


def grown(picture: bytes, tmp_path: Path, channels: int) -> tuple[str, int]:
    """What was said, and the MiB that it took, in a process of its own."""
    (tmp_path / "x").write_bytes(picture)
    words = [sys.executable, "-c", MEMORY, str(tmp_path / "x"), str(channels)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said, megabytes = done.stdout.splitlines()
    return said, int(megabytes)


@pytest.mark.parametrize("sides", [(60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1)])
def test_a_picture_of_too_many_pixels_is_refused_by_its_head(
    tmp_path: Path, sides: tuple[int, int]
) -> None:
    said, megabytes = grown(head_only(*sides), tmp_path, 3)
    assert said.startswith("refused") and megabytes < 30


@pytest.mark.parametrize(
    ("bits", "colour", "most"),
    [
        pytest.param(8, 6, 700, marks=pytest.mark.slow, id="rgba"),
        pytest.param(16, 0, 550, id="16-bits"),
        pytest.param(1, 0, 300, marks=pytest.mark.slow, id="1-bit"),
    ],
)
def test_the_largest_picture_takes_bounded_memory(
    tmp_path: Path, bits: int, colour: int, most: int
) -> None:
    """8000 x 8000 in some hundred kilobytes."""
    picture = png(8000, 8000, bits, colour)
    assert len(picture) < 1_500_000
    said, megabytes = grown(picture, tmp_path, 3)
    assert said.startswith("read") and megabytes < most, megabytes


def test_text_in_a_picture_that_unpacks_to_hundreds_of_megabytes_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(9)
    text = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    for kind, data in (
        (b"zTXt", b"Comment\0\0" + text),
        (b"iTXt", b"Comment\0\1\0\0\0" + text),
        (b"iCCP", b"profile\0\0" + text),
    ):
        said, megabytes = grown(png(8, 8, 8, 0, chunk(kind, data)), tmp_path, 1)
        assert megabytes < 100, (kind, said, megabytes)


def test_of_an_animated_picture_the_first_is_read(tmp_path: Path) -> None:
    frames = [Image.new("L", (9, 9), value) for value in (0, 255, 255)]
    for suffix, kind in ((".png", "PNG"), (".tiff", "TIFF")):
        frames[0].save(
            tmp_path / f"x{suffix}", format=kind, save_all=True, append_images=frames[1:]
        )
        assert decode(tmp_path / f"x{suffix}", 9, 1).max() == 0


def test_a_tiff_whose_directories_go_round_in_circles_is_read_or_refused(tmp_path: Path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "x.tiff")
    content = bytearray((tmp_path / "x.tiff").read_bytes())
    first = struct.unpack("<I", content[4:8])[0]
    entries = struct.unpack("<H", content[first : first + 2])[0]
    end = first + 2 + 12 * entries
    content[end : end + 4] = struct.pack("<I", first)  # the next directory is the first
    (tmp_path / "x.tiff").write_bytes(content)
    assert decode(tmp_path / "x.tiff", 9, 1).shape == (1, 9, 9)


def test_exif_that_is_nonsense_is_told_or_ignored(tmp_path: Path) -> None:
    for orientation in (b"\xff\xff", b"\x00\x09", b"\x00\x00"):
        tiff = b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1" + orientation + b"\0\0\0\0\0\0"
        for exif in (tiff, tiff[:15], b"Exif\0\0" + tiff, b"MM\0*\xff\xff\xff\xff", b""):
            (tmp_path / "x").write_bytes(png(8, 8, 8, 0, chunk(b"eXIf", exif)))
            try:
                assert decode(tmp_path / "x", 8, 1).shape == (1, 8, 8)
            except BadImage as error:
                assert str(error)


def _samples() -> list[bytes]:
    made = []
    picture = Image.effect_noise((24, 24), 60)
    for kind, mode in (("PNG", "L"), ("PNG", "RGBA"), ("JPEG", "RGB"), ("TIFF", "I;16")):
        buffer = io.BytesIO()
        picture.convert("L").convert(mode if mode != "I;16" else "I").convert(
            mode if mode != "I;16" else "I;16"
        ).save(buffer, kind)
        made.append(buffer.getvalue())
    return made


@examples(150)
@given(data=st.data())
def test_whatever_bytes_are_changed_a_picture_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(_SAMPLES)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        new = data.draw(st.binary(max_size=8))
        content[at : at + len(new)] = new
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(content))))
    try:
        assert decode(io.BytesIO(bytes(content[:cut])), 8, 3).shape == (3, 8, 8)
    except BadImage as error:
        assert str(error)


_SAMPLES = _samples()


def test_a_head_alone_tells_the_size_of_a_picture_that_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(head_only(60_000, 60_000))
    with pytest.raises(BadImage, match="cannot be read"):
        read_header(tmp_path / "x")
