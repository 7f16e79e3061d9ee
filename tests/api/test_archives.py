"""Archives over HTTP: out of one server and into another, by file and by link."""

import hashlib
import io
import json
import random
import tarfile
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests

EVERY = pytest.mark.parametrize("kind", ["tar.gz", "tar.xz", "zip"])


@pytest.fixture(scope="module")
def here(serve_module):
    """A server on which `counter` has been trained."""
    server = serve_module("--model-name", "counter,bare", "--trusted-proxies", "127.0.0.1")
    server.wait_ready("counter")
    run = server.wait_run(server.train("counter", steps=7))
    assert run["status"] == "done", server.log(run)
    server.version = run["weights"]
    return server


@pytest.fixture(scope="module")
def there(serve_module):
    """A server that has never trained anything."""
    server = serve_module("--model-name", "counter,bare", "--client-max-size", "200K")
    server.wait_ready("counter")
    return server


def weights(version: str, part: str = "", model: str = "counter") -> str:
    return f"/v2/models/{model}/weights/{version}{part}"


def archive_of(server, kind: str = "tar.gz") -> bytes:
    answer = server.get(weights(server.version, "/archive"), params={"format": kind})
    assert answer.status_code == 200, answer.text
    return answer.content


def take_in(server, content: bytes, model: str = "counter", **more) -> requests.Response:
    more.setdefault("headers", {"Content-Type": "application/octet-stream"})
    return server.post(f"/v2/models/{model}/weights/", data=content, **more)


def test_an_exported_version_predicts_the_same_on_another_server(here, there):
    answer = take_in(there, archive_of(here, "tar.xz"))
    assert answer.status_code == 201, answer.text
    version = answer.json()
    assert version["id"] == here.version and version["metrics"] == {"count": 7}
    assert answer.headers["Location"] == weights(here.version)
    assert there.get(answer.headers["Location"]).json()["files"] == version["files"]
    for server in (here, there):
        predicted = server.predict("counter", json={"plus": 1}, params={"weights": version["id"]})
        assert predicted.json()["predictions"] == {"count": 8}, predicted.text
    # It is the model's first version there, so predictions use it without being told.
    assert there.predict("counter", json={"plus": 2}).json()["predictions"] == {"count": 9}


@EVERY
def test_what_was_imported_can_be_exported_and_passed_on(here, there, kind):
    assert take_in(there, archive_of(here, kind)).status_code in (200, 201)
    theirs = archive_of_imported(there, here.version, kind)
    ours = archive_of_imported(here, here.version, kind)
    assert theirs["files/count.json"] == ours["files/count.json"] == COUNT
    assert take_in(here, archive_of(here, kind)).status_code == 200


def archive_of_imported(server, version: str, kind: str) -> dict[str, bytes]:
    content = server.get(weights(version, "/archive"), params={"format": kind}).content
    if kind == "zip":
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            return {name: file.read(name) for name in file.namelist()}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_an_archive_has_a_name_a_type_and_a_tag(here):
    answer = here.get(weights("latest", "/archive"), params={"format": "tar.xz"})
    assert answer.headers["Content-Type"] == "application/x-xz"
    name = f"counter-{here.version[:8]}.tar.xz"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    tag = answer.headers["ETag"]
    mine = weights(here.version, "/archive?format=tar.xz")
    again = here.get(mine, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert here.get(weights(here.version, "/archive")).headers["ETag"] != tag
    head = requests.head(here.url + mine, timeout=30)
    assert (head.status_code, head.headers["ETag"], head.content) == (200, tag, b"")


def test_an_archive_is_sent_from_its_beginning_and_says_so(here):
    """Packed while it is sent, its length is known at its end alone: no part can be asked for."""
    whole = archive_of(here)
    mine = here.url + weights(here.version, "/archive")
    for answer in (
        requests.get(mine, headers={"Range": "bytes=100-"}, timeout=30),
        requests.get(shared(here)["url"], headers={"Range": "bytes=0-9"}, timeout=30),
    ):
        assert (answer.status_code, answer.content) == (200, whole), "not a part taken for all"
        assert answer.headers["Accept-Ranges"] == "none"
        assert "Content-Length" not in answer.headers
    head = requests.head(mine, timeout=30).headers
    assert head["Accept-Ranges"] == "none" and "Content-Length" not in head


def test_the_card_is_markdown_with_what_the_version_reached(here):
    answer = here.get(weights("latest", "/card"))
    assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert answer.text.startswith("# counter\n") and "| count | 7 |" in answer.text
    assert archive_of_imported(here, here.version, "zip")["MODEL_CARD.md"].decode() == answer.text


def test_what_is_not_there_is_not_exported(here):
    for part in ("/archive", "/card"):
        assert here.get(weights("0" * 32, part)).status_code == 404
        assert here.get(weights(here.version, part, model="bare")).status_code == 404
    assert here.post(weights("0" * 32, "/link"), json={}).status_code == 404
    wrong = here.get(weights("latest", "/archive"), params={"format": "rar"})
    assert wrong.status_code == 422 and "format" in wrong.json()


# -- taking in --------------------------------------------------------------------------------


def test_taking_in_the_same_version_again_changes_nothing(here, there):
    first = take_in(there, archive_of(here))
    assert first.status_code in (200, 201), first.text
    again = take_in(there, archive_of(here, "zip"))
    assert again.status_code == 200 and again.json() == first.json()
    assert take_in(here, archive_of(here)).status_code == 200
    form = there.post(
        "/v2/models/counter/weights/", files={"file": ("mine.tar.gz", archive_of(here))}
    )
    assert form.status_code == 200, form.text
    assert [v["id"] for v in there.get(weights("")).json()["weights"]] == [here.version]


def packed(manifest: dict, files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def manifest_of(server) -> dict:
    with zipfile.ZipFile(io.BytesIO(archive_of(server, "zip"))) as archive:
        return json.loads(archive.read("manifest.json"))


def described(content: bytes, path: str = "a.bin") -> dict:
    sha256 = hashlib.sha256(content).hexdigest()
    return {"path": path, "size": len(content), "sha256": sha256}


COUNT = b'{"count": 7}'


def with_ballast(server, content: bytes) -> dict:
    """The manifest of weights that can be loaded, with one more file: `a.bin`."""
    return {**manifest_of(server), "files": [described(COUNT, "count.json"), described(content)]}


def files(content: bytes) -> dict[str, bytes]:
    return {"files/count.json": COUNT, "files/a.bin": content}


def test_an_id_that_means_another_version_here_is_a_conflict(here):
    forged = b'{"count": 9}'
    manifest = {**manifest_of(here), "files": [described(forged, "count.json")]}
    answer = take_in(here, packed(manifest, {"files/count.json": forged}))
    assert answer.status_code == 409, answer.text
    assert here.predict("counter", json={"plus": 0}).json()["predictions"] == {"count": 7}


def test_another_models_version_is_a_conflict(here, there):
    answer = take_in(there, archive_of(here), model="bare")
    assert answer.status_code == 409 and "'counter'" in answer.json()["detail"]
    assert take_in(there, archive_of(here), model="nobody").status_code == 404


def test_what_is_no_whole_version_is_refused_and_leaves_nothing(here, there):
    content = archive_of(here)
    before = sorted(there.home.joinpath("weights").iterdir())
    for wrong in (content[:-30], b"no archive", packed({}, {}), packed(manifest_of(here), {})):
        answer = take_in(there, wrong)
        assert answer.status_code == 400 and answer.json()["detail"], answer.text
    assert sorted(there.home.joinpath("weights").iterdir()) == before
    assert list(there.home.joinpath("tmp", "calls").iterdir()) == []


def test_the_size_and_the_kind_of_the_request_are_checked(here, there):
    assert take_in(there, random.randbytes(300_000)).status_code == 413
    plain = take_in(there, archive_of(here), headers={"Content-Type": "text/plain"})
    assert plain.status_code == 415
    assert there.post("/v2/models/counter/weights/").status_code == 400
    two = [("file", ("a", b"x")), ("file", ("b", b"y"))]
    assert there.post("/v2/models/counter/weights/", files=two).status_code == 400


@pytest.mark.slow
def test_a_server_killed_while_it_takes_in_versions_has_each_whole_or_not_at_all(
    here, start_server, tmp_path
):
    """Archives of new ids are sent by several clients; the server is killed among them."""
    content = random.Random(1).randbytes(1 << 20)
    manifest = with_ballast(here, content)
    server = start_server("--model-name", "counter", home=tmp_path / "killed")
    acknowledged: list[str] = []

    def send(number: int) -> None:
        archive = packed({**manifest, "id": f"{number:032x}"}, files(content))
        try:
            if take_in(server, archive).status_code == 201:
                acknowledged.append(f"{number:032x}")
        except requests.RequestException:
            pass

    with ThreadPoolExecutor(4) as clients:
        sending = [clients.submit(send, number) for number in range(1, 16)]
        until = time.monotonic() + 30
        while len(acknowledged) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.3))
        server.kill()
        for one in sending:
            one.result()
    assert acknowledged
    again = start_server("--model-name", "counter", home=tmp_path / "killed")
    listed = {version["id"] for version in again.get(weights("")).json()["weights"]}
    assert set(acknowledged) <= listed
    for folder in (tmp_path / "killed" / "weights").iterdir():
        assert (folder / "files" / "a.bin").read_bytes() == content, folder
    for version in listed:
        assert again.get(weights(version, "/archive")).status_code == 200
    for number in range(1, 16):  # what was not acknowledged can be sent again
        if f"{number:032x}" not in listed:
            archive = packed({**manifest, "id": f"{number:032x}"}, files(content))
            assert take_in(again, archive).status_code == 201
            break


# -- damage, and clients that leave -----------------------------------------------------------


@pytest.fixture(scope="module")
def large(here, serve_module):
    """A server with one version, of some megabytes that do not shrink."""
    server = serve_module("--model-name", "counter", "--public-url", "https://yard.example/a")
    content = random.Random(1).randbytes(12 << 20)
    answer = take_in(server, packed(with_ballast(here, content), files(content)))
    assert answer.status_code == 201, answer.text
    server.version = here.version
    return server


def test_clients_that_leave_in_the_middle_leave_no_process_behind(large):
    for _ in range(2):
        with large.begun(weights(large.version, "/archive")):
            seen = time.monotonic() + 5  # /proc may miss a child while others come and go
            while not large.children("storage.archives"):
                assert time.monotonic() < seen
    until = time.monotonic() + 15
    while large.children("storage.archives") and time.monotonic() < until:
        time.sleep(0.05)
    assert large.children("storage.archives") == []


def test_a_damaged_version_is_told_and_never_sent_as_a_whole_one(large):
    path = large.home / "weights" / large.version / "files" / "a.bin"
    content = path.read_bytes()
    for place in (path, path.parent):  # read only, as a model has loaded them
        place.chmod(0o755)
    try:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(requests.RequestException):  # it had begun: the connection is cut
            large.get(weights(large.version, "/archive"))
        path.unlink()
        answer = large.get(weights(large.version, "/archive"))
        told = answer.json()
        assert (answer.status_code, told["type"]) == (500, "urn:modelyard:corrupt")
        assert "a.bin is missing" in told["detail"] and str(large.home) not in told["detail"]
        assert large.get("/healthz").status_code == 200
    finally:
        path.write_bytes(content)


# -- links ------------------------------------------------------------------------------------


def shared(here, **body) -> dict:
    answer = here.post(weights("latest", "/link"), json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


@EVERY
def test_a_link_gives_the_archive_and_nothing_else_is_asked_for(here, kind):
    link = shared(here, format=kind)
    assert link["by"] == "server" and link["url"].startswith(here.url + "/v2/shared/")
    answer = requests.get(link["url"], timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.content == archive_of(here, kind)
    assert answer.headers["Content-Disposition"].endswith(f'.{kind}"')


def test_a_link_ends_and_cannot_be_changed_into_another(here):
    link = shared(here, expires_s=1)
    token = urlsplit(link["url"]).path.rpartition("/")[2]
    assert requests.get(link["url"][:-6] + "AAAAAA", timeout=30).status_code == 403
    assert requests.get(link["url"] + "=", timeout=30).status_code == 403
    time.sleep(1.2)
    ended = requests.get(link["url"], timeout=30)
    assert ended.status_code == 403 and "expired" in ended.json()["detail"]
    assert here.get(f"/v2/shared/{token.partition('.')[0]}").status_code == 403
    assert here.get("/v2/shared/anything").status_code == 403


def test_what_a_link_may_be_is_checked(here):
    wrong = [{"expires_s": value} for value in (0, 10**9, "5", 1.5, True, None)]
    for body in (*wrong, {"format": "rar"}, {"other": 1}):
        answer = here.post(weights("latest", "/link"), json=body)
        assert answer.status_code == 422 and list(body) == list(answer.json()), body


def test_a_link_behind_a_proxy_is_of_the_name_and_scheme_that_the_client_used(here):
    headers = {"Host": "localhost", "X-Forwarded-Proto": "https"}
    answer = here.post(weights("latest", "/link"), json={}, headers=headers)
    assert answer.json()["url"].startswith("https://localhost/v2/shared/")


def test_a_link_begins_with_the_public_address_and_believes_no_stranger(large):
    answer = large.post(weights(large.version, "/link"), json={})
    assert answer.json()["url"].startswith("https://yard.example/a/v2/shared/")


def test_predictions_go_on_while_archives_are_packed(here):
    stop = threading.Event()

    def pack() -> None:
        while not stop.is_set():
            archive_of(here, "tar.xz")

    packing = threading.Thread(target=pack)
    packing.start()
    try:
        for _ in range(20):
            assert here.predict("counter", json={"plus": 0}).status_code == 200
    finally:
        stop.set()
        packing.join()


def test_a_link_of_a_shared_store_works_without_the_server_and_without_credentials(
    start_server, rclone, tmp_path
):
    server = start_server(
        *("--model-name", "counter", "--storage", f"{rclone.url}/links"), env=rclone.env
    )
    server.wait_ready("counter")
    server.version = server.wait_run(server.train("counter", steps=2))["weights"]
    link = shared(server, format="zip", expires_s=600)
    assert link["by"] == "store" and "/v2/shared/" not in link["url"]
    expected = archive_of(server, "zip")
    beyond = shared(server, expires_s=8 * 86_400)  # longer than a store signs
    assert beyond["by"] == "server" and requests.get(beyond["url"], timeout=30).status_code == 200
    rclone.stop()
    asleep = shared(server)
    assert asleep["by"] == "server" and requests.get(asleep["url"], timeout=30).status_code == 200
    rclone.start()
    server.stop()
    answer = requests.get(link["url"], timeout=30)
    assert answer.status_code == 200 and answer.content == expected
    part = requests.get(link["url"], headers={"Range": "bytes=5-"}, timeout=30)
    assert part.content == expected[5:], "it can be resumed"
    assert f'filename="counter-{server.version[:8]}.zip"' in answer.headers["Content-Disposition"]


def test_a_folder_as_shared_store_leaves_links_to_the_server(start_server, tmp_path):
    server = start_server("--model-name", "counter", "--storage", str(tmp_path / "store"))
    server.wait_ready("counter")
    server.version = server.wait_run(server.train("counter", steps=2))["weights"]
    link = shared(server)
    assert link["by"] == "server"
    assert requests.get(link["url"], timeout=30).content == archive_of(server)
