"""Moves of aliases: the highest counter holds, whoever made it, and nothing is taken back."""

import shutil
from datetime import UTC, datetime

import pytest

from modelyard.records.aliases import (
    AliasMove,
    current_aliases,
    earlier_move,
    insert_move,
    move_alias,
    newest_move,
    set_stored,
    unstored_moves,
)
from modelyard.records.splits import Split
from modelyard.records.store import RecordStore
from modelyard.records.weights import WeightsRecord, delete_weights, insert_weights

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def moved(version, alias="production", counter=0, server="here", **more):
    return AliasMove("m", alias, version, counter, server, NOW, **more)


@pytest.fixture
async def store(tmp_path, empty_home):
    shutil.copy(empty_home / "records.db", tmp_path)
    opened = RecordStore(tmp_path / "records.db")
    await opened.open()

    def versions(connection):
        for name in "abcd":
            insert_weights(connection, WeightsRecord(name * 32, "m", NOW, stored=name != "d"))

    await opened.write(versions)
    yield opened
    await opened.close()


A, B, C, D = (name * 32 for name in "abcd")


async def names(store):
    moves = await store.read(lambda c: current_aliases(c, "m"))
    return {alias: move.version for alias, move in moves.items()}


async def test_the_last_move_here_holds(store):
    for version in (A, B):
        await store.write(lambda c, version=version: move_alias(c, moved(version)))
    assert (await names(store))["production"] == B


async def test_of_two_servers_at_the_same_counter_the_higher_id_holds_in_any_order(store):
    for server, version in (("zz", A), ("aa", B)):
        move = moved(version, counter=7, server=server, stored=True)
        await store.write(lambda c, move=move: insert_move(c, move))
    assert (await names(store))["production"] == A


async def test_a_move_that_is_known_changes_nothing(store):
    for version in (A, B):
        move = moved(version, counter=7, stored=True)
        await store.write(lambda c, move=move: insert_move(c, move))
    assert (await names(store))["production"] == A


async def test_an_alias_of_a_version_that_is_not_here_names_nothing(store):
    await store.write(lambda c: move_alias(c, moved("f" * 32)))
    assert "production" not in await names(store)


async def test_latest_is_what_was_trained_last_as_long_as_nobody_tells(store):
    assert await names(store) == {"latest": D}


async def test_latest_falls_back_when_its_version_is_deleted(store):
    for version in (A, B):
        await store.write(lambda c, version=version: move_alias(c, moved(version, "latest")))
    await store.write(lambda c: delete_weights(c, B))
    assert await names(store) == {"latest": A}


@pytest.mark.parametrize(
    ("versions", "before"),
    [
        ([], None),
        ([A], None),
        ([A, B], A),
        ([A, B, C, B], A),
        ([A, B, A], None),
        ([A, None], A),
        ([A, None, B], A),
        ([A, "f" * 32, B], A),
        ([A, "f" * 32], A),
    ],
)
def test_what_an_alias_named_before(versions, before):
    move = earlier_move([moved(version) for version in versions], {A, B, C})
    assert (move and move.version) == before


def test_a_division_is_undone_whole_and_only_while_all_of_it_exists():
    split = Split(((A, 9.0), (B, 1.0)))
    moves = [moved(A), moved(A, split=split), moved(C)]
    assert earlier_move(moves[:2], {A, B, C}).split is None
    assert earlier_move(moves, {A, B, C}).split == split
    assert earlier_move(moves, {A, C}) == moves[0]


async def test_a_division_is_read_as_it_was_written(store):
    split = Split(((A, 9.0), (B, 1.0)), C, 0.25)
    await store.write(lambda c: move_alias(c, moved(A, split=split)))
    moves = await store.read(lambda c: current_aliases(c, "m"))
    assert moves["production"].split == split


async def test_a_division_waits_for_all_its_versions_to_be_in_the_store(store):
    await store.write(lambda c: move_alias(c, moved(A, split=Split(((A, 9.0), (D, 1.0))))))
    assert await store.read(unstored_moves) == []


async def test_a_move_waits_for_its_version_to_be_in_the_store(store):
    await store.write(lambda c: move_alias(c, moved(D)))
    await store.write(lambda c: move_alias(c, moved(A, "staging")))
    assert [move.version for move in await store.read(unstored_moves)] == [A]


async def test_a_later_move_stays_behind_one_whose_counter_somebody_had(store):
    first = await store.write(lambda c: move_alias(c, moved(A)))
    (first,) = await store.read(unstored_moves)
    await store.write(lambda c: move_alias(c, moved(B)))
    await store.write(lambda c: insert_move(c, moved(C, counter=1, server="zz", stored=True)))
    await store.write(lambda c: set_stored(c, first, 2))
    newest = await store.read(lambda c: newest_move(c, "m", "production"))
    assert (newest.version, newest.counter, newest.stored) == (B, 3, False)
