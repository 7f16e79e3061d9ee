"""What commands say of a database that was taken from a running server, and of what that saved."""

import json
import shutil

import pytest
from yard_waiting import wait_until


@pytest.fixture(scope="module")
def server(serve_module):
    return serve_module("--model-name", "bare")


def test_a_database_that_was_removed_is_told_by_every_command_with_the_way_back(server, modelyard):
    home, database = ("--home", server.home), server.home / "records.db"
    alice = modelyard("keys", "create", "alice", *home)
    assert alice.returncode == 0, alice.stderr
    kept = database.read_bytes()
    database.unlink()
    wait_until(lambda: server.get("/readyz").status_code == 503)
    (saved,) = server.home.glob("records.db.saved-*")
    commands = [
        ("keys", "list"),
        ("keys", "create", "bob"),
        ("backup", server.home.parent / "copy"),
        ("doctor", "--quick"),
    ]

    def ask(words, *expected):
        done = modelyard(*words, *home)
        told = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == 1, (words, told)
        assert all(text in told for text in expected), (words, told)

    running = f"server with pid {server.process.pid} had it open"
    for words in commands:
        ask(words, running, f"All that it held is in {saved}.", "Stop that server")
    database.write_bytes(kept)  # another, while the server goes on with what it had opened
    ask(
        ("keys", "revoke", "alice"),
        *(running, f"All that it held is in {saved}.", "Stop that server"),
    )
    assert not (server.home.parent / "copy").exists()
    assert server.stop() == 0

    for path in server.home.glob("records.db*"):
        if path != saved:
            path.unlink()
    for words in (("keys", "create", "bob"), ("doctor", "--quick")):
        ask(words, f"saved what it held: {saved}.", f"in the place of {database}")
        assert not database.exists(), words
    saved.rename(database)
    server.start()
    listed = modelyard("keys", "list", "--json", *home)
    assert [key["name"] for key in json.loads(listed.stdout)] == ["alice"]
    assert "saved" not in modelyard("doctor", "--quick", *home).stdout


def test_a_copy_that_is_still_there_is_mentioned(modelyard, tmp_path, empty_home):
    home = shutil.copytree(empty_home, tmp_path / "home")
    saved = home / "records.db.saved-20260104T000000Z"
    saved.write_bytes(b"records")
    done = modelyard("doctor", "--quick", "--home", home)
    assert done.returncode == 0 and f"taken from a server earlier: {saved}." in done.stdout
