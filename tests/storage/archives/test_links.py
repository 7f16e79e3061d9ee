"""Share links: what was signed is given until it expires, and nothing else."""

import base64
import stat
import string
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelyard.errors import NotPermitted
from modelyard.storage.archives.formats import ArchiveFormat
from modelyard.storage.archives.links import Share, link_key, sign, verify

SHARE = Share("m", "a" * 32, ArchiveFormat.TAR_XZ, int(time.time()) + 10_000)


@pytest.fixture
def key(tmp_path):
    return link_key(tmp_path / "link.key")


def test_a_link_gives_what_it_was_made_for(key):
    assert verify(key, sign(key, SHARE), time.time()) == SHARE


def test_a_link_ends(key):
    token = sign(key, SHARE)
    verify(key, token, SHARE.expires_at - 1)
    with pytest.raises(NotPermitted, match="expired"):
        verify(key, token, SHARE.expires_at)


def test_every_changed_character_makes_a_link_invalid(key):
    token = sign(key, SHARE)
    for at in range(len(token)):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(NotPermitted):
            verify(key, changed, time.time())


def test_a_link_has_one_spelling(key):
    token = sign(key, SHARE)
    payload, mac = token.split(".")
    decoded = base64.urlsafe_b64decode(mac + "=")
    same = {mac[:-1] + letter for letter in string.ascii_letters + string.digits + "-_"}
    same = {text for text in same if base64.urlsafe_b64decode(text + "=") == decoded} - {mac}
    assert same, "the last letter has bits that mean nothing"
    others = [f"{payload}.{text}" for text in same]
    others += [token + "=", token + "==", f"{payload}=.{mac}", f"{payload}==.{mac}", token + "."]
    for spelling in others:
        with pytest.raises(NotPermitted):
            verify(key, spelling, time.time())


@pytest.mark.parametrize("token", ["", ".", "x", "x.y", "é.é", "." * 50, "[].AAAA", "A" * 1000])
def test_what_is_no_token_is_not_permitted(key, token):
    with pytest.raises(NotPermitted):
        verify(key, token, time.time())


def test_another_servers_link_is_not_valid_here(key, tmp_path):
    other = link_key(tmp_path / "other.key")
    assert other != key
    with pytest.raises(NotPermitted, match="another server"):
        verify(key, sign(other, SHARE), time.time())


def test_the_key_is_kept_for_its_owner_alone_and_is_one_however_many_ask_first(tmp_path):
    path = tmp_path / "link.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: link_key(path), range(32)))
    assert len(keys) == 1 and len(keys.pop()) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["link.key"]


def test_removing_the_key_ends_all_links(tmp_path, key):
    token = sign(key, SHARE)
    (tmp_path / "link.key").unlink()
    with pytest.raises(NotPermitted):
        verify(link_key(tmp_path / "link.key"), token, time.time())
