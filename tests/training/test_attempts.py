"""How long a run waits before it is begun again, and what its record keeps of many attempts."""

from datetime import UTC, datetime

from modelyard.records.runs import RunRecord
from modelyard.training.attempts import MOST_TOLD, begun, over, wait_s

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(**values) -> RunRecord:
    return RunRecord(id="0" * 32, model="m", args={}, date="", created_at=NOW, **values)


def test_each_wait_is_twice_the_one_before_up_to_a_bound():
    assert [wait_s(record(attempt=n), 1.0) for n in (1, 2, 3, 9)] == [1.0, 2.0, 4.0, 30.0]
    failed = [wait_s(record(attempt=9, restarts=n), 0.5) for n in (1, 2, 3, 100)]
    assert failed == [0.5, 1.0, 2.0, 300.0]


def test_a_run_of_thousands_of_attempts_waits_as_any_other():
    assert wait_s(record(attempt=5000), 1.0) == 30.0
    assert wait_s(record(attempt=5000, restarts=5000), 1.0) == 300.0


def test_of_many_attempts_the_first_and_the_newest_are_told():
    told = record()
    for number in range(3 * MOST_TOLD):
        attempts = over(begun(told, NOW), "interrupted", "killed")
        told = record(attempt=number + 1, attempts=attempts)
    numbers = [attempt.number for attempt in told.attempts]
    assert numbers == [1, *range(2 * MOST_TOLD + 2, 3 * MOST_TOLD + 1)]
    assert all(attempt.ended_at for attempt in told.attempts)
