"""Whether this machine has what the settings name: folders, files, devices.

Looks at names and sizes only, in a millisecond: nothing is imported, and no driver is asked. What
can be told by using a thing alone (a certificate that does not fit its key, a device that is
broken) is told by what uses it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .disk import DiskSettings
from .numbers import written_size
from .schema import Settings
from .together import Fault

_KERNEL = tuple(map(Path, ("/proc", "/sys", "/dev")))
_SYSTEM = (*_KERNEL, Path("/etc"), Path("/boot"))
_SHARED_MEMORY = Path("/dev/shm")
_OTHER_GPUS = ("/dev/kfd", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/nvmap")
"""AMD's, that of Windows' Linux, and those of small boards: how many there are is not told."""
_GPU = re.compile(r"nvidia\d+")
_PARTS = Path("/proc/driver/nvidia/capabilities")  # of GPUs that are divided (MIG)
_READABLE_BY_ALL = 0o004


def faults_of_the_machine(settings: Settings, environ: Mapping[str, str]) -> Iterator[Fault]:
    """What is named and is not there, or is no place for it."""
    yield from _faults_of_home(settings)
    yield from _faults_of_folders(settings)
    files = {
        "tls_cert": settings.tls_cert,
        "tls_key": settings.tls_key,
        "oidc_web_secret_file": settings.oidc_web_secret_file,
    }
    for name, file in files.items():
        fault = None if file is None else _fault_of_file(file)
        if fault is not None:
            flag = "--" + name.replace("_", "-")
            yield name, f"{file} {fault}: {flag} names a file that the server can read."
    yield from _faults_of_devices(settings, environ)


def warnings_of_the_machine(settings: Settings) -> list[str]:
    """What nobody has set and does not fit: a small disk with the usual `min_free`."""
    above = next(place for place in (settings.home, *settings.home.parents) if place.exists())
    told = _too_much_free(settings, above)
    return [f"min_free: {told}: set --min-free to less, or to 0"] if told else []


def _too_much_free(settings: Settings, place: Path) -> str | None:
    whole = shutil.disk_usage(place).total
    if settings.min_free < whole:
        return None
    return (
        f"{written_size(settings.min_free)} is all of the home's disk or more (it has {whole} "
        "bytes), so that whatever takes room is refused"
    )


def exposed_files(settings: Settings) -> list[str]:
    """A sentence on each file of a secret that every user of this machine may read."""
    files = (settings.tls_key, settings.oidc_web_secret_file)
    return [
        f"every user of this machine may read {file}, which holds a secret: chmod o-r {file}"
        for file in files
        if file is not None and readable_by_all(file)
    ]


def readable_by_all(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & _READABLE_BY_ALL)
    except OSError:
        return False


def _faults_of_home(settings: Settings) -> Iterator[Fault]:
    home = settings.home
    above = next(place for place in (home, *home.parents) if place.exists())
    if not above.is_dir():
        yield "home", f"{above} is a file: name a folder, which may be a new one."
        return
    if _below(home, _KERNEL):
        yield "home", f"{home} is a place of the kernel's: name a folder on a disk."
        return
    if settings.min_free != DiskSettings.min_free and (told := _too_much_free(settings, above)):
        yield "min_free", f"{told}: take less, or 0."


def _faults_of_folders(settings: Settings) -> Iterator[Fault]:
    if settings.data is not None:
        fault = _fault_of_folder(settings.data, settings.home)
        if fault is not None:
            yield "data", fault
    store = _folder_of_store(settings.storage)
    if store is not None and _overlap(store, settings.home):
        yield "storage", _overlapping(store, settings.home)
    for name, own in settings.models.items():
        folder = own.weights_folder
        if folder is None:
            continue
        if folder.exists() and not folder.is_dir():
            yield "models", f"{name}: weights_folder: {folder} is a file: name a folder."
        elif _overlap(folder, settings.home):
            yield "models", f"{name}: weights_folder: {_overlapping(folder, settings.home)}"


def _fault_of_folder(folder: Path, home: Path) -> str | None:
    if not folder.exists():
        return f"{folder} does not exist: make it, or name the folder that holds the data sets."
    if not folder.is_dir():
        return f"{folder} is a file: name the folder that holds the data sets."
    if not os.access(folder, os.R_OK | os.X_OK):
        return f"The server's user may not read {folder}: chmod or chown it."
    if folder.resolve() == Path("/") or _below(folder, _SYSTEM):
        return (
            f"{folder} holds the system's own files, which trainings could name as data: name a "
            "folder of data sets alone."
        )
    return _overlapping(folder, home) if _overlap(folder, home) else None


def _overlap(one: Path, other: Path) -> bool:
    """Whether one is the other or lies in it, links followed."""
    one, other = one.resolve(), other.resolve()
    return one.is_relative_to(other) or other.is_relative_to(one)


def _overlapping(folder: Path, home: Path) -> str:
    return (
        f"{folder} is, holds or lies in the home ({home}), whose files are the server's own: name "
        "a folder beside it."
    )


def _below(path: Path, places: tuple[Path, ...]) -> bool:
    path = path.resolve()
    if path.is_relative_to(_SHARED_MEMORY) and path != _SHARED_MEMORY:
        return False
    return any(path.is_relative_to(place) for place in places)


def _folder_of_store(url: str | None) -> Path | None:
    if url is None or url.startswith("s3:"):
        return None
    path = unquote(urlsplit(url).path) if url.startswith("file:") else url
    return Path(path) if path.startswith("/") and "\0" not in path else None


def _fault_of_file(file: Path) -> str | None:
    if not file.exists():
        return "does not exist"
    if file.is_dir():
        return "is a folder"
    return None if os.access(file, os.R_OK) else "may not be read by the server's user"


def _faults_of_devices(settings: Settings, environ: Mapping[str, str]) -> Iterator[Fault]:
    fault = _fault_of_device(settings.device, environ)
    if fault is not None:
        yield "device", fault
    for name, own in settings.models.items():
        if own.device is not None:
            fault = _fault_of_device(own.device, {**environ, **own.env})
            if fault is not None:
                yield "models", f"{name}: device: {fault}"


def _fault_of_device(device: str, environ: Mapping[str, str]) -> str | None:
    """None also where it cannot be told so cheaply: the worker that uses it tells."""
    if not device.startswith("cuda"):
        return None
    wanted = int(device.partition(":")[2] or 0)
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        shown = len([one for one in visible.split(",") if one.strip() not in ("", "-1")])
        if wanted >= shown:
            return f"CUDA_VISIBLE_DEVICES shows {_numbered(shown)}: name one of those, auto or cpu."
    if any(Path(place).exists() for place in _OTHER_GPUS):
        return None
    here = sum(1 for one in os.scandir("/dev") if _GPU.fullmatch(one.name))
    if wanted >= here and not (here and any(_PARTS.glob("gpu*/mig/gi*"))):
        return (
            f"This machine shows {_numbered(here)} (/dev/nvidia*): name one of those, auto or cpu. "
            "(A container has to be given them: --gpus all.)"
        )
    return None


def _numbered(count: int) -> str:
    if count == 0:
        return "no GPU"
    return "one GPU, cuda:0" if count == 1 else f"{count} GPUs, cuda:0 to cuda:{count - 1}"
