"""Which small files travel together."""

import hashlib
import random

import pytest

from modelyard.errors import Corrupt
from modelyard.storage.transfer.layout import PACK, SMALL
from modelyard.storage.transfer.manifests import File
from modelyard.storage.transfer.packs import cut_pack, make_pack, plan_packs
from modelyard.storage.transfer.sealed import seal, unseal
from modelyard.storage.versions import BadVersion

rng = random.Random(5)


def listed(count: int, size: int) -> list[File]:
    return [File(f"{n}", size, hashlib.sha256(rng.randbytes(8)).hexdigest()) for n in range(count)]


def test_packs_are_about_as_large_as_they_should_be_and_hold_every_small_file_once():
    files = listed(3000, 30_000)
    plans = plan_packs([*files, *files, File("large", SMALL, "f" * 64), File("empty", 0, "e" * 64)])
    assert all(plan.size < 1.3 * PACK for plan in plans)
    assert len(plans) == 8
    packed = [file.sha256 for plan in plans for file in plan.files]
    assert sorted(packed) == sorted(file.sha256 for file in files)


def test_one_changed_file_changes_two_packs_at_most():
    files = listed(5000, 30_000)
    before = {plan.name for plan in plan_packs(files)}
    after = {plan.name for plan in plan_packs([*files[1:], *listed(1, 30_000)])}
    assert len(before) == 16
    assert len(after - before) <= 2


def test_the_order_of_the_files_does_not_matter():
    files = listed(100, 1000)
    assert plan_packs(files) == plan_packs(files[::-1])


def test_a_pack_gives_back_what_was_put_into_it(tmp_path):
    data = {f"{n}": rng.randbytes(rng.randrange(1, 5000)) for n in range(100)}
    for name, content in data.items():
        (tmp_path / name).write_bytes(content)
    files = [File(n, len(d), hashlib.sha256(d).hexdigest()) for n, d in data.items()]
    (plan,) = plan_packs(files)
    made = make_pack(plan, tmp_path)
    placed = plan.placed(hashlib.sha256(made).hexdigest())
    assert {file.path: bytes(part) for file, part in cut_pack(placed, made, files)} == data
    with pytest.raises(BadVersion):
        list(cut_pack(placed, made, [File("x", 1, "0" * 64)]))


def test_a_file_that_grew_shrank_or_changed_is_not_packed(tmp_path):
    file = File("a", 4, hashlib.sha256(b"good").hexdigest())
    (plan,) = plan_packs([file])
    for wrong in (b"goo", b"goods", b"evil"):
        (tmp_path / "a").write_bytes(wrong)
        with pytest.raises(BadVersion):
            make_pack(plan, tmp_path)
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to("/etc/hostname")
    with pytest.raises(OSError):
        make_pack(plan, tmp_path)


def test_a_seal_breaks_with_any_bit():
    text = b'{"a":1,"b":"x"}'
    sealed = seal(text)
    assert unseal(sealed, "it") == text
    for place in range(len(text) - 1):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(Corrupt):
            unseal(bytes(changed), "it")
