"""What is learnt of the time that batches take."""

import random

import pytest

from modelyard.serving.pace import Line, Pace


def learned(cost, sizes, target_s=None):
    pace = Pace(target_s)
    for size in sizes:
        pace.learn("shape", size, cost(size))
    return pace


def test_a_line_is_found_in_noise():
    random.seed(1)
    line = Line()
    for _ in range(300):
        size = random.randint(1, 20)
        line.add(size, (0.003 * size + 0.010) * random.uniform(0.9, 1.1))
    a, b = line.fit()
    assert a == pytest.approx(0.003, rel=0.15)
    assert b == pytest.approx(0.010, rel=0.3)
    assert line.seconds(10) == pytest.approx(0.040, rel=0.1)


def test_where_a_batch_saves_the_fixed_part_it_may_be_large():
    pace = learned(lambda n: 0.001 * n + 0.050, [1, 2, 4, 8, 16])
    assert pace.most("shape", 64) == 64


def test_where_items_cost_more_in_a_batch_each_goes_alone():
    pace = learned(lambda n: {1: 0.0046, 8: 0.048}[n], [1, 8] * 5)
    assert pace.most("shape", 64) == 1


def test_what_saves_little_is_not_waited_for():
    pace = learned(lambda n: 0.010 * n + 0.001, [1, 2, 4] * 5)
    assert 2 <= pace.most("shape", 64) <= 5


def test_a_batch_keeps_below_the_latency_that_is_asked_for():
    pace = learned(lambda n: 0.002 * n + 0.010, [1, 2, 4, 8] * 5, target_s=0.030)
    assert 8 <= pace.most("shape", 64) <= 10


def test_a_target_that_cannot_be_kept_leaves_single_calls():
    pace = learned(lambda n: 0.1 * n, [1, 2, 3] * 5, target_s=0.001)
    assert pace.most("shape", 64) == 1


def test_larger_batches_are_tried_before_anything_is_known_of_them():
    assert Pace().most("shape", 64) == 64
    pace = learned(lambda n: 0.01, [1] * 20)
    assert pace.most("shape", 64) == 2


def test_a_model_that_changes_is_learnt_anew():
    pace = learned(lambda n: 0.0046 * n + 0.002 * n * n, [1, 2, 8] * 20)
    assert pace.most("shape", 64) == 1
    for size in [1, 2] * 200:
        pace.learn("shape", size, 0.001 * size + 0.05)
    assert pace.most("shape", 64) > 8


def test_shapes_are_learnt_apart():
    pace = learned(lambda n: 0.001 * n + 0.050, [1, 2, 4, 8, 16])
    for size in [1, 8] * 5:
        pace.learn("other", size, 0.01 * size**1.3)
    assert (pace.most("shape", 64), pace.most("other", 64)) == (64, 1)
    assert pace.seconds("unknown", 3) == 0


def test_how_long_a_queue_lasts_follows_from_the_work_that_was_done():
    assert Pace().work_s({"shape": 10}) is None and Pace().slowest_s == 0
    pace = learned(lambda n: 0.01 * n, [1, 4] * 20)
    assert pace.work_s({"shape": 100}) == pytest.approx(1.0)


def test_an_item_counts_with_what_its_own_shape_takes():
    pace = learned(lambda n: 0.001 * n, [1, 4] * 20)
    pace.learn("large", 1, 4.0)
    assert pace.slowest_s == pytest.approx(4.0)
    assert pace.work_s({"shape": 100}) == pytest.approx(0.1)
    assert pace.work_s({"shape": 100, "large": 2}) == pytest.approx(8.1)
    assert 0.001 < pace.work_s({"never seen": 1}) < 4.0
