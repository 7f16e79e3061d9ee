"""The server's home: the one folder with everything that it keeps.

HOME/
  home.json     which format this folder has, and the id of the server that it belongs to
  lock          held (flock) by the server that uses it, with its pid
  records.db    the record store
  runs/         one folder a run: training/paths.py spells what is inside
  weights/      one folder a weights version
  datasets/     one folder a dataset version
  uploads/      large uploads that come in parts
  store/        what is remembered of the shared store
  logs/         what the models' processes print
  audit/        who changed what, and who was refused
  tensorboard/  what TensorBoard reads
  tmp/          folders of calls under way, temporary files of workers; emptied at each start
  cache/        what models' libraries keep for their next process, one folder a model; bounded
                by caches.py
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import uuid
from pathlib import Path

from ..clearing import remove_tree
from ..errors import CannotStart, HomeInUse
from .lost import Lost, User, lost_database

FORMAT = 1
_OWN_NAMES = {"home.json", "home.json.new", "lock"}
_SERVER_ID = re.compile("[0-9a-f]{32}")
_FOREIGN_BUT_HARMLESS = {"lost+found"}  # an empty volume has it


class Home:
    """All paths of a home, and the lock on it. Nothing is touched before `open`."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._lock: int | None = None
        self._server_id = ""

    @property
    def server_id(self) -> str:
        """32 hex digits that stay as long as the home: who moved an alias, of many servers.

        Known once the home is open.
        """
        return self._server_id

    @property
    def database(self) -> Path:
        return self.root / "records.db"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def weights(self) -> Path:
        return self.root / "weights"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def audit(self) -> Path:
        return self.root / "audit"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def calls(self) -> Path:
        """One folder for each call under way."""
        return self.tmp / "calls"

    @property
    def workers(self) -> Path:
        """One folder for the temporary files of each process that has a model."""
        return self.tmp / "workers"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def format_file(self) -> Path:
        return self.root / "home.json"

    @property
    def lock_file(self) -> Path:
        return self.root / "lock"

    def open(self) -> None:
        """Takes the home for this process alone, makes its folders, and empties `tmp`.

        Raises HomeInUse, with the holder's pid, and CannotStart, with a remedy, if it is no
        folder that can be used, has a newer format, lost its records, or is somebody else's.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._refuse_a_foreign_folder()
            self._take_lock()
        except (FileExistsError, NotADirectoryError) as error:
            raise CannotStart(
                f"{self.root}: is a file, or lies below one, and cannot be a home. Name a folder "
                "with --home, which may be a new one."
            ) from error
        except OSError as error:
            raise CannotStart(
                f"{self.root}: cannot be used as home ({error.strerror}). Give the server's user "
                "the right to write there, or name another folder with --home."
            ) from error
        try:
            self._prepare()
        except OSError as error:
            self.close()
            raise CannotStart(f"{error.filename or self.root}: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Gives the home free."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def user(self) -> User | None:
        """The server that uses this home, if one does."""
        try:
            descriptor = os.open(self.lock_file, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            # Shared and given back at once: two that look do not take each other for a server.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            return User(pid, os.fstat(descriptor).st_mtime_ns)
        finally:
            os.close(descriptor)
        return None

    def lost(self) -> Lost | None:
        """What to tell of a database that was taken away; None where nothing is lost."""
        needed = any(any(part.glob("*")) for part in (self.runs, self.weights))
        return lost_database(self.database, needed, None if self._lock is not None else self.user())

    def _refuse_a_foreign_folder(self) -> None:
        # `--home ~` by mistake must not turn a person's folder into a home: its permissions would
        # change, and a folder `tmp` in it would be emptied.
        if self.format_file.exists():
            return
        foreign = {path.name for path in self.root.iterdir()} - _OWN_NAMES - _FOREIGN_BUT_HARMLESS
        if foreign:
            raise CannotStart(
                f"{self.root}: holds other things ({sorted(foreign)[0]}) and is no home of "
                "Modelyard. Name an empty or a new folder with --home."
            )

    def _take_lock(self) -> None:
        # Not inheritable (O_CLOEXEC), and this process never forks without exec: a child that kept
        # the descriptor would keep the lock after our death.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.lock_file, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise HomeInUse(
                f"{self.root}: another server (pid {holder or 'unknown'}) uses this home. Stop "
                "it, or name another folder with --home.",
                pid=int(holder) if holder.isdigit() else None,
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    def _prepare(self) -> None:
        self._check_format()
        self._restrict()
        kept = (self.runs, self.weights, self.datasets, self.uploads, self.store)
        for folder in (*kept, self.logs, self.audit, self.tensorboard, self.tmp, self.cache):
            folder.mkdir(mode=0o700, exist_ok=True)
        self._refuse_lost_records()
        self._empty_tmp()
        for folder in (self.calls, self.workers):
            folder.mkdir(mode=0o700, exist_ok=True)

    def _refuse_lost_records(self) -> None:
        # SQLite would make a new, empty database of a missing or empty file, and every run, version
        # and key would be forgotten without a word.
        if (lost := self.lost()) is not None:
            raise CannotStart(str(lost))

    def _check_format(self) -> None:
        if not self.format_file.exists():
            self._write_format(uuid.uuid4().hex)
            return
        try:
            data = json.loads(self.format_file.read_bytes())
            found = data["format"]
            newer = int(found) > FORMAT
        except (ValueError, KeyError, TypeError) as error:
            raise CannotStart(
                f'{self.format_file}: is damaged. It should read {{"format": {FORMAT}}}.'
            ) from error
        if newer:
            raise CannotStart(
                f"{self.root}: written by a newer release (format {found}; this one knows "
                f"{FORMAT}). Install that release again, or name another --home."
            )
        self._server_id = str(data.get("server") or "")
        if not _SERVER_ID.fullmatch(self._server_id):  # a home of a release before shared stores
            self._write_format(uuid.uuid4().hex)

    def _write_format(self, server_id: str) -> None:
        new = self.root / "home.json.new"
        with new.open("w") as file:
            json.dump({"format": FORMAT, "server": server_id}, file)
            file.flush()
            os.fsync(file.fileno())
        new.rename(self.format_file)
        self._server_id = server_id

    def _restrict(self) -> None:
        # Run folders hold secret arguments. On a volume that belongs to another user (some
        # container platforms) we may not change the mode and must take it as it is.
        status = self.root.stat()
        if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != 0o700:
            self.root.chmod(0o700)

    def _empty_tmp(self) -> None:
        for path in self.tmp.iterdir():
            remove_tree(path)
