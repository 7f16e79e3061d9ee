"""What the server is given to know, no model finds: in none of its processes, in nobody else's."""

import json
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[1] / "plugins"
SECRETS = {
    "AWS_ACCESS_KEY_ID": "canary-id",
    "AWS_SECRET_ACCESS_KEY": "canary-key",
    "AWS_SESSION_TOKEN": "canary-session",
    "MODELYARD_SECRET": "canary-setting",
    "DATABASE_URL": "canary-database",
    "GITHUB_TOKEN": "canary-token",
    "HF_TOKEN": "canary-hub",
    "SOMEBODYS": "canary-unknown",
}


@pytest.mark.parametrize(
    "own",
    [
        pytest.param(False, id="our-interpreter"),
        pytest.param(True, id="own-interpreter", marks=pytest.mark.slow),
    ],
)
def test_a_model_that_looks_for_the_servers_secrets_finds_none_whatever_it_is_asked_to_do(
    start_server, tmp_path, own
):
    diary = tmp_path / "diary.jsonl"
    table = f'[models.spy.env]\nSPY_FILE = "{diary}"\n'
    if own:
        table = f'[models.spy]\npython = "{sys.executable}"\n{table}PYTHONPATH = "{PLUGINS}"\n'
    config = tmp_path / "yard.toml"
    config.write_text(table)
    server = start_server(
        *("--model-name", "spy", "--config-file", str(config)),
        *("--storage", str(tmp_path / "store")),
        env=SECRETS,
    )
    assert server.wait_ready("spy")["state"] == "ready"
    assert server.get("/tensorboard/").status_code == 200
    assert server.predict("spy").status_code == 200
    version = server.wait_run(server.train("spy"))["weights"]
    assert server.predict("spy").status_code == 200
    answer = server.post(f"/v2/models/spy/weights/{version}/exports/", json={"format": "none"})
    assert answer.status_code == 201, answer.text
    parts = [("file", ("a.txt", b"one"))]
    dataset = server.post("/v2/datasets/", params={"name": "d", "model": "spy"}, files=parts)
    assert dataset.status_code in (200, 201), dataset.text
    assert server.children("modelyard.storage.process"), "the storage process was there to be seen"

    looked = [json.loads(line) for line in diary.read_text().splitlines()]
    assert {one["when"] for one in looked} >= {
        *("import", "describe", "load", "predict", "train", "export"),
    }
    assert all(one["seen"] >= 5 for one in looked)  # it could read others' at all
    assert {text for one in looked for text in one["found"]} == set()
