"""A dataset's digest and counts: what they depend on, and what not."""

import hashlib
import io
import random

import pytest

from modelyard.digest import ContentFile, content_digest
from modelyard.storage.datasets.content import counts
from modelyard.storage.datasets.parts import PartsFile, open_parts

A, B = (hashlib.sha256(data).hexdigest() for data in (b"a", b"b"))
FILES = [ContentFile("x/1.png", 1, A), ContentFile("x/2.png", 1, B), ContentFile("y", 0, A)]


def test_the_digest_does_not_depend_on_the_order_of_the_files():
    expected = content_digest(FILES)
    for seed in range(5):
        mixed = random.Random(seed).sample(FILES, len(FILES))
        assert content_digest(mixed) == expected


@pytest.mark.parametrize(
    "other",
    [
        FILES[:2],
        [*FILES, ContentFile("z", 0, A)],
        [ContentFile("x/1.PNG", 1, A), *FILES[1:]],
        [ContentFile("x/1.png", 1, B), *FILES[1:]],
        [ContentFile("x/1.png", 2, A), *FILES[1:]],
        [ContentFile("x/1.png", 1, B), ContentFile("x/2.png", 1, A), FILES[2]],
        [ContentFile(f"x/1.png\n{A}", 1, A), *FILES[1:]],
    ],
)
def test_the_digest_tells_any_other_content_apart(other):
    assert content_digest(other) != content_digest(FILES)


def test_a_name_that_is_no_utf8_has_a_digest():
    assert content_digest([ContentFile("\udcff.png", 1, A)])


def test_files_are_counted_by_top_folder_and_suffix():
    told = counts([*FILES, ContentFile("x/deep/3.PNG", 7, A)])
    assert (told["files"], told["size"]) == (4, 9)
    assert told["folders"] == {"x": {"files": 3, "size": 9}, ".": {"files": 1, "size": 0}}
    assert told["suffixes"] == {".png": {"files": 3, "size": 9}, "": {"files": 1, "size": 0}}


def test_many_folders_are_counted_together():
    told = counts([ContentFile(f"{number}/x", 1, A) for number in range(250)])
    assert len(told["folders"]) == 101
    assert told["folders"]["..."] == {"files": 150, "size": 150}


@pytest.mark.parametrize("sizes", [[5], [3, 1, 4], [1000, 1, 999]])
def test_a_file_in_parts_reads_as_one(tmp_path, sizes):
    chance = random.Random(1)
    whole = chance.randbytes(sum(sizes))
    paths, at = [], 0
    for number, size in enumerate(sizes):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(whole[at : at + size])
        at += size
    with open_parts(paths) as file:
        assert file.read() == whole
    with PartsFile(paths) as parts:
        for _ in range(200):
            place, count = chance.randrange(len(whole) + 2), chance.randrange(1, len(whole) + 2)
            parts.seek(place)
            wanted, got = whole[place : place + count], b""
            while len(got) < len(wanted):
                got += parts.read(len(wanted) - len(got)) or b""
            assert got == wanted
        assert parts.seek(0, io.SEEK_END) == len(whole) and parts.read(1) == b""
