"""A large file to S3 in parts, going on where a killed process stopped."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from ...errors import Corrupt, ModelyardError, ObjectMissing
from .base import Progress
from .digests import Digests, Hasher
from .s3_bucket import CHUNK, Bucket, md5_of
from .s3_errors import Transient, Unsupported, UploadGone

_MOST_PARTS = 10_000  # S3's limit
_AT_ONCE = 8  # parts of one upload
_SAVE_EVERY_S = 1.0


@dataclass
class Upload:
    """One multipart upload: what is remembered of it while it goes on.

    `parts` maps a part's number (from 1) to the ETag that the server gave and our MD5 in hex.
    """

    key: str
    size: int
    digests: Digests
    part: int
    id: str = ""
    parts: dict[int, tuple[str, str]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return -(-self.size // self.part)

    @property
    def etag(self) -> str:
        """The ETag of the whole, where those of parts are MD5s."""
        md5s = b"".join(bytes.fromhex(self.parts[n][1]) for n in sorted(self.parts))
        return f"{md5_of(md5s).hex()}-{len(self.parts)}"

    def length(self, number: int) -> int:
        return min(self.part, self.size - (number - 1) * self.part)


class Memory:
    """A small file with what is known of an upload; without a folder it forgets."""

    def __init__(self, folder: Path | None, upload: Upload) -> None:
        self._upload = upload
        self._lock = Lock()
        self._saved = 0.0
        name = hashlib.sha256(upload.key.encode()).hexdigest()[:32] + ".json"
        self._path = folder / name if folder is not None else None

    def recall(self) -> bool:
        """True if an upload of the same bytes to the same key is remembered; it is filled in."""
        try:
            data = json.loads(self._path.read_bytes()) if self._path is not None else {}
            upload = self._upload
            same = {"key": upload.key, "size": upload.size, "sha256": upload.digests.sha256}
            if any(data.get(name) != value for name, value in same.items()):
                return False
            parts = {int(number): (str(e), str(m)) for number, (e, m) in data["parts"].items()}
            part, upload_id = int(data["part"]), str(data["id"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        self._upload.part, self._upload.id, self._upload.parts = part, upload_id, parts
        return part > 0 and bool(upload_id)

    def save(self, now: bool = False) -> None:
        """At most once a second: the list of parts may be long."""
        if self._path is None or (not now and time.monotonic() < self._saved + _SAVE_EVERY_S):
            return
        with self._lock, suppress(OSError):  # a full disk must not end an upload
            self._saved = time.monotonic()
            upload = self._upload
            data = {
                **{"key": upload.key, "size": upload.size, "sha256": upload.digests.sha256},
                **{"id": upload.id, "part": upload.part, "parts": dict(upload.parts)},
            }
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_name(f".{uuid.uuid4().hex}.new")
            try:
                new.write_text(json.dumps(data))
                new.rename(self._path)
            finally:
                new.unlink(missing_ok=True)

    def forget(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def part_size(size: int, usual: int) -> int:
    """Bytes of a part, so that there are not too many of them; whole MiB when it is more."""
    least = -(-size // _MOST_PARTS)
    return usual if least <= usual else -(-least // CHUNK) * CHUNK


def upload_file(
    bucket: Bucket,
    pool: Executor,
    upload: Upload,
    path: Path,
    progress: Progress,
    resume: Path | None,
) -> Digests:
    """Sends the file at `path` in parts; returns its digests.

    Raises Corrupt if its bytes are not those of `upload.digests`.

    Afterwards the object is whole, or the same as before. Without `resume` nothing is left of a
    failed upload (if the server can be reached).
    """
    memory = Memory(resume, upload)
    with path.open("rb") as file:
        known = memory.recall() and _still_known(bucket, upload)
        if not known:
            upload.parts = {}
            upload.part = part_size(upload.size, bucket.limits.part)
            upload.id = bucket.call("create_multipart_upload", upload.key)["UploadId"]
            memory.save(now=True)
        try:
            digests = _send(bucket, pool, upload, file.fileno(), progress, memory)
            complete(bucket, upload)
        except BaseException as error:
            if resume is None or isinstance(error, Corrupt | UploadGone):
                abort(bucket, upload)
                memory.forget()
            else:
                memory.save(now=True)
            raise
        memory.forget()
        return digests


def _still_known(bucket: Bucket, upload: Upload) -> bool:
    """Keeps of the remembered parts those that the server has; False: begin anew."""
    there: dict[int, tuple[str, int]] = {}
    marker: dict[str, Any] = {}
    try:
        while True:
            page = bucket.call("list_parts", upload.key, UploadId=upload.id, **marker)
            for part in page.get("Parts", ()):
                there[part["PartNumber"]] = (part["ETag"].strip('"'), part["Size"])
            if not page.get("IsTruncated"):
                break
            marker = {"PartNumberMarker": page["NextPartNumberMarker"]}
    except (UploadGone, Unsupported, ObjectMissing):
        return False
    upload.parts = {
        number: part
        for number, part in upload.parts.items()
        if there.get(number) == (part[0], upload.length(number))
    }
    return True


def _send(
    bucket: Bucket, pool: Executor, upload: Upload, file: int, progress: Progress, memory: Memory
) -> Digests:
    """Reads the file once: what is compared with its digest here is what others send beside."""

    def send_one(number: int, data: bytes | bytearray) -> None:
        md5 = md5_of(data)
        # A part from before the crash counts if it was made of the bytes that are there now.
        if upload.parts.get(number, ("", ""))[1] != md5.hex():
            parameters = {"UploadId": upload.id, "PartNumber": number}
            try:
                etag = bucket.send("upload_part", upload.key, data, md5, **parameters)
            except Unsupported:  # rclone cannot take a part again that came with a flipped bit
                raise UploadGone(upload.key) from None
            upload.parts[number] = (etag, md5.hex())
            memory.save()
        progress(len(data))

    hasher = Hasher(upload.digests, complete=True)

    def begin(number: int, buffer: bytearray) -> Future[None]:
        length = upload.length(number)
        view = memoryview(buffer)[:length]
        _read(file, (number - 1) * upload.part, view, upload.key)
        hasher.update(view)
        return pool.submit(send_one, number, buffer if length == len(buffer) else bytes(view))

    def tasks() -> Iterator[Future[None]]:
        for number in range(1, upload.count + 1):
            buffer = bucket.buffers.take(upload.part)
            try:
                task = begin(number, buffer)
            except BaseException:
                bucket.buffers.give(buffer)
                raise
            task.add_done_callback(lambda _, buffer=buffer: bucket.buffers.give(buffer))  # type: ignore[misc]
            yield task

    run_some(tasks(), _AT_ONCE)
    if not hasher.agrees or os.fstat(file).st_size != upload.size:
        raise Corrupt(f"{upload.key}: the file's bytes are not those of its digest")
    return hasher.digests


def _read(file: int, offset: int, view: memoryview, key: str) -> None:
    """Fills `view`."""
    done = 0
    while done < len(view):
        count = os.preadv(file, [view[done:]], offset + done)
        if count == 0:
            raise Corrupt(f"{key}: the file became shorter while it was sent")
        done += count


def run_some(tasks: Iterator[Future[None]], at_once: int) -> None:
    """Runs the tasks, `at_once` submitted at a time; after a failure begins no more, and raises it.

    When it returns or raises none of them runs any more.
    """
    running: set[Future[None]] = set()
    try:
        for task in tasks:
            running.add(task)
            if len(running) >= at_once:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for ended in done:
                    ended.result()
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for ended in done:
                ended.result()
    finally:
        for task in running:
            task.cancel()
        wait(running)


def complete(bucket: Bucket, upload: Upload) -> None:
    """Makes the object of the parts. Raises UploadGone if there is none, or another."""
    parts = [{"PartNumber": n, "ETag": f'"{upload.parts[n][0]}"'} for n in sorted(upload.parts)]
    answer: dict[str, Any] = {}
    # Gone: completed by an earlier try of ours, or lost. The object tells.
    with suppress(UploadGone, ObjectMissing):
        answer = bucket.call(
            "complete_multipart_upload",
            upload.key,
            UploadId=upload.id,
            MultipartUpload={"Parts": parts},
        )
    if not _is_there(bucket, upload, answer.get("ETag", "")):
        raise UploadGone(upload.key)


def _is_there(bucket: Bucket, upload: Upload, made: str) -> bool:
    """True if the object is what was sent. `made` is the ETag that completing told, or empty.

    It, or the object's, is the digest of the parts that the server has; else the object is read
    again (some tell another ETag later: rclone that of the file on its disk, which it reads whole
    when it is asked).
    """
    if bucket.checks.etag and made.strip('"') == upload.etag:
        return True
    try:
        head = bucket.call("head_object", upload.key)
    except ObjectMissing:
        return False
    if head["ContentLength"] != upload.size:
        return False
    if bucket.checks.etag and head.get("ETag", "").strip('"') == upload.etag:
        return True
    return bucket.read_again(upload.key, upload.size, upload.digests)


def abort(bucket: Bucket, upload: Upload) -> None:
    with suppress(ModelyardError, UploadGone, Unsupported, Transient):
        bucket.call("abort_multipart_upload", upload.key, UploadId=upload.id)
