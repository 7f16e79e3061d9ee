"""Archives of all kinds, and the datasets of real homes."""

import io
import shutil
import tarfile
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from modelyard.records.home import Home
from modelyard.records.store import RecordStore
from modelyard.storage.cache import StoreCache
from modelyard.storage.datasets.service import Datasets, Incoming, Reading
from modelyard.storage.datasets.taking import Item
from modelyard.storage.office import StorageOffice
from modelyard.storage.publishing import Publisher

FILES = {"train/a/0.txt": b"first", "train/b/1.txt": b"second" * 1000, "notes.md": b""}


def archive(path: Path, files: dict[str, bytes], time: int = 0) -> Path:
    """By its suffix; `time` is what its members say that they were changed at."""
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in files.items():
                info = zipfile.ZipInfo(name, (1990 + time % 100, 1, 1, 0, 0, 0))
                packed.writestr(info, data)
        return path
    kind = {".gz": "gz", ".bz2": "bz2", ".xz": "xz"}.get(path.suffix, "")
    with tarfile.open(path, f"w:{kind}") as packed:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mtime, member.uid = len(data), time, time
            packed.addfile(member, io.BytesIO(data))
    return path


class Yard:
    """The datasets of one home, as a server has them; `read` stands for a model's reader."""

    def __init__(self, home: Path, url: str | None, read: Any) -> None:
        self.home = Home(home)
        self.url = url
        self.read = read
        self.office: StorageOffice | None = None
        self.publisher: Publisher | None = None
        self.open = False

    async def start(self) -> "Yard":
        self.home.open()
        self.open = True
        self.store = RecordStore(self.home.database)
        await self.store.open()
        if self.url is not None:
            self.office = StorageOffice(self.url, self.home, {}, self.home.logs / "storage.log")
            await self.office.start()
            self.publisher = Publisher(self.office)
        self.cache = StoreCache(self.office)
        self.datasets = Datasets(
            self.home, self.store, self.read, self.cache, self.office, self.publisher
        )
        await self.datasets.start()
        return self

    async def stop(self) -> None:
        if not self.open:
            return
        self.open = False
        await self.datasets.close()
        await self.cache.close()
        if self.publisher is not None and self.office is not None:
            await self.publisher.close()
            await self.office.close()
        await self.store.close()
        self.home.close()

    async def add(self, path: Path, name: str = "things", **more: Any) -> tuple[Any, bool]:
        """Takes in a copy of the file: what comes is moved."""
        copy = self.home.tmp / path.name
        shutil.copyfile(path, copy)
        return await self.datasets.add(Incoming([Item([copy], path.name)], name=name, **more))

    def content(self, record: Any) -> dict[str, bytes]:
        root = self.home.datasets / record.id / "files"
        return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*.*")}


async def no_reader(model: str, folder: Path) -> Reading | None:
    return None


@pytest.fixture
async def new_yard(tmp_path: Path, empty_home: Path) -> AsyncIterator[Callable[..., Any]]:
    """`await new_yard(name, url, read)`: started; the same name is the same home."""
    made: list[Yard] = []

    async def make(name: str = "home", url: str | None = None, read: Any = no_reader) -> Yard:
        if not (tmp_path / name).exists():
            shutil.copytree(empty_home, tmp_path / name)
        made.append(await Yard(tmp_path / name, url, read).start())
        return made[-1]

    yield make
    for yard in made:
        await yard.stop()


@pytest.fixture
async def yard(new_yard: Callable[..., Any]) -> Yard:
    found: Yard = await new_yard()
    return found


@pytest.fixture(name="archive")
def archive_fixture() -> Callable[..., Path]:
    return archive


@pytest.fixture
def files() -> dict[str, bytes]:
    return dict(FILES)
