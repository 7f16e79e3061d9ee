"""The record store: what it keeps, how durably, and what it says when it cannot be used."""

import asyncio
import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import IntegrityError

from modelyard.errors import CannotStart, StorageUnavailable
from modelyard.records import engine, migrate, revision
from modelyard.records.runs import RunRecord, find_run, insert_run, page_of_runs
from modelyard.records.store import RecordStore
from modelyard.records.tables import idempotency, metadata, runs
from modelyard.schemas.states import Phase, Status


def _record(number: int = 1, **values: object) -> RunRecord:
    given = {"model": "m", "args": {"x": 1}, "date": "", "created_at": datetime.now(UTC), **values}
    return RunRecord(f"{number:032x}", **given)  # type: ignore[arg-type]


async def _opened(path: Path) -> RecordStore:
    store = RecordStore(path)
    await store.open()
    return store


@pytest.fixture
def new_database(tmp_path: Path) -> Path:
    """Where none is yet."""
    return tmp_path / "records.db"


@pytest.fixture
def database(new_database: Path, empty_home: Path) -> Path:
    """One without records, migrated."""
    return Path(shutil.copy(empty_home / "records.db", new_database))


async def test_migrations_make_exactly_the_tables_of_the_code(tmp_path: Path) -> None:
    """A new database is made by the code, an older one is brought there by migrations."""
    made, migrated = tmp_path / "made.db", tmp_path / "migrated.db"
    await (await _opened(made)).close()
    migrate.migrate(engine.sqlite_url(migrated))
    store = await _opened(migrated)

    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection), metadata)

    assert await store.read(differences) == []
    await store.close()
    assert _shape(made) == _shape(migrated)


def _shape(path: Path) -> dict[str, Any]:
    """Columns with their defaults, indices, foreign keys and the revision, as SQLite tells them."""
    with contextlib.closing(sqlite3.connect(path)) as connection:

        def rows(question: str) -> list[tuple[Any, ...]]:
            return sorted(connection.execute(question).fetchall(), key=str)

        found: dict[str, Any] = {"revision": rows("SELECT * FROM alembic_version")}
        for (table,) in rows("SELECT name FROM sqlite_master WHERE type = 'table'"):
            columns = rows(f"PRAGMA table_info({table})")
            found[table] = sorted(column[1:] for column in columns)
            found[f"{table} keys"] = [row[2:] for row in rows(f"PRAGMA foreign_key_list({table})")]
            for index in rows(f"PRAGMA index_list({table})"):
                parts = [row[2] for row in rows(f"PRAGMA index_info('{index[1]}')")]
                name = "" if index[1].startswith("sqlite_") else index[1]
                found[f"{table} {name} {parts}"] = index[2:]
        others = rows("SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'view')")
        return {**found, "others": others}


def test_newest_revision_is_the_head_of_the_migrations() -> None:
    assert ScriptDirectory(str(migrate.MIGRATIONS)).get_current_head() == revision.newest_revision()


async def test_database_that_is_up_to_date_is_opened_without_a_migration(
    new_database: Path,
) -> None:
    await (await _opened(new_database)).close()
    before = _of_children()
    store = await _opened(new_database)
    assert _of_children() == before
    await store.close()


def _of_children() -> float:
    """Seconds of CPU that ended child processes took: a migration is one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def test_server_process_never_imports_the_migration_tool(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys, pathlib; from modelyard.records.store import RecordStore\n"
        "asyncio.run(RecordStore(pathlib.Path(sys.argv[1])).open())\n"
        "print('alembic' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "records.db")]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "False"


async def test_migration_killed_in_the_middle_is_made_by_the_next_start(new_database: Path) -> None:
    """A migration is one transaction: what a killed one leaves is a database without tables."""
    half = engine.open_engine(engine.sqlite_url(new_database), make=True)
    with half.connect() as connection, connection.begin() as transaction:
        metadata.tables["runs"].create(connection)
        transaction.rollback()
    half.dispose()
    store = await _opened(new_database)
    await store.write(lambda c: insert_run(c, _record()))
    await store.close()


async def test_transactions_are_durable_and_foreign_keys_are_checked(database: Path) -> None:
    store = await _opened(database)

    def pragmas(connection):
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await store.read(pragmas) == ["wal", 2, 1, 5000]
    row = {"key": "k", "digest": "d", "run": "no such run", "created_at": datetime.now(UTC)}
    with pytest.raises(IntegrityError):
        await store.write(lambda c: c.execute(idempotency.insert().values(row)))
    await store.close()


async def test_committed_record_survives_a_killed_server(database: Path) -> None:
    await (await _opened(database)).close()
    code = """
import asyncio, os, pathlib, signal, sys
from datetime import UTC, datetime
from modelyard.records.runs import RunRecord, insert_run
from modelyard.records.store import RecordStore
async def main():
    store = RecordStore(pathlib.Path(sys.argv[1]))
    await store.open()
    record = RunRecord("a" * 32, "m", {}, "date", datetime.now(UTC))
    await store.write(lambda c: insert_run(c, record))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", code, str(database)])
    store = await _opened(database)
    assert await store.read(lambda c: find_run(c, "a" * 32)) is not None
    await store.close()


async def test_failed_work_leaves_nothing(database: Path) -> None:
    store = await _opened(database)

    def work(connection):
        insert_run(connection, _record())
        raise KeyError("in the middle")

    with pytest.raises(KeyError):
        await store.write(work)
    assert await store.read(lambda c: find_run(c, _record().id)) is None
    await store.close()


async def test_times_keep_their_moment_and_naive_ones_are_refused(database: Path) -> None:
    store = await _opened(database)
    moment = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    await store.write(lambda c: insert_run(c, _record(1, started_at=moment)))
    found = await store.read(lambda c: find_run(c, _record(1).id))
    assert found is not None
    assert found.started_at == moment
    assert found.started_at.tzinfo is UTC
    with pytest.raises(Exception, match="naive"):
        await store.write(lambda c: insert_run(c, _record(2, started_at=datetime(2026, 1, 1))))
    await store.close()


async def test_ten_thousand_runs_are_paged_in_bounded_time(database: Path) -> None:
    store = await _opened(database)

    ended = {"status": Status.DONE, "phase": Phase.FINISHED, "tidied": True}

    def fill(connection):
        insert_run(connection, _record(0, **ended))
        columns = [column.name for column in runs.c if column.name not in ("seq", "id", "model")]
        connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) "
            f"INSERT INTO runs (id, model, {', '.join(columns)}) SELECT printf('%032x', i), "
            f"CASE i % 2 WHEN 0 THEN 'm' ELSE 'other' END, {', '.join(columns)} FROM n, runs"
        )

    await store.write(fill)
    times, seen, beyond = [], 0, None
    while True:
        at = time.process_time()
        page = await store.read(
            lambda c, beyond=beyond: page_of_runs(
                c, "m", limit=100, newest_first=True, beyond=beyond
            )
        )
        times.append(time.process_time() - at)
        seen += len(page)
        if len(page) < 100:
            break
        beyond = page[-1].seq
    assert seen == 5000
    # The last page costs what the first one does: no page counts its way through the others.
    assert sorted(times)[len(times) // 2] < 0.1
    assert sum(times[-5:]) < 5 * sum(times[:5])
    await store.close()


async def test_newer_database_is_refused_and_left_alone(database: Path) -> None:
    await (await _opened(database)).close()
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = database.read_bytes()
    with pytest.raises(CannotStart, match=rf"{database}: written by a newer release.*9999"):
        await _opened(database)
    assert database.read_bytes() == before


@pytest.mark.parametrize("damage", ["no database at all" * 100, None])
async def test_damaged_database_is_refused_and_left_alone(
    database: Path, damage: str | None
) -> None:
    store = await _opened(database)
    await store.write(lambda c: [insert_run(c, _record(n)) for n in range(200)])
    await store.close()
    content = damage.encode() if damage else _with_a_hole(database.read_bytes())
    database.write_bytes(content)
    with pytest.raises(CannotStart, match=rf"(?s){database}: .*[Mm]ove it away"):
        await _opened(database)
    assert database.read_bytes() == content


def _with_a_hole(content: bytes) -> bytes:
    return content[:8192] + b"\xa5" * 8192 + content[16384:]


async def test_foreign_database_is_refused(new_database: Path) -> None:
    with sqlite3.connect(new_database) as connection:
        connection.execute("CREATE TABLE people (name)")
    connection.close()
    with pytest.raises(CannotStart, match="not Modelyard's"):
        await _opened(new_database)


async def test_locked_database_is_refused_with_the_remedy(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await _opened(database)).close()
    monkeypatch.setattr(revision, "BUSY_TIMEOUT_S", 0.2)
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(CannotStart, match="another program holds"):
        await _opened(database)
    holder.execute("ROLLBACK")
    holder.close()
    await (await _opened(database)).close()


async def test_lock_held_for_a_moment_is_waited_for(database: Path) -> None:
    store = await _opened(database)
    holder = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    writing = asyncio.ensure_future(store.write(lambda c: insert_run(c, _record())))
    await asyncio.sleep(0.3)
    assert not writing.done()
    holder.execute("ROLLBACK")
    holder.close()
    assert (await writing).seq == 1
    await store.close()


async def test_database_that_may_not_be_written_is_refused() -> None:
    """As another user, for whom file and folder are read-only (root may always write)."""
    if os.geteuid() != 0:
        pytest.skip("needs another user to be")
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "records.db"
        await (await _opened(database)).close()
        Path(folder).chmod(0o755)
        database.chmod(0o444)
        said = _said_to_nobody(database)
    assert said.startswith(f"CannotStart: {database}: ")
    assert "right to" in said


def _said_to_nobody(database: Path) -> str:
    """What a process of the user `nobody` gets to hear; forked, since it may import nothing."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            revision.revision_of(database)
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as file:
        return file.read()


async def test_closed_store_says_so(database: Path) -> None:
    store = await _opened(database)
    await store.close()
    with pytest.raises(StorageUnavailable):
        await store.read(lambda c: None)


async def test_full_disk_is_told_and_loses_nothing(database: Path) -> None:
    """SQLite's own page limit stands for the disk's: the same error, without a small disk."""
    store = await _opened(database)
    await store.write(lambda c: insert_run(c, _record(1)))

    def overfill(connection):
        connection.exec_driver_sql("PRAGMA max_page_count=1")
        for number in range(2, 2000):
            insert_run(connection, _record(number, message="x" * 2000))

    with pytest.raises(StorageUnavailable, match="disk is full") as caught:
        await store.write(overfill)
    assert type(caught.value).__name__ == "DiskFull"
    found = await store.read(lambda c: page_of_runs(c, limit=10, newest_first=False))
    assert [record.id for record in found] == [_record(1).id]
    await store.close()
