"""Brings a database to the tables of this release: `python -m modelyard.records.migrate URL`.

A short-lived process of its own, run by the server's start only if the revision is not the newest:
alembic and its templates (some 20 MB) then never stay in the server. May be run by hand while no
server uses the home. A migration is one transaction: killed in the middle, it has done nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

from ..errors import ModelyardError
from .engine import database_errors, open_engine, sqlite_path

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(url: str) -> None:
    """Runs what migrations are missing. Raises StorageUnavailable, naming file and remedy."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    engine = open_engine(url, make=True)
    try:
        with database_errors(sqlite_path(url)), engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def main(arguments: list[str]) -> int:
    """The process: exit 0 when the database is ready, 1 with one line on stderr when not."""
    if len(arguments) != 1:
        print("usage: python -m modelyard.records.migrate URL", file=sys.stderr)
        return 2
    try:
        migrate(arguments[0])
    except ModelyardError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
