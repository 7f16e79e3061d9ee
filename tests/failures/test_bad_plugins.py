"""A model may do anything in a call or a training: that one fails with the reason, no other.

The table says what a user is told. Each line is tried in a prediction and in a training; the
ordinary suite tries those that nothing else does (see flows/test_predict.py and training/).
"""

import threading
import time
from typing import NamedTuple

import pytest


class Bad(NamedTuple):
    """What the model does, the status and words of its prediction, and those of its training.

    `predict` or `train` None: it cannot do that there.
    """

    do: str
    predict: tuple[int, str] | None
    train: tuple[str, str] | None
    slow: bool = False


ANY = ("", "")
"""It ends, with some reason."""

TABLE = [
    Bad("segfault", (500, "SIGSEGV"), ("process_died", "SIGSEGV"), slow=True),
    Bad("abort", (500, "SIGABRT"), ("process_died", "SIGABRT")),
    Bad("exit", (500, "code 3"), ("process_died", "code 3"), slow=True),
    Bad(
        "system_exit",
        (500, "SystemExit"),
        ("plugin_failed", "SystemExit"),
        slow=True,
    ),
    Bad("interrupt", (500, "KeyboardInterrupt"), ("plugin_failed", "KeyboardInterrupt"), slow=True),
    Bad("recurse", (500, "RecursionError"), ("plugin_failed", "RecursionError"), slow=True),
    Bad("overflow", (500, "SIGSEGV"), ("process_died", "SIGSEGV"), slow=True),
    Bad("fail", (500, "the moon is full"), ("plugin_failed", "the moon is full"), slow=True),
    Bad("speechless", (500, "Silent"), ("plugin_failed", "Silent")),
    Bad("stop", (500, "stopped by a signal"), ("process_died", "stopped by a signal"), slow=True),
    Bad("spin", (504, "No answer within 3 s"), None),
    Bad("spin_in_c", (504, "No answer within 3 s"), None, slow=True),
    Bad("hang", (504, "No answer within 3 s"), None, slow=True),
    Bad("hog", (500, "out of memory (its memory_limit is 400 MiB)"), ("out_of_memory", "400 MiB")),
    Bad("hogs", (500, "memory_limit is 400 MiB"), ("out_of_memory", "400 MiB")),
    Bad("huge", (500, "out of memory"), ("out_of_memory", "400 MiB"), slow=True),
    Bad("huge_bytes", (500, "out of memory"), ("out_of_memory", "400 MiB"), slow=True),
    Bad("large", (500, "16777216 are allowed"), ("completed", "")),
    Bad("endless_file", (500, "16777216 are allowed"), None),
    Bad("flood", (200, "printed"), ("completed", ""), slow=True),
    Bad("fork", (200, "pid"), ("completed", "")),
    Bad("threads", (200, "left"), ("completed", "")),
    Bad("close_all_files", (500, "closed its connection"), ("completed", "")),
    Bad("chdir", (200, "/"), ("completed", ""), slow=True),
    Bad("signals", (200, "changed"), ("completed", "")),
    Bad("environment", (200, "changed"), ("completed", "")),
    Bad("globals", (200, "changed"), ("completed", "")),
    Bad("patch", None, ANY, slow=True),
    Bad("patch_all", None, ANY),
    Bad("patch_builtins", (500, "what a call had changed in it"), ("completed", "")),
    Bad("patch_libraries", (200, "patched"), ("completed", "")),
    Bad("patch_reading", (200, "patched"), None),
    Bad("delete", (200, "deleted"), ANY, slow=True),
    Bad("delete_temporary", (200, "deleted"), ("completed", "")),
    Bad("headers", (500, "is no content type"), ("completed", "")),
    Bad("lambda", (500, "no JSON form"), ("completed", "no JSON form")),
    Bad("circular", (500, ""), ("completed", ""), slow=True),
    Bad("nan", (200, "null"), ("completed", ""), slow=True),
    Bad("forge", (500, "first"), ("plugin_failed", "first")),
]
SAMPLE = [bad for bad in TABLE if not bad.slow]
TRAINED = (
    "patch_builtins",
    "patch_libraries",
    "segfault",
    "stop",
    "hog",
    "fork",
    "close_all_files",
    "signals",
    "lambda",
)
MODELS = ("hostile", "hostile-too", "hostile-again")
"""In turn: one whose process dies more than five times a minute is held back."""
MOST_GROWTH_MB = 64


@pytest.fixture(scope="module")
def server(serve_module, tmp_path_factory):
    config = tmp_path_factory.mktemp("settings") / "yard.toml"
    table = '[models.{}]\nmemory_limit = "400M"\npredict_timeout = 3\n'
    config.write_text("".join(table.format(model) for model in MODELS))
    server = serve_module(
        *("--model-name", ",".join([*MODELS, "bare", "counter"]), "--config-file", str(config)),
        *("--answer-max-size", "16M", "--max-trainings", "2"),
    )
    for model in (*MODELS, "bare", "counter"):
        server.wait_ready(model)
    return server


@pytest.fixture(scope="module")
def neighbour(server):
    """A training of another model, which runs all the time."""
    record = server.train("counter", steps=100_000, seconds=0.05)
    server.wait_run(record, "training")
    yield record
    assert server.run(record)["status"] == "running"
    server.delete(record["links"]["self"])


def pss_mb(server):
    """Of the front; None if this user may not look."""
    try:
        text = (server.proc() / "smaps_rollup").read_text()
    except PermissionError:
        return None
    return int(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1]) / 1e3


def check_predict(server, bad, models=MODELS):
    status, words = bad.predict or (None, "")
    model = models[TABLE.index(bad) % len(models)]
    before, began = pss_mb(server), time.monotonic()
    files = {"file": ("a.bin", b"x" * 100)} if bad.do == "delete" else None
    data = {"data": {"do": bad.do}, "files": files} if files else {"json": {"do": bad.do}}
    patience = {} if status == 504 else {"X-Request-Timeout": "60"}
    answer = server.predict(model, headers=patience, **data)
    assert time.monotonic() - began < 50
    if status is not None:
        assert (answer.status_code, words in answer.text) == (status, True), answer.text[:500]
    assert "X-Forged" not in answer.headers and "Set-Cookie" not in answer.headers
    following = server.predict(model)
    assert following.status_code == 200, (bad.do, following.text[:500])
    assert following.json()["predictions"]["pid"] > 0
    with_file = server.predict(model, files={"file": ("b.bin", b"y")}, data={"do": "chdir"})
    assert with_file.status_code == 200, with_file.text[:500]
    assert server.predict("bare").json()["predictions"] == "here"
    if before is not None:
        assert pss_mb(server) - before < MOST_GROWTH_MB


def check_train(server, bad, model="hostile"):
    reason, words = bad.train
    record = server.wait_run(server.train(model, do=bad.do))
    said = record["reason"]
    assert said and said == (reason or said), record
    assert words in (record["message"] or ""), record
    assert server.predict(model).status_code == 200


@pytest.mark.parametrize("bad", SAMPLE, ids=lambda bad: bad.do)
def test_a_prediction_that_misbehaves_fails_alone_and_the_next_is_served(server, neighbour, bad):
    check_predict(server, bad)


@pytest.mark.parametrize("bad", [b for b in TABLE if b.do in TRAINED], ids=lambda bad: bad.do)
def test_a_training_that_misbehaves_fails_alone_with_the_reason(server, neighbour, bad):
    check_train(server, bad)


@pytest.mark.slow
@pytest.mark.parametrize("bad", [b for b in TABLE if b.slow], ids=lambda bad: bad.do)
def test_all_the_other_ways_to_misbehave_fail_a_prediction_alone(server, neighbour, bad):
    check_predict(server, bad)


@pytest.mark.slow
@pytest.mark.parametrize(
    "bad", [b for b in TABLE if b.train and b.do not in TRAINED], ids=lambda bad: bad.do
)
def test_all_the_other_ways_to_misbehave_fail_a_training_alone(server, neighbour, bad):
    check_train(server, bad)


def test_two_models_that_run_out_of_their_memory_at_once_are_each_told(server, neighbour):
    """One by itself, one by what it has started; a third model is served all the time."""
    before, answers, served = pss_mb(server), {}, []
    ways = {"hostile-too": "hog", "hostile-again": "hogs"}
    together = threading.Barrier(len(ways))

    def run_out(model):
        together.wait(60)
        answers[model] = server.predict(
            model, json={"do": ways[model]}, headers={"X-Request-Timeout": "60"}
        )

    threads = [threading.Thread(target=run_out, args=(model,)) for model in ways]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        served.append(server.predict("bare").status_code)
    for model in ways:
        assert answers[model].status_code == 500, answers[model].text
        assert "out of memory" in answers[model].text
        assert "memory_limit is 400 MiB" in answers[model].text
        assert server.predict(model).status_code == 200
    assert served and set(served) == {200}
    if before is not None:
        assert pss_mb(server) - before < MOST_GROWTH_MB
