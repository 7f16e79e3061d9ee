"""One entry that somebody hostile or broken puts into a store hides no other one from anybody."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from yard_bundles import key_of, make_bundle

from modelyard.storage.stores.opening import open_store
from modelyard.storage.transfer.catalogue import Catalogue
from modelyard.storage.transfer.layout import LARGEST_PACK, PACK
from modelyard.storage.transfer.manifests import File, read_bundle
from modelyard.storage.transfer.packs import plan_packs
from modelyard.storage.transfer.work import Workers
from modelyard.storage.versions import BadVersion
from modelyard.storage.wire import encode

ID = "a" * 32
KEY = f"models/m/weights/{ID}.json"
ENTRY = "registers/models/m/aliases/p/000000000001-s.json"
DIGEST = "0" * 64


def listed(path: str, size: float = 1) -> dict:
    return {"path": path, "size": size, "sha256": DIGEST}


def manifest(**members) -> bytes:
    head = {"format": 1, "id": ID, "model": "m", "created_at": "2026-01-01T00:00:00+00:00"}
    return json.dumps({**head, "files": [listed("w")], **members}).encode()


def nested(depth: int) -> bytes:
    return manifest()[:-1] + b',"lineage":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"


def entry(depth: int) -> bytes:
    return b'{"value":{"a":' + b"[" * depth + b"]" * depth + b"}}"


def pack(**members) -> dict:
    return {"sha256": DIGEST, "size": 1, "files": {}, **members}


INFINITE = float("inf")
OBJECTS = {
    "a size without end": (KEY, manifest(files=[listed("w", INFINITE)])),
    "a format without end": (KEY, manifest(format=INFINITE)),
    "a pack without end": (KEY, manifest(packs=[pack(size=INFINITE)])),
    "a place without end": (KEY, manifest(packs=[pack(files={DIGEST: [INFINITE, 1]})])),
    "a time before all": (KEY, manifest(created_at="0001-01-01T00:00:00+23:00")),
    "a time after all": (KEY, manifest(created_at="9999-12-31T23:59:59-23:00")),
    **{f"{depth} levels": (KEY, nested(depth)) for depth in range(900, 1001, 10)},
    **{f"a move of {depth} levels": (ENTRY, entry(depth)) for depth in range(900, 1001, 10)},
    "a move of endless levels": (ENTRY, entry(100_000)),
    "millions of lists": (KEY, manifest()[:-1] + b',"lineage":[' + b"[]," * 3_000_000 + b"1]}"),
    "megabytes to list": (KEY, manifest(metrics={"a": "é" * 4_000_000})),
    "a model's name of two lines": (f"models/a\nb/weights/{ID}.json", manifest(model="a\nb")),
    "a model's name with a backslash": (f"models/a\\b/weights/{ID}.json", manifest(model="a\\b")),
    "a model's name that is no UTF-8": (f"models/\udcff/weights/{ID}.json", manifest()),
    "an alias that is no UTF-8": (ENTRY.replace("/p/", "/\udcff/"), entry(1)),
    "a deletion that is no UTF-8": (f"deleted/models/\udcff/weights/{ID}.json", b"{}"),
}  # fmt: skip


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def links_in_a_circle(path: Path) -> None:
    for name in ("x", "y", "z"):
        path.with_name(name).symlink_to("..")


def put(data: bytes):
    return lambda path: path.write_bytes(data)


HOSTILE = [
    *(pytest.param(key, put(data), id=name) for name, (key, data) in OBJECTS.items()),
    *(pytest.param(KEY, how, id=how.__name__)
      for how in (pipe, link_to_itself, links_in_a_circle)),
]  # fmt: skip


@pytest.mark.parametrize(("key", "make"), HOSTILE)
def test_whatever_lies_in_a_store_the_others_are_heard_of(tmp_path, key, make):
    root = tmp_path / "store"
    path = root / key
    path.parent.mkdir(parents=True)
    make(path)
    good = make_bundle(tmp_path, {"w": b"1"})
    published = root / f"{key_of(good)}.json"
    published.parent.mkdir(parents=True, exist_ok=True)
    published.write_bytes((good / "manifest.json").read_bytes())

    store = open_store(str(root), {})
    store.open()
    pages = list(Catalogue(store, tmp_path / "catalogue.db", Workers()).changes([]))
    assert [item.key for page in pages for item in page.published] == [key_of(good)]
    for page in pages:
        encode({"page": page.to_plain()})


def test_a_list_of_versions_gets_nothing_of_their_lineage(tmp_path):
    root = tmp_path / "store"
    (root / KEY).parent.mkdir(parents=True)
    (root / KEY).write_bytes(manifest(lineage={"arguments": {"text": "x" * 20_000_000}}, more=1))
    store = open_store(str(root), {})
    store.open()
    (page,) = Catalogue(store, tmp_path / "catalogue.db", Workers()).changes([])
    told = page.published[0].manifest
    assert told["more"] == 1 and "lineage" not in told


def test_what_others_put_beside_our_objects_is_not_listed(tmp_path):
    root = tmp_path / "store"
    store = open_store(str(root), {})
    store.open()
    store.put_bytes("a/object", b"1")
    os.mkfifo(root / "a" / "pipe")
    (root / "a" / "folder").mkdir()
    (root / "a" / "two\nlines").write_bytes(b"1")
    (root / "a" / "elsewhere").symlink_to(tmp_path / "beside")
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "object").write_bytes(b"1")
    assert [info.key for info in store.list()] == ["a/elsewhere/object", "a/object"]
    assert store.stat("a/pipe") is None


def test_one_path_of_very_many_folders_costs_no_more_than_its_bytes(tmp_path):
    path = "/".join(["a"] * 500_000)  # its folders, each with all above it, would be 500 GB
    assert read_bundle(manifest(files=[listed(path)]), "it").size == 1


@pytest.mark.parametrize("paths", [("a/b", "a"), ("a", "a-b", "a/b/c"), ("a/b/c/d", "a/b")])
def test_a_path_that_is_a_file_and_a_folder_is_refused(paths):
    files = [listed(path) for path in paths]
    with pytest.raises(BadVersion, match="is a file and a folder"):
        read_bundle(manifest(files=files), "it")


def test_a_pack_that_no_publisher_makes_is_refused_and_none_makes_it():
    with pytest.raises(BadVersion, match="a pack of"):
        read_bundle(manifest(packs=[pack(size=LARGEST_PACK + 1)]), "it")
    # Digests may be made alike, at a few tries each: all of these belong into one pack.
    digests = [f"00{hashlib.sha256(b'%d' % n).hexdigest()[2:]}" for n in range(800)]
    files = [File(digest, 200_000, digest) for digest in digests]
    plans = plan_packs(files)
    assert sum(plan.size for plan in plans) == 800 * 200_000 > 2 * LARGEST_PACK
    assert all(PACK < plan.size <= LARGEST_PACK for plan in plans[:-1])
    assert all(plan.size <= LARGEST_PACK for plan in plans)
