"""Stores of every kind, opened, each with a place of its own."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from blake3 import blake3

from modelyard.storage.stores.base import Limits, ObjectStore
from modelyard.storage.stores.digests import Digests
from modelyard.storage.stores.opening import open_store

OTHER = Digests("0" * 64)
"""Of no bytes."""

PART = 256 * 1024  # S3's least is 5 MiB; the tests' servers take less
# A silence is noticed within a second: hangs are part of the tests.
QUICK = Limits(connect_s=2, read_s=1, budget_s=20, part=PART, page=10, pause_s=0.02)


@dataclass(frozen=True)
class Payload:
    """A file with what it should be. The size's parity decides what is known: both are tried."""

    path: Path
    size: int
    digests: Digests

    @property
    def data(self) -> bytes:
        return self.path.read_bytes()


@pytest.fixture
def payload(tmp_path):
    """Makes files: `payload(size)`; random bytes, each other ones."""

    def make(size: int, name: str = "payload") -> Payload:
        path = tmp_path / name
        data = os.urandom(size)
        path.write_bytes(data)
        known = blake3(data).hexdigest() if size % 2 else None
        return Payload(path, size, Digests(hashlib.sha256(data).hexdigest(), known))

    return make


@pytest.fixture
def opened():
    """Opens stores at a way (of `moto.fresh()` or `.proxied()`), and closes them at the end."""
    stores: list[ObjectStore] = []

    def open_at(way, limits: Limits = QUICK) -> ObjectStore:
        stores.append(open_store(way.url, way.env, limits))
        stores[-1].open()
        return stores[-1]

    yield open_at
    for store in stores:
        store.close()


@pytest.fixture(scope="session")
def shared_stores():
    """One opened store a server: a client of boto3 takes a quarter of a second of CPU."""
    stores: dict[str, ObjectStore] = {}
    yield stores
    for store in stores.values():
        store.close()


@pytest.fixture
def store(request, tmp_path, shared_stores):
    """An empty store of the kind that the test's parameter names."""
    kind = request.param
    if kind == "folder":
        store = open_store(str(tmp_path / "store"), {})
        store.open()
        return store
    if kind not in shared_stores:
        way = request.getfixturevalue(kind).fresh()
        shared_stores[kind] = open_store(way.url, way.env, QUICK)
        shared_stores[kind].open()
    store = shared_stores[kind]
    for info in list(store.list()):
        store.delete(info.key)
    return store
