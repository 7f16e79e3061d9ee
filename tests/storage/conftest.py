"""Homes that share a store."""

import shutil

import pytest
from yard_keepers import Yard


@pytest.fixture
async def yard(tmp_path, empty_home):
    """Opens yards; `yard("a")` has the home a; all share a store."""
    opened = []

    async def open_yard(name="a", url=str(tmp_path / "store"), **more):
        shutil.copytree(empty_home, tmp_path / name)
        (tmp_path / name / "home.json").write_text('{"format": 1}')  # each has its own id
        made = await Yard(tmp_path / name, url, **more).open()
        opened.append(made)
        return made

    yield open_yard
    for one in opened:
        await one.close()
