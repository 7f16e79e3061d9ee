"""Bits that flip in every upload: nothing of it is published, and the next attempt mends it."""

import pytest
from yard_bundles import contents, key_of, make_bundle

from modelyard.errors import NotFound, StorageUnavailable
from modelyard.storage.stores.base import Limits
from modelyard.storage.stores.opening import open_store
from modelyard.storage.transfer.fetch import Fetcher
from modelyard.storage.transfer.publish import Publisher
from modelyard.storage.transfer.work import Meter, StoreClock, Workers

PART = 512 * 1024
LIMITS = Limits(read_s=2, budget_s=10, tries=2, pause_s=0.01, part=PART)
FILES = {
    "parts.bin": bytes(range(256)) * 5000,  # parts
    "blob.bin": b"whole" * 70_000,  # a blob, sent whole
    "small.json": b'{"a": 1}',  # in a pack
}


@pytest.fixture(params=["moto", pytest.param("rclone", marks=pytest.mark.slow)])
def way(request):
    return request.getfixturevalue(request.param).proxied()


@pytest.mark.parametrize("match", ["blobs/", "packs/", "models/"])
@pytest.mark.parametrize("etags", ["told", pytest.param("odd", marks=pytest.mark.slow)])
def test_what_was_damaged_in_every_upload_is_right_after_the_next(way, tmp_path, match, etags):
    if etags == "odd":
        way.faults.add("odd_etag", times=None)
    store = open_store(way.url, way.env, LIMITS)
    store.open()
    workers = Workers(2)
    publisher = Publisher(store, tmp_path / "state", workers, StoreClock(store))
    folder = make_bundle(tmp_path / "source", FILES)
    key = key_of(folder)
    fault = way.faults.first("flip_upload", "PUT", match, times=None)
    with pytest.raises(StorageUnavailable):
        publisher.publish(key, folder, Meter())
    assert fault.hits >= 2
    fetcher = Fetcher(store, tmp_path / "state", workers)
    with pytest.raises(NotFound):
        fetcher.fetch(key, tmp_path / "early", Meter())
    way.faults.clear()
    if etags == "odd":
        way.faults.add("odd_etag", times=None)
    publisher.publish(key, folder, Meter())
    assert contents(fetcher.fetch(key, tmp_path / "fetched", Meter())) == FILES
    store.close()
