"""What may be said to --storage, and what is said to who says something else."""

import stat
from pathlib import Path

import pytest

from modelyard.errors import StoreRefused, StoreUnavailable
from modelyard.storage.stores.digests import Digests
from modelyard.storage.stores.opening import open_store
from modelyard.storage.stores.url import StoreUrl, parse_store_url, without_secrets

from .conftest import QUICK


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket", StoreUrl("s3", "bucket")),
        ("s3://bucket/", StoreUrl("s3", "bucket")),
        ("s3://my.bucket/a/b/", StoreUrl("s3", "my.bucket", "a/b")),
        ("/srv/store", StoreUrl("folder", path=Path("/srv/store"))),
        ("file:///srv/a%20b", StoreUrl("folder", path=Path("/srv/a b"))),
    ],
)
def test_a_store_is_named_by_bucket_or_folder(text, expected):
    assert parse_store_url(text) == expected
    assert parse_store_url(str(parse_store_url(text))) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("s3://key:hunter2@bucket/a", "AWS_ACCESS_KEY_ID"),
        ("s3://hunter2@bucket", "AWS_ACCESS_KEY_ID"),
        ("s3://", "name of a bucket"),
        ("s3://a", "name of a bucket"),
        ("s3://bucket:9000/a", "AWS_ENDPOINT_URL"),
        ("s3://bucket/a/../b", "prefix"),
        ("s3://bucket/a//b", "prefix"),
        ("s3://bucket/a?secret=hunter2", "query"),
        ("http://localhost:9000/bucket", "AWS_ENDPOINT_URL"),
        ("file://server/a", "this machine"),
        ("store", "kind of storage"),
        ("", "kind of storage"),
        ("s3://[", "cannot be read"),
    ],
)
def test_what_names_no_store_is_told_with_the_remedy_and_no_secret(text, told):
    with pytest.raises(StoreRefused, match=told) as raised:
        parse_store_url(text)
    assert "hunter2" not in str(raised.value)


def test_wrong_credentials_are_told_with_the_remedy_and_no_secret(rclone):
    for change in ({"AWS_SECRET_ACCESS_KEY": "hunter2"}, {"AWS_ACCESS_KEY_ID": "hunter2"}):
        store = open_store(rclone.url, {**rclone.env, **change})
        with pytest.raises(StoreRefused, match=r"AWS_SECRET_ACCESS_KEY|may not do that") as raised:
            store.open()
        assert "hunter2" not in str(raised.value)
        store.close()


def test_a_missing_bucket_is_told(rclone):
    store = open_store("s3://nobodys", rclone.env)
    with pytest.raises(StoreRefused, match="no such bucket"):
        store.open()
    store.close()


def test_an_endpoint_that_is_no_address_and_an_unknown_profile_are_told(rclone):
    for change in ({"AWS_ENDPOINT_URL": "localhost"}, {"AWS_PROFILE": "nobodys"}):
        with pytest.raises(StoreRefused, match="AWS_"):
            open_store(rclone.url, {**rclone.env, **change}).open()


def test_credentials_and_endpoint_of_a_profile_are_used(rclone, tmp_path):
    config = tmp_path / "config"
    config.write_text(
        "[profile yard]\naws_access_key_id = testkey\naws_secret_access_key = testsecret\n"
        f"endpoint_url = {rclone.env['AWS_ENDPOINT_URL']}\nregion = us-east-1\n"
    )
    store = open_store(rclone.fresh().url, {"AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "yard"})
    store.open()
    assert store.put_bytes("a", b"1")
    store.close()


def test_a_bucket_that_is_no_host_name_of_its_server_is_asked_for_by_path(rclone, tmp_path):
    """As an AWS configuration file says it, and no server of one's own has names for it."""
    (tmp_path / "config").write_text("[default]\ns3 =\n  addressing_style = virtual\n")
    way = rclone.fresh()
    store = open_store(way.url, {**way.env, "AWS_CONFIG_FILE": str(tmp_path / "config")}, QUICK)
    store.open()
    store.put_bytes("a", b"1")
    assert store.get_bytes("a", 9) == b"1"
    assert f"{rclone.port}/yard/" in str(store.presign("a", 60, "a"))
    store.close()


def test_a_folder_whose_parent_is_away_is_not_made(tmp_path):
    store = open_store(str(tmp_path / "mount" / "store"), {})
    with pytest.raises(StoreUnavailable, match="not there"):
        store.open()
    assert not (tmp_path / "mount").exists()


def test_whoever_writes_into_a_file_that_was_put_or_got_does_not_reach_the_store(tmp_path):
    store = open_store(str(tmp_path / "store"), {})
    store.open()
    file = tmp_path / "a"
    known = Digests("ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb")
    file.write_bytes(b"a")
    store.put_file("blobs/a", file, 1, known)
    store.get_file("blobs/a", tmp_path / "got", 1, known)
    (tmp_path / "got").write_bytes(b"b")
    assert store.get_bytes("blobs/a", 9) == b"a"
    file.write_bytes(b"c")
    store.get_file("blobs/a", tmp_path / "got", 1, known)
    assert (tmp_path / "got").read_bytes() == b"a"


def test_what_a_killed_process_left_in_a_folder_is_removed_and_never_listed(tmp_path):
    store = open_store(str(tmp_path / "store"), {})
    store.open()
    (tmp_path / "store" / ".new" / "half").write_bytes(b"1")
    assert list(store.list()) == []
    assert store.abort_stale(3600) == 0
    assert store.abort_stale(-60) == 1
    assert stat.S_ISDIR((tmp_path / "store" / ".new").stat().st_mode)


@pytest.mark.parametrize(
    "text",
    [
        "s3://key:SECRET@bucket/p",
        "s3://key:SEC/SECRET@bucket/p",
        "s3://SECRET@bucket",
        "s3://bucket/p?secret=SECRET",
        "https://key:SECRET@host/p#SECRET",
    ],
)
def test_what_is_told_of_an_address_has_no_secret(text):
    told = without_secrets(text)
    assert "SECRET" not in told
    assert told.startswith(text.partition("://")[0])
    for plain in ("s3://bucket/a/prefix", "/a/folder", "file:///a/folder"):
        assert without_secrets(plain) == plain
