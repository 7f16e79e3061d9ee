"""What is kept of ended runs has a bound, whatever else goes wrong at their ends."""

from yard_waiting import wait_until


def test_runs_of_a_model_that_cannot_describe_itself_are_removed_too(start_server, tmp_path):
    config, mute = tmp_path / "yard.toml", tmp_path / "mute"
    config.write_text(f'[models.meddler.env]\nMEDDLER_IS_MUTE = "{mute}"\n')
    server = start_server(
        *("--model-name", "meddler", "--config-file", str(config)),
        *("--keep-runs", "1", "--no-warm-start"),
    )
    server.wait_ready("meddler")
    mute.touch()
    ended = [server.wait_run(server.train("meddler"))["uuid"] for _ in range(3)]

    def kept():
        return [path.name for path in (server.home / "runs").iterdir()]

    wait_until(lambda: kept() == ended[-1:])
    assert server.predict("meddler").status_code == 200
