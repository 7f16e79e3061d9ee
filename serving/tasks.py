"""Plugin tasks from the front: one process for each, and its answer or its end. Runs in the front.

A plugin that crashes, hangs or takes all memory in a task harms nobody but itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DeadlineExceeded, NotSupported, PluginFailed, WorkerDied
from ..models_plugin.interpreter import command
from ..models_plugin.plugin import NATIVE_GROUP, PluginSource
from ..standstill import WATCH_S, Standstill, StoodStill, is_stopped
from .exits import exit_of
from .failures import error_of
from .leftovers import Leftovers
from .messages import Failed
from .placing import started_on

_ENTRY = f"{__package__}.task_process"  # named and not imported: the front is to stay small
ANSWER_LIMIT = 64 * 1024**2
"""Bytes of JSON that a task may answer with."""
_TAIL = 4096  # bytes of its last output that are told with its end
_GIVEN_UP_S = 2.0  # a killed process that is still there hangs in the kernel


async def run_plugin_task(
    source: PluginSource,
    environment: Mapping[str, str],
    task: str,
    parameters: Mapping[str, Any],
    timeout_s: float,
    log: Path,
    cpus: Sequence[int] | None = None,
    memory_limit: int = 0,
    leftovers: Leftovers | None = None,
) -> dict[str, Any]:
    """What one of `models_plugin.tasks.TASKS` returns, done in a process that ends with it.

    The process has the model's own interpreter and `environment` (`plugin_environment`); what it
    prints is appended to `log`; `cpus` are those that it may use (None: all of ours),
    `memory_limit` the bytes that it may allocate (0: no limit), and `leftovers` ends what it
    leaves. Cancelling kills it, with all that it started.

    Raises NotSupported (also for a DEEPaaS module, which has none of these), InvalidArguments and
    PluginFailed as the task does; WorkerDied with how the process ended, also one that was stopped
    by a signal, within seconds; DeadlineExceeded.
    """
    if source.problem:
        raise PluginFailed(source.problem, original_type="ContractFault")
    if source.group != NATIVE_GROUP:
        raise NotSupported(f"The model {source.name!r} is a DEEPaaS module, which cannot do that.")
    order = {
        "source": source.to_data(),
        # Another interpreter has its own libraries; ours would come with other versions.
        "path": [entry for entry in sys.path if entry] if source.python is None else [],
        "task": task,
        "parameters": dict(parameters),
        "memory_limit": memory_limit,
    }
    descriptor = os.memfd_create(f"task-{task}", os.MFD_CLOEXEC)
    mark = {} if leftovers is None else leftovers.mark()
    try:
        os.write(descriptor, json.dumps(order).encode())
        with log.open("ab") as output, started_on(cpus):
            logged_from = output.tell()
            child = _start(source, {**environment, **mark}, descriptor, output)
        try:
            code = await _ended(child, timeout_s)
        except TimeoutError:
            raise DeadlineExceeded(
                f"The model did not finish the task {task!r} within {timeout_s:g} s."
            ) from None
        except StoodStill:
            raise WorkerDied(
                f"The model's process was stopped by a signal (SIGSTOP) during the task {task!r} "
                "and did not go on, so it was ended. Ask again; if that happens once more, see "
                "what the model's code does there.",
                traceback=await asyncio.to_thread(_last_words, log, logged_from),
            ) from None
        if code != 0:
            raise WorkerDied(
                f"The model's process {exit_of(code).words}.",
                traceback=await asyncio.to_thread(_last_words, log, logged_from),
            )
        return _answer(descriptor, task)
    finally:
        os.close(descriptor)
        if leftovers is not None:
            leftovers.over(mark)


def _start(
    source: PluginSource, environment: Mapping[str, str], descriptor: int, output: Any
) -> subprocess.Popen[bytes]:
    """On the event loop's own thread: PR_SET_PDEATHSIG fires when the thread that forked ends."""
    start = [*command(source.python, _ENTRY), "--parent", str(os.getpid())]
    try:
        return subprocess.Popen(
            [*start, "--fd", str(descriptor)],
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:  # the model's environment was removed, say
        interpreter = source.python or sys.executable
        raise WorkerDied(
            f"The model's process cannot be started with {interpreter}: {error.strerror}."
        ) from error


async def _ended(child: subprocess.Popen[bytes], timeout_s: float) -> int:
    """The exit code. Whatever happens, nothing of its session is left when this returns or raises.

    Raises TimeoutError and StoodStill.
    """
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    pidfd = os.pidfd_open(child.pid)
    loop.add_reader(pidfd, over.set)
    try:
        async with asyncio.timeout(timeout_s):
            await _over_or_stopped(child.pid, over)
    finally:
        # It has not been waited for, so its number is not given to another.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        try:
            # So that it writes nowhere any more: its files may be removed now.
            async with asyncio.timeout(_GIVEN_UP_S):
                await over.wait()
        except TimeoutError:  # it hangs in the kernel; a thread waits on
            loop.run_in_executor(None, child.wait)
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
    return child.wait()


async def _over_or_stopped(pid: int, over: asyncio.Event) -> None:
    """Raises StoodStill some seconds after the process was: it does not end by itself."""
    standstill = Standstill()
    while not over.is_set():
        try:
            await asyncio.wait_for(over.wait(), WATCH_S)
        except TimeoutError:
            if standstill.look(is_stopped(pid)):
                raise StoodStill from None


def _answer(descriptor: int, task: str) -> dict[str, Any]:
    size = os.fstat(descriptor).st_size
    if size > ANSWER_LIMIT:
        raise PluginFailed(f"The answer of {task!r} is larger than {ANSWER_LIMIT >> 20} MiB.")
    try:
        answer = json.loads(os.pread(descriptor, size, 0))
        if "result" in answer:
            return dict(answer["result"])
        raise error_of(Failed(0, answer["error"], answer["message"], answer["details"]))
    except (ValueError, KeyError, TypeError):  # it left by os._exit(0) of its own, say
        raise PluginFailed("The model's process ended before its task did.") from None


def _last_words(log: Path, start: int) -> str:
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start if start <= size else 0, size - _TAIL))
            return file.read(_TAIL).decode("utf-8", "replace")
    except OSError:
        return ""
