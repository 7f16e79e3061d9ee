"""The one function that changes a run's state, against the table of legal moves."""

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modelyard.records.runs import RunRecord, find_run, insert_run
from modelyard.records.store import RecordStore
from modelyard.schemas.states import LEGAL_MOVES, Phase, Reason, Status
from modelyard.training.moves import cancel_run, claim_next_run, move_run

FINAL = (Status.DONE, Status.ERROR, Status.CANCELLED)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RecordStore]:
    made = RecordStore(tmp_path / "records.db")
    await made.open()
    yield made
    await made.close()


_numbers = itertools.count(1)


def _run(phase: Phase, status: Status) -> RunRecord:
    now = datetime.now(UTC)
    run_id = f"{next(_numbers):032x}"
    return RunRecord(run_id, "m", {}, "", now, phase=phase, status=status, epoch=3)


def _states() -> list[tuple[Phase, Status]]:
    """Every state that a record can be in."""
    unended = [p for p in Phase if p not in (Phase.CANCELLING, Phase.FINISHED)]
    ended = [(Phase.FINISHED, status) for status in FINAL]
    return [
        *((phase, Status.RUNNING) for phase in unended),
        *ended,
        (Phase.CANCELLING, Status.CANCELLED),
    ]


def test_table_has_every_phase_and_only_finished_is_an_end() -> None:
    assert set(LEGAL_MOVES) == set(Phase)
    assert [phase for phase, after in LEGAL_MOVES.items() if not after] == [Phase.FINISHED]


def test_every_phase_can_be_reached_and_left_to_the_end() -> None:
    reached, frontier = {Phase.QUEUED}, [Phase.QUEUED]
    while frontier:
        for phase in LEGAL_MOVES[frontier.pop()] - reached:
            reached.add(phase)
            frontier.append(phase)
    assert reached == set(Phase)
    assert all(Phase.FINISHED in after for phase, after in LEGAL_MOVES.items() if after)


async def test_every_move_is_made_exactly_if_the_table_allows_it(store: RecordStore) -> None:
    """All states times all targets: legal ones are made, others change nothing."""
    for (phase, status), (target, target_status) in itertools.product(_states(), _states()):
        record = _run(phase, status)

        def work(c, record=record, target=target, target_status=target_status):
            before = insert_run(c, record)
            moved = move_run(c, record.id, phase=target, status=target_status)
            return before, moved, find_run(c, record.id)

        before, moved, after = await store.write(work)
        same = (phase, status) == (target, target_status)
        legal = target in LEGAL_MOVES[phase] or phase is target
        if status is not Status.RUNNING:
            legal = target in LEGAL_MOVES[phase] and target_status is status
        if not legal:
            assert moved is None, (phase, status, target, target_status)
            assert after == before
        elif same:
            assert moved == before == after
        else:
            assert (moved.phase, moved.status) == (target, target_status)
            assert moved.rev == before.rev + 1
            assert after == moved


async def test_status_of_an_ended_run_never_changes(store: RecordStore) -> None:
    for status, target in itertools.product(FINAL, Status):
        record = _run(Phase.FINISHED, status)

        def work(c, record=record, target=target):
            insert_run(c, record)
            move_run(c, record.id, status=target, phase=Phase.FINISHED, message="changed")
            cancel_run(c, record.id, Reason.CANCELLED)
            return find_run(c, record.id)

        after = await store.write(work)
        assert (after.status, after.message, after.rev) == (status, None, 1)


async def test_word_of_an_old_epoch_is_ignored(store: RecordStore) -> None:
    record = _run(Phase.TRAINING, Status.RUNNING)

    def work(c):
        insert_run(c, record)
        old = move_run(c, record.id, of_epoch=2, phase=Phase.FINISHED, status=Status.DONE)
        return old, find_run(c, record.id)

    old, after = await store.write(work)
    assert old is None
    assert after.phase is Phase.TRAINING


async def test_contradicting_status_and_phase_are_refused(store: RecordStore) -> None:
    record = _run(Phase.TRAINING, Status.RUNNING)
    await store.write(lambda c: insert_run(c, record))
    for changes in ({"phase": Phase.FINISHED}, {"status": Status.DONE}):
        with pytest.raises(ValueError, match="cannot be"):
            await store.write(lambda c, changes=changes: move_run(c, record.id, **changes))


async def test_each_launch_has_an_epoch_of_its_own(store: RecordStore) -> None:
    record = _run(Phase.QUEUED, Status.RUNNING)

    def work(c):
        insert_run(c, record)
        first = claim_next_run(c)
        move_run(c, record.id, phase=Phase.QUEUED)
        return first, claim_next_run(c), claim_next_run(c)

    first, second, none = await store.write(work)
    assert (first.epoch, second.epoch) == (4, 5)
    assert none is None
