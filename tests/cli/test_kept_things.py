"""`weights`, `datasets`, `train --like` and pausing, against real servers: as a user types them."""

from __future__ import annotations

import http.server
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile

import pytest

from modelyard.cli.main import main

MODEL = "counter"


@pytest.fixture(scope="module")
def yard(serve_module, tmp_path_factory):
    """A server with a shared store."""
    store = tmp_path_factory.mktemp("store")
    server = serve_module(
        "--model-name",
        "counter,reader,stepper,kin",
        "--max-trainings",
        "2",
        "--storage",
        str(store),
    )
    for model in ("counter", "reader", "stepper", "kin"):
        server.wait_ready(model)
    return server


@pytest.fixture
def typed(yard, monkeypatch, capsys):
    """`typed(*words)` is what a command writes, in this process; `code` is its exit code."""

    def run(*words, code=0, url=yard.url):
        monkeypatch.setenv("MODELYARD_URL", url)
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr(sys, "argv", ["modelyard", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        told = capsys.readouterr()
        assert (ended.value.code or 0) == code, told
        return told.out if code == 0 else told.err

    return run


@pytest.fixture(scope="module")
def trained(yard):
    records = [yard.wait_run(yard.train(MODEL, steps=steps)) for steps in (2, 3)]
    assert [record["status"] for record in records] == ["done", "done"], records
    return [record["weights"] for record in records]


def test_versions_are_listed_shown_and_explained(typed, trained):
    older, newer = trained
    table = typed("weights", MODEL)
    assert older in table and newer in table and "latest" in table
    listed = json.loads(typed("weights", "list", MODEL, "--json", "--limit", 1))
    assert [item["id"] for item in listed] == [newer]
    assert "count.json" in typed("weights", "show", MODEL, older[:8])
    assert json.loads(typed("weights", "show", MODEL, "--json"))["id"] == newer
    text = typed("weights", "lineage", MODEL, older)
    assert "--steps" in text and f"train {MODEL} --like {older}" in text
    assert typed("weights", "card", MODEL).startswith("#")
    assert "no weights version" in typed("weights", "show", MODEL, "none", code=1)


def test_versions_are_labelled_named_and_rolled_back(typed, trained):
    older, _ = trained
    assert "paper" in typed("weights", "tag", MODEL, older, "paper", "old")
    assert "old" not in typed("weights", "tag", MODEL, older, "--remove", "old")
    assert older in typed("weights", "list", MODEL, "--tag", "paper")
    assert "good" in typed("weights", "notes", MODEL, older, "good enough")
    assert typed("weights", "notes", MODEL, older) == "good enough\n"
    typed("weights", "alias", "set", MODEL, "production", older)
    assert "rollback" in typed("weights", "alias", "set", MODEL, "production", "latest")
    assert older in typed("weights", "rollback", MODEL)
    shares = ("weights", "alias", "divide", MODEL, "production", f"{older}=3", "latest=1")
    assert f"75% {older}, 25%" in typed(*shares)
    assert "no number" in typed(*shares[:-1], "latest=much", code=2)
    assert older in typed("weights", "rollback", MODEL)
    assert "production" in typed("weights", "alias", "list", MODEL)
    assert "alias set kin production VERSION" in typed("weights", "alias", "list", "kin")
    assert "production" in typed("weights", "delete", MODEL, older, "--yes", code=1)
    typed("weights", "alias", "remove", MODEL, "production")
    assert "add --yes" in typed("weights", "delete", MODEL, older, code=2)


def test_versions_are_pushed_pulled_saved_linked_and_taken_in(typed, trained, tmp_path):
    older, _ = trained
    assert "is in the store" in typed("weights", "push", MODEL, older)
    assert "is whole in the store" in typed("weights", "push", MODEL, older, "--mend")
    assert "on the server's disk" in typed("weights", "pull", MODEL, older)
    path = tmp_path / "here.zip"
    words = ("weights", "export", MODEL, older, "-o", path)
    assert str(path) in typed(*words)
    assert zipfile.is_zipfile(path)
    assert "--force" in typed(*words, code=2)
    assert older in typed("weights", "import", MODEL, path)
    refused = typed("weights", "export", MODEL, "--format", "onnx", code=2)
    assert "no other format" in refused and "tar.gz, tar.xz and zip always work" in refused
    assert typed("weights", "link", MODEL, older, "--expires", "90m").startswith("http")
    assert "90m, 24h or 7d" in typed("weights", "link", MODEL, "--expires", "soon", code=2)


def test_a_model_that_exports_is_saved_in_its_format(yard, typed, tmp_path):
    yard.wait_run(yard.train("kin", count=2))
    text = typed("weights", "export", "kin", "--format", "text", "-o", tmp_path)
    assert "largest difference 0.125 in 2 samples" in text
    (path,) = tmp_path.iterdir()
    assert (path.suffix, len(path.read_text().split())) == (".txt", 2)
    refused = typed("weights", "export", "kin", "--format", "bogus", code=2)
    assert "one of: " in refused and "tar.gz" in refused and "The server makes" not in refused
    late = typed("weights", "export", "kin", "--format", "hang", "--timeout", "2", code=1)
    assert "was not made within the time" in late
    archive = typed("weights", "export", "kin", "--format", "zip", "--timeout", "2", code=2)
    assert "--timeout is for what the model makes" in archive


def test_a_training_is_repeated_and_compared(typed, trained):
    text = typed("train", MODEL, "--like", trained[0][:10], "--follow")
    assert "Equal bit for bit" in text
    assert "--from-dataset: There is no dataset" in typed(
        "train", MODEL, "--from-dataset", "none", code=2
    )


def test_a_folder_with_a_link_that_leads_out_is_not_sent(typed, tmp_path):
    (tmp_path / "secret").write_text("of somebody else")
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    (folder / "again.txt").symlink_to("a.txt")
    (folder / "odd.txt").symlink_to("../secret")
    said = typed("datasets", "add", folder, code=1)
    assert "'odd.txt' is a link that leads out of the folder" in said and "Put a copy" in said
    assert "no dataset" in typed("datasets", "show", "linked", code=1)
    (folder / "odd.txt").unlink()
    assert "2 files" in typed("datasets", "add", folder)


def test_datasets_are_sent_trained_with_and_removed(typed, tmp_path):
    folder = tmp_path / "pets"
    folder.mkdir()
    (folder / "labels.csv").write_text("one,cat\nnothing\n")
    made = typed("datasets", "add", folder)
    assert "pets@1" in made and "1 error" in made
    assert "was there already" in typed("datasets", "add", folder, "--name", "pets")
    assert "pets@1" in typed("datasets", "list")
    assert "cat 1" in typed("datasets", "show", "pets")
    typed("datasets", "report", "pets", code=1)
    run = json.loads(typed("train", "reader", "--from-dataset", "pets", "--follow", "--json")
                     .splitlines()[-1])["data"]  # fmt: skip
    assert run["status"] == "done"
    assert f"pets@1  {run['dataset']}" in typed("runs", run["uuid"])
    assert "add --yes" in typed("datasets", "remove", "pets", code=2)
    assert "removed" in typed("datasets", "remove", "pets", "--yes")
    assert "no dataset" in typed("datasets", "show", "pets", code=1)
    assert run["dataset"] in typed("runs", run["uuid"]), "its id alone"


def test_a_run_is_paused_and_resumed_and_secrets_are_asked_for(yard, typed, tmp_path):
    words = ("--steps", 100_000, "--token", "abc", "--json")
    run = "stepper/" + json.loads(typed("train", "stepper", *words))["uuid"]
    deadline = time.monotonic() + 30

    def until(holds):
        while not holds(now := json.loads(typed("runs", run, "--json"))):
            assert time.monotonic() < deadline, now
            time.sleep(0.02)

    until(lambda now: (now["progress"]["step"] or 0) >= 6)
    assert "--resume" in typed("runs", run, "--pause")
    until(lambda now: now["phase"] == "paused")
    assert "goes on" in typed("runs", run, "--resume")
    typed("runs", run, "--cancel")
    until(lambda now: now["phase"] == "finished")
    assert "--secret token=@FILE" in typed("runs", run, "--resume", code=2)
    secret = tmp_path / "token"
    secret.write_text("abc\n")
    text = typed("runs", run, "--resume", "--secret", f"token=@{secret}")
    assert f"goes on where {run[8:]} ended" in text
    typed("runs", text.split()[1], "--cancel")


def test_ctrl_c_in_an_upload_says_how_to_go_on_and_the_next_command_does(yard, tmp_path):
    path = tmp_path / "large.bin"
    environment = {
        **os.environ,
        "MODELYARD_URL": yard.url,
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "modelyard", "datasets", "add", str(path)]
    memory = tmp_path / "state" / "modelyard" / "uploads"
    uploads = yard.home / "uploads"
    for seed in range(5):  # on a busy machine all of it may be sent before the signal is
        path.write_bytes(random.Random(seed).randbytes(70 << 20))
        cut = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        while not list(uploads.glob("*/parts/*")) and cut.poll() is None:
            time.sleep(0.005)
        cut.send_signal(signal.SIGINT)
        _, told = cut.communicate(timeout=60)
        if list(memory.iterdir()):
            break
    assert cut.returncode == 130, told
    assert "same command again" in told and "Traceback" not in told
    (kept,) = memory.iterdir()
    assert (uploads / json.loads(kept.read_text())["upload"]).is_dir()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0, again.stderr
    assert "large.bin@" in again.stdout
    assert list(memory.iterdir()) == []


class _Slow(http.server.BaseHTTPRequestHandler):
    """Sends half an archive, and then nothing for a long time."""

    def do_GET(self):
        archive = self.path.partition("?")[0].endswith("archive")
        body = b"half" if archive else json.dumps({"id": "a" * 32}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(1000 if archive else len(body)))
        self.end_headers()
        self.wfile.write(body)
        if archive:
            self.server.sent.set()
            self.server.go_on.wait(30)

    def log_message(self, *_):
        return None


def test_ctrl_c_in_an_export_leaves_no_half_file(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
    server.sent, server.go_on = threading.Event(), threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        words = ("--url", f"http://127.0.0.1:{server.server_port}", "weights", "export", "m")
        process = subprocess.Popen(
            [sys.executable, "-m", "modelyard", *words], cwd=tmp_path, stderr=subprocess.PIPE
        )
        assert server.sent.wait(20)
        while not list(tmp_path.iterdir()):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
        assert (process.returncode, list(tmp_path.iterdir())) == (130, []), told
        assert b"No file was written" in told
    finally:
        server.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
