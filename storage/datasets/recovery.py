"""Puts HOME/datasets right after a kill.

Runs in the front; the file work in threads. What a folder's name says:

    <id>             a bundle, whole
    .ingest-<id>     being taken in: nobody was told of it
    .new-<id>        being fetched: the next fetch goes on with it
    .gone-<id>       being removed: gone if its record is gone, else it comes back
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from pathlib import Path

from sqlalchemy import Connection

from ...records import datasets as records
from ...records.datasets import DatasetRecord
from ...records.store import RecordStore
from ..versions import GONE, VERSION_ID, bring_back, remove_away

log = logging.getLogger(__name__)


async def recover(root: Path, store: RecordStore) -> None:
    """Makes folders and records agree: bundles without a record get theirs back from the manifest,
    records whose files are gone say so."""
    known = await store.read(records.local_ids)
    there = await asyncio.to_thread(_clean, root, known)
    strangers = await asyncio.to_thread(_read, root, sorted(there - known))

    def work(connection: Connection) -> None:
        for record in strangers:
            earlier = records.find_dataset(connection, record.id)
            if earlier is None:
                records.insert_dataset(connection, record)
            else:  # its fetch was done, and the server killed before it was told
                records.change_dataset(connection, record.id, local=True)
        for dataset_id in sorted(known - there):
            _missing(connection, dataset_id)

    if strangers or known - there:
        await store.write(work)


def _clean(root: Path, known: set[str]) -> set[str]:
    """The ids of the bundles that are there, after half ones are removed."""
    for folder in list(root.iterdir()):
        if folder.name.startswith(".ingest-"):
            shutil.rmtree(folder, ignore_errors=True)
        elif folder.name.startswith(GONE):
            if folder.name.removeprefix(GONE) in known:
                bring_back(folder)
            else:
                remove_away(folder)
    return {folder.name for folder in root.iterdir() if VERSION_ID.match(folder.name)}


def _read(root: Path, names: list[str]) -> list[DatasetRecord]:
    found = []
    for name in names:
        try:
            manifest = json.loads((root / name / "manifest.json").read_bytes())
            found.append(records.record_of(manifest, local=True, stored=False))
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s: is not in the records and no whole dataset: %s", root / name, error)
    return found


def _missing(connection: Connection, dataset_id: str) -> None:
    record = records.find_dataset(connection, dataset_id)
    if record is None:
        return
    if record.stored:
        records.change_dataset(connection, dataset_id, local=False)
        return
    log.warning("the files of the dataset %s@%d are gone", record.name, record.number)
    reason = "Its files are missing on this disk. Remove it, and upload it again."
    values = {"local": False, "state": records.FAILED, "reason": reason}
    records.change_dataset(connection, dataset_id, **values)
