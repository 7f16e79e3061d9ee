"""One picture file to an array of pixels. Runs in workers (predict) and in run processes.

Whatever the file holds (1, 8 or 16 bits, palette, alpha, CMYK, turned by EXIF), what comes out is
square, 8 bits, grey or RGB, so that a picture means the same in training and prediction:
16-bit values are scaled to 8 bits, transparent parts become white, the whole picture is squeezed
to the square. Of a file with several pictures (TIFF) the first is taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 64_000_000
"""Width times height above which a file is refused unread: RGBA then takes 256 MB."""

_AT_ONCE = 1 << 20  # pixels
_FORMATS = ("PNG", "JPEG", "TIFF")
_GREY = {"1", "L", "LA", "La", "I", "F"}


class BadImage(Exception):
    """The file is no picture that can be read; the message says why, without its name."""


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of itself before its pixels are read; sides in pixels."""

    width: int
    height: int
    grey: bool


def read_header(path: str | os.PathLike[str]) -> ImageHeader:
    """Size and kind, without decoding. Raises BadImage."""
    with _opened(path) as image:
        grey = image.mode in _GREY or image.mode.startswith("I;16")
        return ImageHeader(image.width, image.height, grey)


def decode(
    path: str | os.PathLike[str] | BinaryIO, size: int, channels: int
) -> np.ndarray[Any, Any]:
    """The picture, at a path or in an open file, as uint8 (channels, size, size), channels 1 or 3.

    Raises BadImage.
    """
    with _opened(path) as image:
        # Lets the JPEG decoder leave out detail that the small square cannot show: up to 8 times
        # faster. It is a no-op for the other formats.
        image.draft("L" if channels == 1 else "RGB", (size, size))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        square = _flat(_resized(_eight_bits(image), size)).convert("L" if channels == 1 else "RGB")
        pixels = np.asarray(square, dtype=np.uint8)
    if channels == 1:
        return np.array(pixels[None])
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


@contextmanager
def _opened(path: str | os.PathLike[str] | BinaryIO) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadImage(
                    f"{image.width} x {image.height} pixels are too many: at most"
                    f" {MAX_PIXELS // 1_000_000} million are taken"
                )
            yield image
    except BadImage:
        raise
    except UnidentifiedImageError as error:
        raise BadImage("this is no PNG, JPEG or TIFF picture") from error
    except FileNotFoundError as error:
        raise BadImage("there is no such file") from error
    except IsADirectoryError as error:
        raise BadImage("this is a folder, not a picture") from error
    except MemoryError:
        raise
    except Exception as error:
        # The decoders meet bytes that a stranger sent, and raise whatever comes: OSError,
        # SyntaxError, struct.error, zlib.error, ValueError, DecompressionBombError, ...
        raise BadImage(f"it cannot be read: {error}") from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """`image`, or its 8-bit form if its pixels are wider or are indices into a palette."""
    mode = image.mode
    if mode.startswith("I"):
        return _from_integers(np.asarray(image))
    if mode == "F":
        return _from_floats(np.asarray(image))
    if mode == "P" and "transparency" not in image.info:
        return image.convert("RGB")
    if mode in ("P", "PA") or "transparency" in image.info:
        return image.convert("RGBA")
    if mode in ("L", "LA", "RGB", "RGBA"):
        return image
    return image.convert("L" if mode == "1" else "RGB")  # CMYK, YCbCr, HSV, LAB


def _from_integers(values: np.ndarray[Any, Any]) -> Image.Image:
    if values.min() < 0 or values.max() > 65535:
        raise BadImage("its grey values do not fit 16 bits: save it with 8 or 16 bits")
    return _by_rows(values, lambda rows: (rows.astype(np.uint32) * 255 + 32767) // 65535)


def _from_floats(values: np.ndarray[Any, Any]) -> Image.Image:
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise BadImage("its floating-point values are not all between 0 and 1")
    return _by_rows(values, lambda rows: np.round(rows * 255))


def _by_rows(
    values: np.ndarray[Any, Any],
    scaled: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]],
) -> Image.Image:
    """8 bits, some rows at a time: of all at once the wider values would take 0.7 GB."""
    out = np.empty(values.shape, np.uint8)
    count = max(1, _AT_ONCE // max(1, values.shape[1]))
    for start in range(0, len(values), count):
        out[start : start + count] = scaled(values[start : start + count])
    return Image.fromarray(out)


def _resized(image: Image.Image, size: int) -> Image.Image:
    if image.size == (size, size):
        return image
    # Pillow multiplies colours by alpha while it resizes, so hidden colours do not bleed out.
    return image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)


def _flat(image: Image.Image) -> Image.Image:
    """Puts transparent pictures on white."""
    if image.mode not in ("LA", "RGBA"):
        return image
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
