"""What is counted, without a server: few series, whatever comes."""

from modelyard.api.exposition import family_of
from modelyard.api.metrics import Metrics
from modelyard.errors import InvalidArguments, PluginRefused
from modelyard.serving.observer import BatchDone


def samples(metrics, name):
    return {
        tuple(sample.labels.values()): sample.value
        for tally in metrics.collect()
        for sample in family_of(tally).samples
        if sample.name == f"modelyard_{name}"
    }


def done(version, items=1):
    return BatchDone(version, items, [0.25] * items, worked_s=0.5, forward_s=0.125)


def test_a_batch_is_told_once_and_each_of_its_calls_waited():
    metrics = Metrics(["m"])
    metrics.batch_done("m", done("v", items=3))
    assert samples(metrics, "batch_items_sum") == {("m", "v"): 3}
    assert samples(metrics, "forward_seconds_sum") == {("m", "v"): 0.125}
    assert samples(metrics, "worker_seconds_count") == {("m", "v"): 1}
    assert samples(metrics, "queue_seconds_count") == {("m", "v"): 3}
    buckets = samples(metrics, "queue_seconds_bucket")
    assert buckets["m", "v", "0.1"] == 0
    assert buckets["m", "v", "0.25"] == buckets["m", "v", "+Inf"] == 3


def test_calls_are_counted_by_the_status_that_their_client_gets():
    metrics = Metrics(["m"])
    for error in (None, None, InvalidArguments({}), PluginRefused(418, "a teapot")):
        metrics.call_answered("m", None, error, 0.01)
    metrics.shadowed("m", "v", "equal")
    assert samples(metrics, "predictions_total") == {
        ("m", "", "200"): 2, ("m", "", "422"): 1, ("m", "", "418"): 1
    }  # fmt: skip
    assert samples(metrics, "shadow_copies_total") == {("m", "v", "equal"): 1}


def test_a_version_that_is_gone_is_shown_once_more_and_then_no_more():
    metrics = Metrics(["m"])
    for version in ("old", "new"):
        metrics.batch_done("m", done(version))
        metrics.call_answered("m", version, None, 0.01)
    for shown in ({"old", "new"}, {"old", "new"}, {"new"}):
        for name in ("forward_seconds_count", "predictions_total", "prediction_seconds_count"):
            assert {labels[1] for labels in samples(metrics, name)} == shown
        metrics.keep({("m", "new")})
    metrics.batch_done("m", done("old"))  # it is loaded again
    assert samples(metrics, "forward_seconds_count")["m", "old"] == 1


def test_a_thousand_versions_without_a_scrape_leave_few_series():
    metrics = Metrics(["m"])
    for number in range(1000):
        metrics.batch_done("m", done(f"{number:032x}"))
    assert len(samples(metrics, "batch_items_count")) == 16


def test_models_that_are_not_served_have_no_name():
    metrics = Metrics(["m"])
    for name in ("m", "a-client's-idea", None):
        metrics.client_refused(name)
    metrics.training_ended("removed", "done", None)
    assert samples(metrics, "refused_total") == {("m", "client"): 1, ("", "client"): 2}
    assert samples(metrics, "trainings_ended_total") == {("", "done", ""): 1}
