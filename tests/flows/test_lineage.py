"""Where a version comes from, over HTTP; and a training like that of a version."""

import io
import platform
import re
import tarfile
import time

import pytest
import requests


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "kin")
    server.wait_ready("kin")
    return server


@pytest.fixture(scope="module")
def first(server):
    """A version whose training had every kind of argument."""
    answer = server.post(
        "/v2/models/kin/train/?hurry=true",
        data={"count": "4", "names": '["a", "b"]', "token": "hush"},
        files={"data": ("my data.txt", b"some data")},
    )
    done = server.wait_run(answer.json())
    assert done["status"] == "done", done
    return done


def lineage(server, version):
    answer = server.get(f"/v2/models/kin/weights/{version}/lineage")
    assert answer.status_code == 200, answer.text
    return answer.json()


def files(server, version):
    told = server.get(f"/v2/models/kin/weights/{version}").json()["files"]
    return {item["path"]: item["sha256"] for item in told}


def like(server, version, **more):
    query = {"like": version, **more.pop("query", {})}
    return server.post("/v2/models/kin/train/", params=query, **more)


def test_a_version_tells_data_code_environment_arguments_and_run(server, first):
    told = lineage(server, first["weights"])
    assert (told["run"], told["origin"]) == (first["uuid"], "training")
    assert (told["step"], told["checkpoint"], told["parent"]) == (4, "last", None)
    assert told["arguments"] == {
        **{"count": 4, "rate": 0.5, "names": ["a", "b"], "from_weights": None},
        **{"data": "my data.txt", "hurry": True, "dataset": None, "archive": None},
    }
    assert told["secrets"] == ["token"] and "hush" not in str(told)
    (upload,) = told["uploads"]
    assert (upload["field"], upload["filename"], upload["size"]) == ("data", "my data.txt", 9)
    assert re.fullmatch("[0-9a-f]{64}", upload["sha256"])
    assert isinstance(told["seed"], int)
    code, environment = told["code"], told["environment"]
    assert code["entry_point"] == "yard_fixtures.kin:Kin"
    assert code["distribution"] == "yard-fixtures" or code["distribution"] == "yard_fixtures"
    assert re.fullmatch("[0-9a-f]{64}", code["source_sha256"])
    assert environment["python"] == platform.python_version()
    assert environment["packages"]["marshmallow"] and environment["packages"]["modelyard"]
    curve = told["curves"]["value"]
    assert [step for step, _ in curve] == [1, 2, 3, 4]
    assert told["links"]["run"].endswith(first["uuid"])


def test_a_fine_tuned_version_names_its_parent(server, first):
    done = server.wait_run(server.train("kin", from_weights="latest"))
    told = lineage(server, done["weights"])
    assert told["weights"] == {"latest": told["parent"]}
    assert told["links"]["parent"].endswith(told["parent"])
    # `latest` is another one now: what is like it starts from the parent of then nevertheless.
    again = server.wait_run(like(server, done["weights"]).json())
    assert again["args"]["from_weights"] == told["parent"]
    assert files(server, again["weights"]) == files(server, done["weights"])


def test_a_training_like_that_of_a_version_gives_the_same_weights(server, first):
    answer = like(server, first["weights"], data={"token": "hush"}, files={"data": b"some data"})
    assert answer.status_code == 200, answer.text
    again = server.wait_run(answer.json())
    assert again["repeats"] == first["weights"]
    same = {name: value for name, value in again["args"].items() if name != "data"}
    assert same == {name: first["args"][name] for name in same}
    assert files(server, again["weights"]) == files(server, first["weights"])
    told = lineage(server, again["weights"])
    assert told["repeats"] == first["weights"]
    assert again["message"] == f"Equal bit for bit to version {first['weights']}."
    assert told["seed"] == lineage(server, first["weights"])["seed"]


def test_what_was_not_recorded_has_to_be_given_again(server, first):
    answer = like(server, first["weights"])
    assert answer.status_code == 422
    assert set(answer.json()) == {"token", "data"}
    assert "secret" in answer.json()["token"][0] and "send it again" in answer.json()["data"][0]


def test_an_explicit_argument_wins_over_that_of_the_version(server, first):
    base = server.wait_run(server.train("kin", count=3, rate=0.25))
    other = server.wait_run(like(server, base["weights"], json={"count": 6}).json())
    assert (other["args"]["count"], other["args"]["rate"]) == (6, 0.25)
    other = server.wait_run(like(server, base["weights"], query={"count": 7}).json())
    assert (other["args"]["count"], other["args"]["rate"]) == (7, 0.25)
    by_header = requests.post(
        server.url + "/v2/models/kin/train/",
        json={},
        headers={"X-Modelyard-Like": base["weights"]},
        timeout=30,
    )
    assert by_header.json()["repeats"] == base["weights"]


def test_a_version_that_is_not_there_is_told_under_like(server):
    answer = like(server, "0" * 32)
    assert answer.status_code == 422 and set(answer.json()) == {"like"}


# -- with data that are kept ----------------------------------------------------------------------


def tar(text):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("a.txt", "b.txt"):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    return packed.getvalue()


def send(server, name, text):
    answer = server.post(
        "/v2/datasets/", params={"name": name}, files={"file": ("data.tar", tar(text))}
    )
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["id"]


def test_a_training_like_another_reads_the_same_version_of_a_dataset(server):
    first = send(server, "letters", b"abc")
    base = server.wait_run(server.train("kin", dataset="letters"))
    told = lineage(server, base["weights"])
    assert (told["dataset"]["id"], told["dataset"]["name"]) == (first, "letters")
    assert re.fullmatch("[0-9a-f]{64}", told["dataset"]["digest"])
    second = send(server, "letters", b"abd")  # the newest of this name is another one now
    again = server.wait_run(like(server, base["weights"]).json())
    assert (again["dataset"], again["args"]["dataset"]) == (first, first)
    assert files(server, again["weights"]) == files(server, base["weights"])
    for more in ({"query": {"dataset": second}}, {"headers": {"X-Modelyard-Dataset": second}}):
        other = server.wait_run(like(server, base["weights"], **more).json())
        assert other["dataset"] == second
        assert files(server, other["weights"]) != files(server, base["weights"])
        assert "part" not in other["message"] and "values.json" in other["message"]


def test_what_was_sent_with_a_training_is_a_dataset_when_it_is_repeated(server):
    answer = server.post("/v2/models/kin/train/", files={"archive": ("x.tar", tar(b"xyz"))})
    base = server.wait_run(answer.json())
    deadline = time.monotonic() + 20
    while server.run(base)["dataset"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    again = server.wait_run(like(server, base["weights"]).json())
    assert again["dataset"] == server.run(base)["dataset"]
    assert files(server, again["weights"]) == files(server, base["weights"])
    other = server.wait_run(
        like(server, base["weights"], files={"archive": ("y.tar", tar(b"other"))}).json()
    )
    assert files(server, other["weights"]) != files(server, base["weights"])


def test_the_data_of_an_imported_version_are_asked_for_and_known_by_their_content(
    server, serve_module
):
    send(server, "vowels", b"aeiou")
    base = server.wait_run(server.train("kin", dataset="vowels"))
    archive = server.get(f"/v2/models/kin/weights/{base['weights']}/archive?format=zip").content
    other = serve_module("--model-name", "kin", "--no-warm-start")
    taken = other.post("/v2/models/kin/weights/", files={"file": ("kin.zip", archive)})
    assert taken.status_code == 201, taken.text
    answer = like(other, base["weights"])
    assert answer.status_code == 422 and set(answer.json()) == {"dataset"}
    assert "vowels" in answer.json()["dataset"][0] and "send it" in answer.json()["dataset"][0]
    mine = send(other, "alphabet", b"aeiou")
    again = other.wait_run(like(other, base["weights"]).json())
    assert again["dataset"] == mine
    assert files(other, again["weights"]) == files(server, base["weights"])


def test_the_parameter_is_documented(server):
    operations = server.get("/openapi.json").json()["paths"]["/v2/models/kin/train/"]
    names = {parameter.get("name") for parameter in operations["post"]["parameters"]}
    assert {"like", "X-Modelyard-Like"} <= names
