"""Every path of a run, spelled once, and the one way its JSON files are written and read.

A run folder is the durable half of the seam between the server and a run's processes: whoever
writes a file here writes it whole (temporary name, fsync, rename, fsync of the folder), so a reader
sees the old content or the new one, never a part, and leftovers of a writer that was killed have
names that nobody reads. Who writes which file stands beside its name.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

FORMAT = 1
DAMAGED = "train() may change what is in run.folder, and nothing beside it."
"""The remedy where a run's folder is not as its processes have left it."""
_LARGEST = 64 << 20  # bytes of a JSON file
"""Version of the run folder's files; each JSON object carries it as `format`."""


@dataclass(frozen=True)
class RunPaths:
    """The folder HOME/runs/<run id> of one run."""

    root: Path

    @property
    def id(self) -> str:
        """The run's id: the folder's name."""
        return self.root.name

    # Written by the server before launch.
    @property
    def run(self) -> Path:
        """What is to be trained (`messages.RunOrder`)."""
        return self.root / "run.json"

    @property
    def body(self) -> Path:
        """The request's JSON bytes as sent; may be missing."""
        return self.root / "body"

    @property
    def files(self) -> Path:
        """The uploaded files."""
        return self.root / "files"

    @property
    def secrets(self) -> Path:
        """Values of secret arguments, mode 0600; removed when the run ends."""
        return self.root / "secrets.json"

    @property
    def epoch(self) -> Path:
        """The epoch in force, a decimal number: a supervisor of any other epoch must not act."""
        return self.root / "epoch"

    @property
    def control(self) -> Path:
        """What the supervisor is asked to do (`messages.Control`)."""
        return self.root / "control.json"

    @property
    def promoted(self) -> Path:
        """Weights versions of other checkpoints, until they are installed: a folder each."""
        return self.root / "promoted"

    @property
    def interruptions(self) -> Path:
        """How often the run was interrupted since its last checkpoint: `{"step", "count"}`."""
        return self.root / "interruptions.json"

    # Written by the supervisor.
    @property
    def claim(self) -> Path:
        """Locked (flock) by the supervisor as long as it lives."""
        return self.root / "claim"

    @property
    def supervisor(self) -> Path:
        """The supervisor's identity (`identity.Identity`), and under `guardian` its parent's."""
        return self.root / "supervisor.json"

    @property
    def process(self) -> Path:
        """The run process's identity (`identity.Identity`)."""
        return self.root / "process.json"

    @property
    def heartbeat(self) -> Path:
        """Empty; its modification time is when the supervisor was last seen alive."""
        return self.root / "heartbeat"

    @property
    def exit(self) -> Path:
        """How the run ended (`messages.ExitRecord`); the last file that is written."""
        return self.root / "exit.json"

    @property
    def stop(self) -> Path:
        """One byte, mapped by the run process: not zero when it is to stop."""
        return self.root / "stop"

    @property
    def spent(self) -> Path:
        """How long the run's processes have lived: `{"seconds"}`; of runs with a limit only."""
        return self.root / "spent.json"

    @property
    def supervisor_log(self) -> Path:
        return self.root / "supervisor.log"

    # Written by the run process.
    @property
    def status(self) -> Path:
        """Phase and progress (`messages.RunProgress`)."""
        return self.root / "status.json"

    @property
    def trained(self) -> Path:
        """Written when train() has returned (`messages.Trained`): only finishing is left."""
        return self.root / "trained.json"

    @property
    def lineage(self) -> Path:
        """Where the run's weights come from (`lineage.begin`)."""
        return self.root / "lineage.json"

    @property
    def data(self) -> Path:
        """The hash of a folder below the data root that the run reads (`data.DataHash`)."""
        return self.root / "data.json"

    @property
    def result(self) -> Path:
        """What train() returned, or how it failed (`messages.RunResult`)."""
        return self.root / "result.json"

    @property
    def log(self) -> Path:
        """stdout and stderr of the run's processes, and the lines of `run.log`."""
        return self.root / "log.txt"

    @property
    def metrics(self) -> Path:
        """JSON lines `{"step", "time", "values"}`."""
        return self.root / "metrics.jsonl"

    @property
    def events(self) -> Path:
        """TensorBoard event files."""
        return self.root / "events"

    @property
    def watched(self) -> Path:
        """Other folders with TensorBoard event files of this run (`messages.Watched`)."""
        return self.root / "watched.json"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def checkpoints_index(self) -> Path:
        """Which checkpoints there are, which is `last` and which `best`."""
        return self.checkpoints / "index.json"

    def checkpoint(self, step: int) -> Path:
        """The folder of the checkpoint of one step; it holds `weights/` and `state/`."""
        return self.checkpoints / f"{step:010d}"

    @property
    def plugin(self) -> Path:
        """`run.folder`: what the plugin keeps."""
        return self.root / "plugin"

    @property
    def tmp(self) -> Path:
        """The temporary files of the run's processes; made and removed by the supervisor."""
        return self.root / "tmp"

    @property
    def version(self) -> Path:
        """The weights version that the run's finish step makes."""
        return self.root / "version"

    @property
    def version_files(self) -> Path:
        return self.version / "files"

    @property
    def version_manifest(self) -> Path:
        """Written last: a version folder without it is not whole."""
        return self.version / "manifest.json"


def write_json(
    path: Path, data: Mapping[str, Any], mode: int = 0o644, durable: bool = True
) -> None:
    """Replaces `path` with `data`, whole: a reader sees the old or the new one.

    Durable: it is on disk when this returns. `durable=False` leaves out the fsyncs (some
    milliseconds), for what means nothing after the machine has stopped: identities, progress.
    Raises OSError (disk full, no folder) and ValueError/TypeError if `data` is no JSON; then `path`
    is as it was.
    """
    # In ASCII: JSON text may hold lone surrogates ("\\ud800"), which have no UTF-8.
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    write_bytes(path, text.encode(), mode, durable)


def write_bytes(path: Path, content: bytes, mode: int = 0o644, durable: bool = True) -> None:
    """Replaces `path` with `content` as `write_json` does."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            if os.fstat(descriptor).st_mode & 0o600 != 0o600:  # a plugin's umask
                os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        sync_folder(path.parent)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`, or None if there is no such file.

    Raises ValueError if it holds something else than a JSON object, or more than 64 MiB: files here
    are renamed into place whole, so that is damage and no half-written state.
    """
    try:
        with open_file(path) as file:
            text = file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    data = json.loads(text) if len(text) <= _LARGEST else None
    if not isinstance(data, dict):
        raise ValueError(f"{path.name} does not hold a JSON object")
    return data


def open_file(path: Path) -> BinaryIO:
    """A file of a run, to be read from its begin. Raises OSError.

    FileNotFoundError too if something else stands in its place, which the run's own code may have
    put there: a link may lead anywhere, and of a pipe the reader would wait for a writer.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket
            raise FileNotFoundError(f"{path} is no file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(f"{path} is no file")
    return os.fdopen(descriptor, "rb")


def open_to_append(path: Path) -> int:
    """A descriptor of a file of a run to write at its end; it is made where there is none.

    What the run's own code may have put in its place is replaced: nobody reads a pipe there. Raises
    OSError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o644)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        path.unlink()
        descriptor = os.open(path, flags, 0o644)
    os.set_blocking(descriptor, True)
    return descriptor


def sync_folder(folder: Path) -> None:
    """Makes the names in `folder` durable (renames and new files survive a power cut)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tree_files(folder: Path) -> Iterator[Path]:
    """All regular files under `folder`, sorted by their path; symbolic links are left out."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path
