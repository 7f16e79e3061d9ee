"""Datasets over HTTP: sent as archive, files, parts or address; read, listed, trained with."""

import base64
import hashlib
import io
import json
import re
import time
import zipfile

import boto3
import pytest
import requests

TABLE = b"one,cat\ntwo,dog\nthree,cat\n"


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "reader,lister", "--max-trainings", "2")
    for model in ("reader", "lister"):
        server.wait_ready(model)
    return server


def packed(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def send(server, name, files, **query):
    answer = server.post(
        "/v2/datasets/",
        params={"name": name, **query},
        data=packed(files),
        headers={"Content-Type": "application/zip"},
    )
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def test_an_archive_becomes_a_dataset_that_its_models_reader_has_read(server):
    files = {"labels.csv": TABLE}
    answer = server.post("/v2/datasets/", files={"file": ("pets.zip", packed(files))})
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert answer.headers["Location"] == told["links"]["self"]
    assert (told["name"], told["number"], told["reference"]) == ("pets", 1, "pets@1")
    assert (told["state"], told["files"], told["size"]) == ("ready", 1, len(TABLE))
    assert told["model"] == "reader", "the only model with a reader"
    assert told["statistics"]["counts"] == {"cat": 2, "dog": 1}
    assert told["problems"] == {"errors": 0, "warnings": 0}
    for reference in (told["id"], "pets", "pets@1"):
        assert server.get(f"/v2/datasets/{reference}").json() == told
    again = server.post("/v2/datasets/", files={"file": ("pets.zip", packed(files))})
    assert (again.status_code, again.json()["id"]) == (200, told["id"])


def test_many_files_are_sent_in_one_form_by_their_paths(server):
    files = [
        ("file", ("labels.csv", TABLE)),
        ("file", ("more/a.txt", b"a")),
        ("file", ("more/b.txt", b"b")),
    ]
    answer = server.post("/v2/datasets/?name=form", files=files)
    assert answer.status_code == 201, answer.text
    zipped = {"more/b.txt": b"b", "labels.csv": TABLE, "more/a.txt": b"a"}
    assert send(server, "zipped", zipped)["digest"] == answer.json()["digest"]


def test_a_report_has_every_fault_with_file_and_line(server):
    made = send(server, "faulty", {"labels.csv": b"one,cat\nno label\nthree,cat\nnor here\n"})
    assert made["problems"]["errors"] == 2
    report = server.get(made["links"]["report"]).json()
    assert [(item["file"], item["line"]) for item in report["problems"]] == [
        ("labels.csv", 2),
        ("labels.csv", 4),
    ]
    assert report["model"] == "reader"
    missing = send(server, "missing", {"other.txt": b"x"})
    told = server.get(missing["links"]["report"]).json()["problems"]
    assert told == [
        {"file": "labels.csv", "line": None, "message": "it is missing", "level": "error"}
    ]


@pytest.mark.parametrize("how", ["raise", "kill", "stop", "nonsense"])
def test_a_reader_that_fails_harms_nobody_and_is_told_in_the_report(server, how):
    made = send(server, f"reader-{how}", {how: b"", "labels.csv": TABLE})
    assert (made["state"], made["problems"]["errors"]) == ("ready", 1)
    report = server.get(made["links"]["report"]).json()
    assert "The model's reader failed" in report["problems"][0]["message"]
    assert server.get("/v2/models/reader/").json()["state"] == "ready"


def test_a_model_without_a_reader_leaves_counts_only(server):
    made = send(server, "plain", {"x/1.txt": b"1", "x/2.txt": b"22"}, model="lister")
    assert made["problems"] is None
    assert made["statistics"]["folders"] == {"x": {"files": 2, "size": 3}}
    report = server.get(made["links"]["report"]).json()
    assert (report["model"], report["problems"]) == (None, [])


@pytest.mark.parametrize(
    ("query", "body", "status", "told"),
    [
        ("name=a/b", b"x", 422, "name"),
        ("name=uploads", b"x", 422, "name"),
        (f"name={'0' * 32}", b"x", 422, "name"),
        ("name=x&model=nobody", b"x", 422, "model"),
        ("nome=x", b"x", 422, "nome"),
        ("", b"x", 422, "name"),
        ("name=x", b"no zip", 400, "archive"),
        ("name=x", packed({"../out": b""}), 400, "leads out"),
    ],
)
def test_what_is_no_dataset_is_refused_and_leaves_nothing(server, query, body, status, told):
    before = server.get("/v2/datasets/").json()
    headers = {"Content-Type": "application/zip"}
    answer = server.post(f"/v2/datasets/?{query}", data=body, headers=headers)
    assert (answer.status_code, told in answer.text) == (status, True), answer.text
    assert server.get("/v2/datasets/").json() == before
    assert not [path for path in (server.home / "datasets").iterdir() if path.name[0] == "."]
    assert list((server.home / "tmp/calls").iterdir()) == []


def test_lists_are_paged_and_filtered_by_name(server):
    for number in range(3):
        send(server, "paged", {"labels.csv": b"%d,cat\n" % number})
    url, seen = "/v2/datasets/?name=paged&limit=2", []
    while url:
        answer = server.get(url)
        seen += [item["reference"] for item in answer.json()["datasets"]]
        link = re.match(r"<(.*)>", answer.headers.get("Link", ""))
        url = link and link[1]
    assert seen == ["paged@3", "paged@2", "paged@1"]
    assert server.get("/v2/datasets/?limit=0").status_code == 422


def test_a_dataset_that_there_is_not_is_404(server):
    for reference in ("nobody", "nobody@3", "0" * 32):
        assert server.get(f"/v2/datasets/{reference}").status_code == 404
        assert server.delete(f"/v2/datasets/{reference}").status_code == 404


# -- training --------------------------------------------------------------------------------------


def trained(server, model, **request):
    answer = server.post(f"/v2/models/{model}/train/", **request)
    assert answer.status_code == 200, answer.text
    ended = server.wait_run(answer.json())
    assert ended["status"] == "done", server.log(ended)
    return ended


@pytest.mark.parametrize("how", ["number", "json", "header"])
def test_a_training_gets_the_files_of_the_dataset_that_its_argument_names(server, how):
    made = send(server, "to-train", {"labels.csv": TABLE})
    request = {
        "number": {"params": {"dataset": "to-train@1"}},
        "json": {"json": {"dataset": "to-train"}},
        "header": {"headers": {"X-Modelyard-Dataset": "to-train"}},
    }[how]
    ended = trained(server, "reader", **request)
    assert ended["dataset"] == made["id"]
    assert ended["result"]["output"]["content"] == {"labels.csv": TABLE.decode()}
    assert ended["args"]["dataset"] in ("to-train", "to-train@1")


def test_a_model_without_such_an_argument_is_told_by_the_server(server):
    made = send(server, "to-list", {"a.txt": b"hello"})
    ended = trained(server, "lister", params={"dataset": made["id"]})
    assert ended["dataset"] == made["id"]
    assert ended["result"]["output"] == {"a.txt": "hello"}


def test_a_name_that_is_no_dataset_is_the_models_own_or_refused(server):
    ended = trained(server, "reader", json={"dataset": "my-folder"})
    assert ended["dataset"] is None
    assert ended["result"]["output"]["dataset"] == "my-folder"
    send(server, "nearby", {"a.txt": b"x"})
    answer = server.post("/v2/models/lister/train/?dataset=nearbi")
    assert answer.status_code == 422 and "nearby" in answer.json()["dataset"][0]


def test_an_uploaded_archive_becomes_a_dataset_of_its_run(server):
    files = {"archive": ("Cats & dogs.zip", packed({"labels.csv": TABLE, "y": b""}))}
    ended = trained(server, "reader", files=files)
    assert ended["result"]["output"]["uploaded"] == "Cats & dogs.zip"
    until = time.monotonic() + 60
    while (dataset := server.run(ended)["dataset"]) is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    made = server.get(f"/v2/datasets/{dataset}").json()
    assert (made["name"], made["source"]["run"]) == ("Cats-dogs", ended["uuid"])
    assert made["statistics"]["counts"] == {"cat": 2, "dog": 1}


def test_a_dataset_goes_when_no_training_needs_it(server, tmp_path):
    made = send(server, "needed", {"labels.csv": b"needed,cat\n"})
    record = server.train("reader", dataset="needed", hold=str(tmp_path / "go"))
    refused = server.delete(made["links"]["self"])
    assert refused.status_code == 409 and record["uuid"] in refused.json()["message"]
    (tmp_path / "go").touch()
    server.wait_run(record)
    assert server.delete(made["links"]["self"]).status_code == 204
    assert server.get(made["links"]["self"]).status_code == 404
    assert not (server.home / "datasets" / made["id"]).exists()
    assert server.run(record)["dataset"] == made["id"], "the record tells what it was"


# -- parts -----------------------------------------------------------------------------------------


def begin(server, data, filename="big.zip", **more):
    body = {"filename": filename, "size": len(data), **more}
    answer = server.post("/v2/datasets/uploads", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def put(server, upload, number, data, **headers):
    url = f"{server.url}{upload['links']['parts']}{number}"
    return requests.put(url, data=data, headers=headers, timeout=60)


def test_a_large_file_comes_in_parts_and_goes_on_after_a_kill(start_server):
    server = start_server("--model-name", "reader", "--client-max-size", "1000")
    server.wait_ready("reader")
    data = packed({"labels.csv": TABLE, "noise.bin": hashlib.sha512(b"x").digest() * 40})
    sha256 = hashlib.sha256(data).hexdigest()
    upload = begin(server, data, sha256=sha256, name="in-parts")
    size, count = upload["part_size"], upload["part_count"]
    assert (upload["state"], upload["parts"], size, count > 2) == ("receiving", [], 1000, True)
    parts = {n: data[(n - 1) * size : n * size] for n in range(1, count + 1)}
    assert put(server, upload, 2, parts[2]).status_code == 204
    early = server.post(upload["links"]["complete"])
    assert early.status_code == 409 and "missing: 1, 3" in early.json()["message"]

    server.kill()
    server = start_server("--model-name", "reader", "--client-max-size", "1000")
    server.wait_ready("reader")
    now = server.get(upload["links"]["self"]).json()
    assert (now["parts"], now["state"]) == ([2], "receiving")
    for number in set(parts) - set(now["parts"]):
        digest = base64.b64encode(hashlib.sha256(parts[number]).digest()).decode()
        answer = put(
            server, upload, number, parts[number], **{"Content-Digest": f"sha-256=:{digest}:"}
        )
        assert answer.status_code == 204, answer.text
    done = server.post(upload["links"]["complete"])
    while done.status_code == 202:
        time.sleep(0.1)
        done = server.post(upload["links"]["complete"])
    assert done.status_code in (200, 201), done.text
    assert (done.json()["name"], done.json()["files"]) == ("in-parts", 2)
    now = server.get(upload["links"]["self"]).json()
    assert (now["state"], now["dataset"], now["parts"]) == ("done", done.json()["id"], [])
    assert put(server, upload, 1, parts[1]).status_code == 409


def test_wrong_parts_are_refused_and_harm_nothing(server):
    upload = begin(server, b"0123456789", "table.csv")
    assert put(server, upload, 1, b"012345678").status_code == 422
    for number in (0, 2, "x", "\u0084", "\u0663", "9" * 5000):
        assert put(server, upload, number, b"x").status_code == 422
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    refused = put(server, upload, 1, b"0123456789", **{"Content-Digest": f"sha-256=:{wrong}:"})
    assert refused.status_code == 422 and "Content-Digest" in refused.json()
    assert server.get(upload["links"]["self"]).json()["parts"] == []
    assert server.delete(upload["links"]["self"]).status_code == 204
    assert put(server, upload, 1, b"0123456789").status_code == 404


def test_an_upload_that_is_not_what_was_announced_fails_and_may_be_mended(server):
    upload = begin(server, b"0123456789", "table.csv", sha256=hashlib.sha256(b"x").hexdigest())
    put(server, upload, 1, b"0123456789")
    assert server.post(upload["links"]["complete"]).status_code == 422
    now = server.get(upload["links"]["self"]).json()
    assert now["state"] == "failed" and "another SHA-256" in now["error"]
    assert now["parts"] == [1]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filename": "x"}, "size"),
        ({"filename": "x", "size": 0}, "size"),
        ({"filename": "x", "size": 3, "sha256": "abc"}, "sha256"),
        ({"filename": "...", "size": 3}, "name"),
        ({"filename": "x", "size": 3, "model": "nobody"}, "model"),
    ],
)
def test_an_upload_that_cannot_be_is_refused_at_once(server, body, field):
    answer = server.post("/v2/datasets/uploads", json=body)
    assert (answer.status_code, list(answer.json())) == (422, [field])


# -- addresses -------------------------------------------------------------------------------------


def test_an_object_is_taken_from_an_allowed_prefix_of_the_store_and_nowhere_else(
    start_server, moto
):
    way = moto.fresh()
    bucket = way.url.removeprefix("s3://").partition("/")[0]
    client = boto3.client(
        "s3",
        endpoint_url=way.env["AWS_ENDPOINT_URL"],
        aws_access_key_id=way.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=way.env["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    client.put_object(Bucket=bucket, Key="open/pets.zip", Body=packed({"labels.csv": TABLE}))
    client.put_object(Bucket=bucket, Key="openly/secret.zip", Body=packed({"labels.csv": TABLE}))
    flags = ("--storage", way.url, "--dataset-sources", f"s3://{bucket}/open")
    server = start_server("--model-name", "reader", *flags, env=way.env)
    server.wait_ready("reader")
    answer = server.post("/v2/datasets/", json={"address": f"s3://{bucket}/open/pets.zip"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["name"], made["files"]) == ("pets", 1)
    assert made["source"]["address"] == f"s3://{bucket}/open/pets.zip"
    for address, status in (
        (f"s3://{bucket}/openly/secret.zip", 403),
        (f"s3://{bucket}/open/../openly/secret.zip", 422),
        ("s3://other/open/pets.zip", 403),
        ("/etc/passwd", 422),
        (f"s3://{bucket}/open/nothing.zip", 404),
    ):
        answer = server.post("/v2/datasets/", json={"address": address, "name": "x"})
        assert answer.status_code == status, (address, answer.text)


def test_no_address_leads_out_of_the_uploads(server):
    inside = {"id": "x", "filename": "x", "size": 1, "part_size": 9, "created_at": "2026-01-01"}
    made = send(server, "trojan", {"upload.json": json.dumps(inside).encode(), "parts/2": b"x"})
    for step in ("..%2F", "..%2f", "%2E%2E%2F"):
        path = f"/v2/datasets/uploads/{step}datasets%2F{made['id']}%2Ffiles"
        assert server.get(path).status_code == 404
        put = requests.put(f"{server.url}{path}/parts/1", data=b"y", timeout=10)
        assert put.status_code == 404
        assert server.delete(path).status_code == 404
    assert server.get("/v2/datasets/uploads/" + "a" * 300).status_code == 404


def test_a_cursor_of_no_list_is_an_argument_error(server):
    for cursor in (2**63, 2**200, -1, "x"):
        answer = server.get("/v2/datasets/", params={"cursor": str(cursor)})
        assert (answer.status_code, list(answer.json())) == (422, ["cursor"])
    for cursor in (f"{2**63:x}", "f" * 40, "-1", "1_0", "0x10", "z"):
        answer = server.get("/v2/models/reader/weights/", params={"cursor": cursor})
        assert (answer.status_code, list(answer.json())) == (422, ["cursor"])


@pytest.mark.parametrize("kind", [{}, {"Content-Type": "application/json"}])
def test_who_sends_nothing_is_told_what_may_be_sent(server, kind):
    told = server.post("/v2/datasets/", headers=kind)
    assert told.status_code == 422 and list(told.json()) == ["address"]
    (said,) = told.json()["address"]
    assert "no body" in said and "application/zip" in said and "multipart/form-data" in said
    told = server.post("/v2/datasets/uploads/", headers=kind)
    assert told.status_code == 422 and set(told.json()) == {"filename", "size"}
    assert "no body" in told.json()["size"][0] and "application/json" in told.json()["size"][0]
