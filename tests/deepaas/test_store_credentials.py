"""What opens the server's store is not seen by a module, in none of its processes."""

from pathlib import Path


def environment(pid):
    """The variables that a process was started with."""
    data = Path(f"/proc/{pid}/environ").read_bytes()
    return dict(item.split("=", 1) for item in data.decode().split("\0") if "=" in item)


def test_a_module_sees_of_the_stores_variables_only_those_that_its_table_names(
    start_server, tmp_path, rclone
):
    way = rclone.fresh()
    config = tmp_path / "yard.toml"
    config.write_text('[models.old-trainer.env]\nAWS_PROFILE = "mine"\n')
    server = start_server(
        *("--model-name", "old-trainer", "--config-file", str(config), "--storage", way.url),
        env={**way.env, "MODULES_OWN": "yes"},
    )
    (worker,) = server.wait_ready("old-trainer")["workers"]
    seen = environment(worker["pid"])
    theirs = {n: v for n, v in seen.items() if n.startswith(("AWS_", "MODELYARD_", "MODULES_"))}
    assert theirs.pop("MODELYARD_CHILD"), "by which what it leaves behind is told"
    assert theirs == {"AWS_PROFILE": "mine", "MODULES_OWN": "yes"}
    record = server.wait_run(server.train("old-trainer", do="environment"))
    found = record["result"]["output"]
    ours = {"MODELYARD_RUN_ID", "MODELYARD_RUN_HOME"}  # said to the run process itself
    ours.add("MODELYARD_DEEPAAS_MODULE")
    assert {name: found[name] for name in {*found} - ours} == theirs
