"""Every kind of picture comes out square, 8 bits, grey or RGB."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelyard.models_plugin.image_classifier.images import BadImage, decode, read_header


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_png_of_every_mode_and_side_is_read(tmp_path: Path, mode: str, channels: int) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((9, 31), 65535, np.uint16))
    else:
        image = Image.new("RGBA" if mode == "LA" else "RGB", (31, 9), "white").convert(mode)
    pixels = decode(saved(image, tmp_path / "a.png"), 16, channels)
    assert pixels.shape == (channels, 16, 16) and pixels.dtype == np.uint8
    assert (pixels == 255).all()


@pytest.mark.parametrize(
    ("mode", "suffix"), [("L", "jpg"), ("CMYK", "jpg"), ("L", "tif"), ("CMYK", "tif"), ("F", "tif")]
)
def test_jpeg_and_tiff_are_read(tmp_path: Path, mode: str, suffix: str) -> None:
    image = Image.new("L", (40, 20), 128).convert(mode)
    if mode == "F":
        image = Image.fromarray(np.full((20, 40), 128 / 255, np.float32))
    pixels = decode(saved(image, tmp_path / f"a.{suffix}"), 8, 3)
    assert np.abs(pixels.astype(int) - 128).max() <= 2


def test_sixteen_bits_keep_their_order(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    for suffix in ("png", "tif"):
        pixels = decode(saved(Image.fromarray(values), tmp_path / f"a.{suffix}"), 8, 1)
        expected = np.round(values / 257).astype(int)
        assert np.abs(pixels[0].astype(int) - expected).max() <= 1


def test_transparent_parts_are_white_whatever_colour_they_hide(tmp_path: Path) -> None:
    image = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    assert (decode(saved(image, tmp_path / "a.png"), 8, 3) == 255).all()


def test_palette_transparency_is_white_too(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([255, 0, 0])
    path = saved(image, tmp_path / "a.png", transparency=0)
    assert (decode(path, 8, 3) == 255).all()


@pytest.mark.parametrize("suffix", ["jpg", "tif", "png"])
def test_a_picture_is_turned_as_its_exif_orientation_says(tmp_path: Path, suffix: str) -> None:
    upright = Image.new("L", (16, 16), 0)
    upright.paste(255, (0, 0, 16, 8))  # bright at the top
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    pixels = decode(saved(lying, tmp_path / f"a.{suffix}", exif=exif), 16, 1)[0]
    assert pixels[:6].min() > 200 and pixels[10:].max() < 50


def test_the_header_tells_size_and_grey_without_decoding(tmp_path: Path) -> None:
    grey = read_header(saved(Image.new("L", (30, 20)), tmp_path / "a.png"))
    colour = read_header(saved(Image.new("RGB", (5, 6)), tmp_path / "b.jpg"))
    assert (grey.width, grey.height, grey.grey, colour.grey) == (30, 20, True, False)


def png_claiming(width: int, height: int) -> bytes:
    """A grey picture of that size, with almost no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0"))]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no PNG, JPEG or TIFF"),
        (b"just text", "no PNG, JPEG or TIFF"),
        (b"GIF89a" + bytes(50), "no PNG, JPEG or TIFF"),
        (png_claiming(8001, 8000), "too many"),
        (png_claiming(2**31 - 1, 2**31 - 1), "exceeds limit|too many"),
        (png_claiming(8, 8), "cannot be read"),
    ],
)
def test_what_is_no_picture_is_told_in_words(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(BadImage, match=message):
        decode(path, 8, 1)


def test_a_truncated_picture_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    path = saved(Image.fromarray(noise), tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadImage, match="truncated"):
        decode(path, 64, 3)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="no such file"):
        decode(tmp_path / "none.png", 8, 1)
    with pytest.raises(BadImage, match="folder"):
        decode(tmp_path, 8, 1)
