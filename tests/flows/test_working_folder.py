"""What lies in the folder that the server was started in is data, never code of the server's."""

import time


def test_python_files_in_the_working_folder_are_not_run_by_trainings_or_tensorboard(
    start_server, tmp_path, monkeypatch
):
    """A prediction may have written them: a worker's working folder is the server's."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    server = start_server("--model-name", "counter", "--no-warm-start")
    server.wait_ready("counter")
    for name in ("random", "logging", "numpy", "modelyard", "json"):
        (folder / f"{name}.py").write_text("raise SystemExit('this is no module of yours')")
    done = server.wait_run(server.train("counter", steps=2))
    assert done["status"] == "done", done
    end = time.monotonic() + 60
    while (page := server.get("/tensorboard/")).status_code != 200:
        assert time.monotonic() < end, page.text
        time.sleep(0.5)
