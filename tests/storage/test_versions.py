"""Weights versions: whole and durable, or not there at all."""

import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import WeightsNotFound
from modelyard.records.store import RecordStore
from modelyard.storage import versions
from modelyard.storage.versions import BadVersion, install_version, is_whole, remove_unfinished
from modelyard.storage.weights import WeightsVersions

FILES = {"model.safetensors": b"\0" * 1000, "classes/names.json": b"[]"}


def _version(folder: Path, number: int = 1, model: str = "m", **changes: Any) -> Path:
    """A version as a run's finish step writes it."""
    for name, content in FILES.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    files = [
        {"path": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in FILES.items()
    ]
    manifest = {
        "format": 1,
        "id": f"{number:032x}",
        "model": model,
        "run": None,
        "created_at": datetime.now(UTC).isoformat(),
        "step": 5,
        "checkpoint": "best",
        "metrics": {"accuracy": 0.9},
        "files": files,
        "size": sum(map(len, FILES.values())),
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "weights"
    made.mkdir()
    return made


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RecordStore]:
    made = RecordStore(tmp_path / "records.db")
    await made.open()
    yield made
    await made.close()


def test_installed_version_has_every_file_and_costs_no_second_copy(
    tmp_path: Path, root: Path
) -> None:
    source = _version(tmp_path / "version")
    manifest = install_version(source, root)
    installed = root / manifest.id
    assert is_whole(installed)
    for name, content in FILES.items():
        assert (installed / "files" / name).read_bytes() == content
        assert (installed / "files" / name).samefile(source / "files" / name)
    assert installed.stat().st_mode & 0o077 == 0


def test_installing_again_changes_nothing(tmp_path: Path, root: Path) -> None:
    source = _version(tmp_path / "version")
    first = install_version(source, root)
    at = (root / first.id).stat().st_mtime_ns
    assert install_version(source, root) == first
    assert (root / first.id).stat().st_mtime_ns == at


def test_damaged_copy_is_replaced_by_a_whole_one(tmp_path: Path, root: Path) -> None:
    source = _version(tmp_path / "version")
    manifest = install_version(source, root)
    (root / manifest.id / "files" / "model.safetensors").unlink()
    assert not is_whole(root / manifest.id)
    install_version(source, root)
    assert is_whole(root / manifest.id)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_files_are_copied_where_they_cannot_be_linked(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == root.stat().st_dev:
            pytest.skip("needs a second file system")
        manifest = install_version(_version(Path(other) / "version"), root)
    assert is_whole(root / manifest.id)


@pytest.mark.parametrize(
    "changes",
    [
        {"files": [{"path": "model.safetensors", "size": 999}]},
        {"files": [{"path": "missing.bin", "size": 1}]},
        {"files": [{"path": "../manifest.json", "size": 1}]},
        {"files": [{"path": "/etc/hostname", "size": 1}]},
        {"files": "none"},
        {"id": "../../elsewhere"},
        {"id": "A" * 32},
    ],
)
def test_wrong_manifest_is_refused_and_leaves_nothing(
    tmp_path: Path, root: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(BadVersion):
        install_version(_version(tmp_path / "version", **changes), root)
    assert list(root.iterdir()) == []


def test_symbolic_link_is_refused(tmp_path: Path, root: Path) -> None:
    source = _version(tmp_path / "version")
    path = source / "files" / "classes/names.json"
    (tmp_path / "secret").write_bytes(b"[]")
    path.unlink()
    path.symlink_to(tmp_path / "secret")
    with pytest.raises(BadVersion, match="no regular file"):
        install_version(source, root)


def test_version_without_manifest_is_refused(tmp_path: Path, root: Path) -> None:
    source = _version(tmp_path / "version")
    (source / "manifest.json").unlink()
    with pytest.raises(BadVersion, match=r"no manifest\.json"):
        install_version(source, root)


def test_failed_install_leaves_nothing_and_can_be_repeated(tmp_path: Path, root: Path) -> None:
    """The second file is missing at first."""
    source = _version(tmp_path / "version")
    names = source / "files" / "classes/names.json"
    names.rename(tmp_path / "aside")
    with pytest.raises(BadVersion):
        install_version(source, root)
    assert list(root.iterdir()) == []
    (tmp_path / "aside").rename(names)
    assert is_whole(root / install_version(source, root).id)


def test_install_killed_at_any_moment_leaves_a_whole_version_or_none(
    tmp_path: Path, root: Path
) -> None:
    code = (
        "import sys, pathlib, itertools; from modelyard.storage.versions import install_version\n"
        "source, root = map(pathlib.Path, sys.argv[1:]); print('ready', flush=True)\n"
        "for folder in sorted(source.iterdir()): install_version(folder, root)"
    )
    for number in range(1, 200):
        _version(tmp_path / "sources" / f"{number:03}", number)
    for delay in (0.0, 0.01, 0.03):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "sources"), str(root)],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()
        for path in root.iterdir():
            assert path.name.startswith(".new-") or is_whole(path)
    remove_unfinished(root)
    assert all(is_whole(path) for path in root.iterdir())


async def test_latest_is_what_became_ready_last(
    tmp_path: Path, root: Path, store: RecordStore
) -> None:
    weights = WeightsVersions(root, store)
    assert await weights.latest("m") is None
    with pytest.raises(WeightsNotFound):
        await weights.get("m", "latest")
    # Created at the same or an earlier moment: the order of publishing counts, not the clock.
    old = await weights.publish(_version(tmp_path / "1", 1, created_at="2026-05-05T00:00:00+00:00"))
    new = await weights.publish(_version(tmp_path / "2", 2, created_at="2020-01-01T00:00:00+00:00"))
    assert (old.aliases, new.aliases) == (("latest",), ("latest",))
    assert (await weights.get("m", "latest")).id == new.id
    assert (await weights.get("m", old.id)).aliases == ()
    assert [version.id for version in await weights.list("m")] == [new.id, old.id]
    assert [version.id for version in await weights.list("m", limit=1)] == [new.id]
    assert new.metrics == {"accuracy": 0.9}
    assert (new.folder / "classes" / "names.json").is_file()


async def test_versions_belong_to_their_model(
    tmp_path: Path, root: Path, store: RecordStore
) -> None:
    weights = WeightsVersions(root, store)
    version = await weights.publish(_version(tmp_path / "1", 1, model="one"))
    assert await weights.list("two") == []
    assert await weights.find("two", version.id) is None
    for name in (version.id, "../one", "", "0" * 32, "production"):
        with pytest.raises(WeightsNotFound):
            await weights.get("two", name)


async def test_start_removes_what_a_killed_install_left(root: Path, store: RecordStore) -> None:
    (root / ".new-x" / "files").mkdir(parents=True)
    await WeightsVersions(root, store).start()
    assert list(root.iterdir()) == []


def test_manifest_times_are_aware(tmp_path: Path) -> None:
    source = _version(tmp_path / "version", created_at="2026-01-01T10:00:00")
    assert versions.read_manifest(source).created_at == datetime(2026, 1, 1, 10, tzinfo=UTC)
