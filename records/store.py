"""The record store: one database, one thread that works on it, and whole transactions.

    store = RecordStore(home.database)
    await store.open()
    record = await store.write(lambda connection: insert_run(connection, draft))

Runs in the server. Every function handed to `read` and `write` runs in the store's own thread, so
the event loop never waits for the disk; one after the other, so no two of them race.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine

from ..errors import CannotStart, ModelyardError, StorageUnavailable
from ..seclusion import plain_environment
from .engine import database_errors, open_engine, sqlite_url
from .presence import Presence
from .revision import newest_revision, revision_of
from .tables import metadata

T = TypeVar("T")
_MIGRATION_LIMIT_S = 600
_LOOK_EVERY_S = 5.0
_REVISION_TABLE = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
"""As alembic makes it."""


class RecordStore:
    """The database of one home. Nothing is opened before `open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine: Engine | None = None
        self._presence = Presence(path)
        self._thread: ThreadPoolExecutor | None = None
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Checks the database, migrates it if it must be, and opens it.

        Raises CannotStart, naming file and remedy, if it cannot be used as it is. A file that
        cannot be used is never replaced.
        """
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="records")
        try:
            self._engine = await self._in_thread(self._prepare)
        except BaseException:
            self._thread.shutdown(wait=False)
            self._thread = None
            raise
        self._looking = asyncio.ensure_future(self._look())

    async def close(self) -> None:
        """Ends what is under way and closes the database."""
        if self._looking is not None:
            self._looking.cancel()
        if self._thread is None:
            return
        if self._engine is not None:
            await self._in_thread(self._engine.dispose)
        self._thread.shutdown(wait=False)
        self._thread = self._engine = None

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in one transaction; what it did is on disk when this returns.

        Raises what `work` raises (then nothing was done), DiskFull and StorageUnavailable; this
        also where the database was removed or replaced meanwhile.
        """
        return await self._in_thread(self._transaction, work, False)

    async def check(self) -> None:
        """Raises StorageUnavailable unless the database can be read, and is still the home's."""
        await self._in_thread(self._check)

    async def _look(self) -> None:
        """Notices a database that was taken away while nobody asks for it, and saves its records:
        the end of this process would be the end of them."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            with suppress(ModelyardError):
                await self.check()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` on one consistent state of the database."""
        return await self._in_thread(self._transaction, work, True)

    async def _in_thread(self, call: Callable[..., T], *arguments: object) -> T:
        if self._thread is None:
            raise StorageUnavailable("the record store is closed")
        # Shielded: a caller that goes away must not leave the next one to wonder whether the
        # transaction that it had begun is still running.
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._thread, call, *arguments))

    def _transaction(self, work: Callable[[Connection], T], reads: bool) -> T:
        engine = self._engine
        if engine is None:
            raise StorageUnavailable("the record store is closed")
        if not reads:
            self._presence.check(engine)
        with database_errors(self.path), engine.connect() as connection:
            connection = connection.execution_options(reads=reads)
            with connection.begin():
                result = work(connection)
        if not reads:  # nothing is acknowledged that is in files without a name
            self._presence.check(engine)
        return result

    def _check(self) -> None:
        self._transaction(lambda connection: connection.exec_driver_sql("SELECT 1"), True)
        assert self._engine is not None
        self._presence.check(self._engine)

    def _prepare(self) -> Engine:
        new = not self.path.exists()
        if new:
            self._make()
        if not new and revision_of(self.path) != newest_revision():
            self._migrate()
        engine = open_engine(sqlite_url(self.path))
        try:
            with database_errors(self.path), engine.begin() as connection:
                if new:
                    self._create(connection)
                connection.exec_driver_sql("SELECT 1")
            self._presence.note()
        except StorageUnavailable as error:
            engine.dispose()
            raise CannotStart(error.message) from error
        return engine

    def _make(self) -> None:
        """An empty file, by us and not by SQLite, which would make one at any time later too."""
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise CannotStart(f"{self.path}: cannot be made ({error.strerror}).") from error

    def _create(self, connection: Connection) -> None:
        """All tables of this release at once, as the migrations would make them: a server on a new
        home need not wait for a process that imports them."""
        metadata.create_all(connection)
        connection.exec_driver_sql(_REVISION_TABLE)
        connection.exec_driver_sql(
            "INSERT INTO alembic_version (version_num) VALUES (?)", (newest_revision(),)
        )

    def _migrate(self) -> None:
        # -P: the folder in which the server was started is not on the path of the new process; a
        # model author's own `alembic.py` or `records/` there must not be imported.
        command = [sys.executable, "-P", "-m", "modelyard.records.migrate", sqlite_url(self.path)]
        done = subprocess.run(
            command,
            env=plain_environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_MIGRATION_LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            last_lines = "\n".join(done.stderr.strip().splitlines()[-5:])
            raise CannotStart(f"{self.path}: the database could not be migrated. {last_lines}")
        self.path.chmod(0o600)
