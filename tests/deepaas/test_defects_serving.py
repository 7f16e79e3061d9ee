"""Defects of DEEPaaS that somebody who runs the server meets, each mended here."""

import time


def gone(pid, seconds=10):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_the_base_path_is_there_with_and_without_its_slash(start_server, old_base):
    """KD-21: DEEPaaS knows only the one without; `/ui` without documentation is 500."""
    server = start_server(
        *("--model-name", "old-warm", "--base-path", "/deep", "--nodoc-endpoint"),
        env={"OLD_MODULES_BASE": str(old_base)},
    )
    root = server.url.removesuffix("/deep")
    server.url = root
    for path in ("/deep", "/deep/", "/deep/v2/", "/deep/v2/models/"):
        assert server.get(path).status_code == 200, path
    for path in ("/deep/ui", "/deep/api", "/ui", "/api"):
        assert server.get(path).status_code == 404, path


def test_workers_end_with_a_killed_server_and_records_stay(start_server, old_base):
    """KD-25 and KD-26: in DEEPaaS workers train on, parentless, and all records are lost."""
    env = {"OLD_MODULES_BASE": str(old_base)}
    server = start_server("--model-name", "old-trainer", env=env)
    server.wait_ready("old-trainer")
    ended = server.wait_run(server.train("old-trainer", do="text"))
    (worker,) = server.get("/v2/models/old-trainer/").json()["workers"]
    server.kill()
    assert gone(worker["pid"])
    again = start_server("--model-name", "old-trainer", home=server.home, env=env)
    (record,) = again.get("/v2/models/old-trainer/train/").json()
    assert (record["uuid"], record["status"]) == (ended["uuid"], "done")
    assert record["result"] == ended["result"]


def test_what_a_model_prints_is_shown_by_the_debug_endpoint(start_server, old_base):
    """KD-30: DEEPaaS shows what the server prints, and nothing of the model."""
    server = start_server(
        *("--model-name", "old-ranges", "--debug-endpoint"),
        env={"OLD_MODULES_BASE": str(old_base)},
    )
    server.wait_ready("old-ranges")
    assert server.predict("old-ranges").status_code == 200
    until = time.monotonic() + 5
    while "predict(**kwargs) - kwargs" not in server.get("/v2/debug/").text:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_model_that_cannot_be_imported_ends_the_server_with_the_reason(start_server, old_base):
    """KD-35: DEEPaaS serves a dummy model in its place, or leaves it out."""
    server = start_server(
        *("--model-name", "old-broken-import"),
        wait=False,
        env={"OLD_MODULES_BASE": str(old_base)},
    )
    assert server.process.wait(30) == 3
    assert "a_framework_that_is_not_installed" in "".join(server.lines)
