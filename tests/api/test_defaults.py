"""The default follows the alias, whatever happens while it does."""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelyard.api.defaults import Defaults


@dataclass(frozen=True)
class Version:
    id: str
    folder: Path = Path()


class Yard:
    """Versions, their keeper, and the one model; bringing the files of the first takes as long as
    it is told, and ends as it is told."""

    takes_weights, name = True, "m"

    def __init__(self):
        self.now, self.used = Version("a"), []
        self.brought = asyncio.Event()
        self.fault = None

    def __contains__(self, model):
        return True

    def get(self, model):
        return self

    def refuses(self, version):
        return False

    def holding(self, *versions):
        return contextlib.nullcontext()

    async def default(self, model):
        return self.now

    async def split(self, model):
        return None

    async def local(self, version, limit_s):
        if version.id == "a":
            await self.brought.wait()
            if self.fault is not None:
                raise self.fault
        return version

    async def use_weights(self, ref):
        self.used.append(ref.id)

    async def divide(self, division):
        assert division is None


@pytest.mark.parametrize("fault", [None, OSError("no descriptors")])
async def test_an_alias_that_is_moved_while_files_come_is_followed_and_not_turned_back(fault):
    yard = Yard()
    yard.fault = fault
    defaults = Defaults(yard, yard, yard)
    defaults.follow(["m"])
    await asyncio.sleep(0.05)
    yard.now = Version("b")
    defaults.follow(["m"])
    yard.brought.set()
    async with asyncio.timeout(10):
        while not yard.used:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert set(yard.used) == {"b"}
    await defaults.close()


async def test_who_asks_before_an_older_move_has_ended_gets_the_newer_one():
    yard = Yard()
    defaults = Defaults(yard, yard, yard)
    older = asyncio.ensure_future(defaults.settle("m"))
    await asyncio.sleep(0.05)
    yard.now = Version("b")
    await defaults.settle("m")
    yard.brought.set()
    await older
    assert set(yard.used) == {"b"}
    await defaults.close()
