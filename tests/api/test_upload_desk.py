"""Uploads of a server that runs for weeks."""

import asyncio
import os
import time

from modelyard.api.upload_desk import UploadDesk
from modelyard.storage.datasets.uploads import KEPT_S, Uploads


def age(folder, *names):
    then = time.time() - KEPT_S - 60
    for name in names:
        os.utime(folder / name, (then, then))


async def test_an_upload_that_nobody_went_on_with_goes_while_the_server_runs(tmp_path):
    desk = UploadDesk(Uploads(tmp_path), datasets=None, every_s=0.05)
    await desk.start()
    try:
        left = desk.uploads.create("left.bin", 5)
        gone_on_with = desk.uploads.create("slow.bin", 5)
        part = desk.uploads.part(gone_on_with, 1)
        age(tmp_path / gone_on_with.id, "upload.json", ".")  # and not its parts
        age(tmp_path / left.id, "upload.json", "parts", ".")
        async with asyncio.timeout(20):
            while (tmp_path / left.id).exists():
                await asyncio.sleep(0.02)
        part.write(b"12345")
        part.commit(None)
        part.close()
        assert desk.uploads.received(gone_on_with) == [1]
        assert {path.name for path in tmp_path.iterdir()} == {gone_on_with.id}
    finally:
        await desk.close()
