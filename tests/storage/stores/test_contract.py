"""What every store promises: the seam's text, held against a folder and two S3 servers."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import requests
from blake3 import blake3

from modelyard.errors import Corrupt, ObjectMissing

from .conftest import OTHER, PART

KINDS = ["folder", "moto", "rclone"]
pytestmark = pytest.mark.parametrize("store", KINDS, indirect=True)
LARGE = 2 * PART + 100_007  # three parts, the last one short


def keys(store, *arguments, **more) -> list[str]:
    return [info.key for info in store.list(*arguments, **more)]


def test_what_was_put_is_given_back(store):
    assert store.put_bytes("models/m/weights/1.json", b"{}") is True
    assert store.get_bytes("models/m/weights/1.json", 100) == b"{}"
    store.put_bytes("models/m/weights/1.json", b"[1]")
    assert store.get_bytes("models/m/weights/1.json", 3) == b"[1]"
    store.put_bytes("empty", b"")
    assert store.get_bytes("empty", 3) == b""


def test_an_object_larger_than_the_reader_wants_is_not_read(store):
    store.put_bytes("a", b"0123456789")
    with pytest.raises(Corrupt, match="more than 9 bytes"):
        store.get_bytes("a", 9)


def test_what_is_not_there_is_told_so(store, tmp_path):
    store.put_bytes("here/a", b"1")
    assert store.stat("there/b") is None and store.stat("here") is None
    for ask in (
        lambda: store.get_bytes("there/b", 9),
        lambda: store.get_range("there/b", 0, 1),
        lambda: store.get_file("there/b", tmp_path / "b", 1, OTHER),
        lambda: store.get_file("there/b", tmp_path / "b", LARGE, OTHER),
        lambda: store.touch("there/b"),
    ):
        with pytest.raises(ObjectMissing):
            ask()
    store.delete("there/b")
    assert not (tmp_path / "b").exists()


def test_a_conditional_put_keeps_the_first(store):
    assert store.put_bytes("a", b"first", if_absent=True) is True
    assert store.put_bytes("a", b"second", if_absent=True) is False
    assert store.get_bytes("a", 10) == b"first"


def test_of_many_conditional_puts_at_once_one_wins(store):
    if not store.capabilities.conditional:
        pytest.skip("this server does not know conditional writes, and was seen not to")
    start = threading.Barrier(8)

    def put(number: int) -> bool:
        start.wait()
        return store.put_bytes("raced", b"%d" % number, if_absent=True)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, range(8)))
    assert won.count(True) == 1
    assert store.get_bytes("raced", 10) == b"%d" % won.index(True)


@pytest.mark.parametrize("size", [0, 1, 100_000, LARGE])
def test_a_file_comes_back_as_it_went(store, payload, tmp_path, size):
    sent, up, down = payload(size), [], []
    store.put_file("blobs/a", sent.path, sent.size, sent.digests, up.append)
    assert store.stat("blobs/a").size == size
    store.get_file("blobs/a", tmp_path / "got", sent.size, sent.digests, down.append)
    assert (tmp_path / "got").read_bytes() == sent.data
    assert sum(up) == sum(down) == size
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_putting_a_file_tells_its_blake3_and_by_it_alone_it_is_compared(store, payload, tmp_path):
    for size in (1000, LARGE + 1):
        sent = payload(size)
        told = store.put_file("a", sent.path, sent.size, sent.digests)
        assert told == (sent.digests.sha256, blake3(sent.data).hexdigest())
        store.get_file("a", tmp_path / "got", sent.size, told._replace(sha256="0" * 64))
        assert (tmp_path / "got").read_bytes() == sent.data


def test_a_file_that_is_not_what_its_digest_says_is_not_published(store, payload):
    for size in (1000, LARGE):
        sent = payload(size)
        for wrong in (OTHER, sent.digests._replace(blake3="0" * 64)):
            with pytest.raises(Corrupt):
                store.put_file("a", sent.path, sent.size, wrong)
        with pytest.raises(Corrupt):
            store.put_file("a", sent.path, sent.size - 1, sent.digests)
        with pytest.raises(Corrupt):
            store.put_file("a", sent.path, sent.size + 1, sent.digests)
        assert store.stat("a") is None


def test_an_object_that_is_not_what_its_digest_says_reaches_no_file(store, payload, tmp_path):
    for size in (1000, LARGE):
        sent, moved = payload(size), []
        store.put_file("a", sent.path, sent.size, sent.digests)
        wrong = (
            (size, OTHER),
            (size, sent.digests._replace(blake3="0" * 64)),
            (size - 1, sent.digests),
            (2 * size, OTHER),
        )
        for expected, digests in wrong:
            with pytest.raises(Corrupt):
                store.get_file("a", tmp_path / "got", expected, digests, moved.append)
        assert sum(moved) <= 0 and not (tmp_path / "got").exists()
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("size", [1000, 2001, PART + 1, 3 * PART])
def test_an_object_is_read_again_and_known_by_its_bytes(store, payload, size):
    kept = payload(size)
    told: list[int] = []
    assert not store.verify("a", kept.size, kept.digests, told.append)
    store.put_file("a", kept.path, kept.size, kept.digests)
    assert sum(told) == 0
    assert store.verify("a", kept.size, kept.digests, told.append)
    assert sum(told) == size
    for wrong in (kept.data[:-1] + b"?", kept.data[:-1], kept.data + b"?", b""):
        told.clear()
        store.put_bytes("a", wrong)
        assert not store.verify("a", kept.size, kept.digests, told.append)
        assert sum(told) == 0, "what was wrong does not count"


def test_a_file_that_was_there_is_replaced_only_by_a_verified_one(store, payload, tmp_path):
    sent = payload(1000)
    store.put_file("a", sent.path, sent.size, sent.digests)
    (tmp_path / "got").write_bytes(b"old")
    with pytest.raises(Corrupt):
        store.get_file("a", tmp_path / "got", sent.size, OTHER)
    assert (tmp_path / "got").read_bytes() == b"old"
    store.get_file("a", tmp_path / "got", sent.size, sent.digests)
    assert (tmp_path / "got").read_bytes() == sent.data


def test_a_range_is_given_alone(store):
    store.put_bytes("pack", b"0123456789")
    assert store.get_range("pack", 3, 4) == b"3456"
    assert store.get_range("pack", 0, 10) == b"0123456789"
    assert store.get_range("pack", 9, 1) == b"9"
    assert store.get_range("pack", 4, 0) == b""


def test_a_range_beyond_the_end_is_no_range(store):
    store.put_bytes("pack", b"0123456789")
    for offset, length in ((5, 10), (10, 1), (50, 1)):
        with pytest.raises(Corrupt):
            store.get_range("pack", offset, length)


def test_a_listing_is_in_the_order_of_keys(store):
    # "-" and "." stand before "/": a walk over folders in their order would tell otherwise.
    names = ["x/a", "x-a", "x/b/c", "x.y", "z", "ä/ü", "x/b-c", "A", "x/with space+%41", "y/é"]
    for name in names:
        store.put_bytes(name, b"1")
    assert keys(store) == sorted(names)
    assert keys(store, "x/") == sorted(name for name in names if name.startswith("x/"))
    assert keys(store, "x") == sorted(name for name in names if name.startswith("x"))
    assert keys(store, "nothing/") == []
    for after in ("x-a", "x/b/c", "x/b", "x/zz", "zz"):
        assert keys(store, "", after) == [name for name in sorted(names) if name > after], after
    assert keys(store, "x/", "x/b-c") == ["x/b/c", "x/with space+%41"]


def test_a_listing_goes_on_past_a_page(store):
    for n in range(25):  # pages of ten
        store.put_bytes(f"many/{n:02d}", b"1")
    assert keys(store, "many/") == [f"many/{n:02d}" for n in range(25)]
    assert keys(store, "many/", "many/20") == [f"many/{n:02d}" for n in range(21, 25)]


def test_an_object_tells_its_size_and_an_aware_time(store):
    store.put_bytes("a", b"12345")
    info = store.stat("a")
    assert info == next(iter(store.list("a")))
    assert (info.key, info.size) == ("a", 5)
    assert abs(datetime.now(UTC) - info.modified) < timedelta(minutes=1)


def test_what_is_deleted_is_gone(store):
    store.put_bytes("d/a", b"1")
    store.put_bytes("d/b", b"1")
    store.delete("d/a")
    store.delete("d/a")
    assert keys(store) == ["d/b"]
    store.delete("d/b")
    store.put_bytes("d/c", b"1")
    assert keys(store) == ["d/c"]


def test_touching_makes_an_object_new_and_leaves_its_bytes(store, payload):
    sent = payload(LARGE)
    os.utime(sent.path, (1, 1))
    store.put_file("a", sent.path, sent.size, sent.digests)
    first = store.stat("a").modified
    assert first > datetime.now(UTC) - timedelta(minutes=1), "as old as its file, not as its object"
    time.sleep(1.1)  # S3 tells whole seconds
    store.touch("a")
    assert store.stat("a").modified > first
    assert store.get_range("a", 0, sent.size) == sent.data


def test_a_presigned_address_serves_anybody_until_it_expires(store, request):
    store.put_bytes("shared/a", b"archive")
    address = store.presign("shared/a", 60, 'wörds "1".zip')
    if address is None:
        assert store.url.startswith("file:")
        return
    answer = requests.get(address, timeout=10)
    assert (answer.status_code, answer.content) == (200, b"archive")
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in address
    if request.node.callspec.params["store"] == "rclone":  # the one that looks at signatures
        other = "0000" if not address.endswith("0000") else "1111"
        assert requests.get(address[:-4] + other, timeout=10).status_code == 403


NO_KEYS = ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".new/a", "a\0b", "a\nb", "a" * 1000]


def test_no_key_leaves_the_store(store, tmp_path):
    for key in NO_KEYS:
        for call in (
            lambda key: store.put_bytes(key, b"1"),
            lambda key: store.put_file(key, tmp_path / "no", 1, OTHER),
            lambda key: store.get_bytes(key, 1),
            lambda key: store.get_file(key, tmp_path / "a", 1, OTHER),
            lambda key: store.get_range(key, 0, 1),
            lambda key: store.stat(key),
            lambda key: store.delete(key),
            lambda key: store.touch(key),
            lambda key: store.presign(key, 1, "a"),
        ):
            with pytest.raises(ValueError, match="no key"):
                call(key)
    with pytest.raises(ValueError, match="no key"):
        next(store.list("../"))


def test_a_store_without_unfinished_uploads_has_none_to_end(store):
    assert store.abort_stale(3600) == 0


def test_many_threads_use_one_store(store, payload, tmp_path):
    sent = [payload(200_000 + n, f"p{n}") for n in range(12)]

    def there_and_back(n: int) -> bool:
        store.put_file(f"t/{n}", sent[n].path, sent[n].size, sent[n].digests)
        store.get_file(f"t/{n}", tmp_path / f"got{n}", sent[n].size, sent[n].digests)
        return (tmp_path / f"got{n}").read_bytes() == sent[n].data

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(there_and_back, range(12)))


def test_a_store_is_opened_again_and_has_what_it_had(store, request):
    store.put_bytes("a", b"1")
    store.open()
    assert store.get_bytes("a", 1) == b"1"
    assert "probe" not in " ".join(keys(store)), "what was tried at opening is left"
