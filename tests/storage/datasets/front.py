"""A front that takes one dataset in: run by the kill tests, and killed.

python front.py HOME ARCHIVE
"""

import asyncio
import shutil
import sys
from pathlib import Path

from modelyard.records.home import Home
from modelyard.records.store import RecordStore
from modelyard.storage.cache import StoreCache
from modelyard.storage.datasets.service import Datasets, Incoming
from modelyard.storage.datasets.taking import Item


async def no_reader(model, folder):
    return None


async def main(root: Path, archive: Path) -> None:
    home = Home(root)
    home.open()
    store = RecordStore(home.database)
    await store.open()
    datasets = Datasets(home, store, no_reader, StoreCache(None))
    await datasets.start()
    copy = home.tmp / archive.name
    shutil.copyfile(archive, copy)
    print("ready", flush=True)
    record, _ = await datasets.add(Incoming([Item([copy], archive.name)], name="killed"))
    print(record.id, flush=True)
    await datasets.close()
    await store.close()


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
