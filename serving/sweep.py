"""Ends what the front's children with a model's code have left behind: a program of its own.

    python -I -S serving/sweep.py DESCRIPTOR SERVER_ID FRONT_PID

Started by the front (`leftovers.py`) before its first such child; standard library only, and none
of our modules, so that it takes little time and memory. It waits at its socket: a line is the mark
of a child that has ended, of which nothing may be left; the end of it is the end of the front,
which may have been killed: then everything of that front goes. Once, when it begins, it looks for
what an earlier front of this home has left, whose own sweep was killed with it.

A process is ended only if it carries a mark, read while a pidfd holds its number: nobody else's can
be meant. The mark is in its first environment (`/proc/PID/environ`, which children inherit) and, as
plugins start programs with other environments, in two of its limits, which they inherit as well:
`seal` puts it there, in the child and so in Python 3.8 too.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator

NAME = "MODELYARD_CHILD"
"""The variable. Its value is SERVER.NAMESPACE.PID.START.NUMBER: the home's id, the PID namespace
and the front in it, and which of its children."""
_PREFIX = f"{NAME}=".encode()

# The mark in numbers: bits of the namespace (from the first one's on), the front's pid and start,
# the child, and the first of the home's id. 124 in all, the lower 62 bits of two limits that bind
# nobody as high as this: RLIMIT_LOCKS, without meaning since Linux 2.6, and RLIMIT_RTTIME, of the
# CPU time that a real-time thread may have at a stretch, in microseconds (getrlimit(2)).
_BITS = (28, 22, 36, 20, 18)
_FIRST_NAMESPACE = 0xEFFFFFF0
_HALF = 62
_LIMITS = ((10, "Max file locks"), (15, "Max realtime timeout"))
_LIMIT_S = 20.0  # what is there after so long hangs in the kernel
_PAUSE_S = 0.02
_QUIET = 3  # looks without a find: a child of the front may have been about to exec


def started(pid: int) -> int:
    """When a process started, in kernel clock ticks since boot (proc(5)); 0 if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib takes 5 ms to import
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def front_mark(server: str, pid: int) -> str:
    """What the marks of all children of the front with this pid begin with."""
    namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")  # noqa: PTH115
    return f"{server}.{namespace}.{pid}.{started(pid)}."


def _numbers(mark: str) -> list[int]:
    """Of a mark; empty of one that does not fit."""
    try:
        server, namespace, pid, start, number = mark.split(".")
        numbers = [int(namespace) - _FIRST_NAMESPACE, int(pid), int(start), int(number)]
        numbers.append(int(server[:5], 16) >> 2)
    except ValueError:
        return []
    fit = all(0 <= value < 1 << bits for value, bits in zip(numbers, _BITS))  # noqa: B905 - Python 3.8
    return numbers if fit else []


def seal(mark: str) -> None:
    """Puts the mark of this process into its limits: all that it starts inherits them. Where they
    are limits of an operator's already, there is the environment alone."""
    code = 0
    for value, bits in zip(_numbers(mark), _BITS):  # noqa: B905
        code = code << bits | value
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    if not code or any(resource.getrlimit(number) != unlimited for number, _ in _LIMITS):
        return
    halves = code >> _HALF, code & (1 << _HALF) - 1
    for (number, _), half in zip(_LIMITS, halves):  # noqa: B905
        resource.setrlimit(number, (half | 1 << _HALF,) * 2)


def _sealed(name: str, server: str) -> bytes:
    """The mark in a process's limits; empty if there is none of this home."""
    try:
        with open(f"/proc/{name}/limits", "rb") as file:  # noqa: PTH123
            lines = file.read().decode().splitlines()
    except OSError:
        return b""
    code = 0
    for _, title in _LIMITS:
        text = next((line for line in lines if line.startswith(title)), "")
        hard = text[len(title) :].split()[1:2]
        if not hard or not hard[0].isdigit() or int(hard[0]) >> _HALF != 1:
            return b""
        code = code << _HALF | int(hard[0]) & (1 << _HALF) - 1
    numbers: list[int] = []
    for bits in reversed(_BITS):
        numbers.insert(0, code & (1 << bits) - 1)
        code >>= bits
    namespace, pid, start, number, _ = numbers
    mark = f"{server}.{namespace + _FIRST_NAMESPACE}.{pid}.{start}.{number}"
    return mark.encode() if _numbers(mark) == numbers else b""


def end(ours: Callable[[bytes], bool], server: str, quiet: int = 1) -> int:
    """SIGKILL for every process with a mark that is `ours`, until none is found; how many."""
    ended: set[int] = set()
    until = time.monotonic() + _LIMIT_S
    while quiet and time.monotonic() < until:
        found = list(_held(ours, server))
        try:
            for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: none forks meanwhile
                for pid, handle, mark in found:
                    if _send(handle, number) and pid not in ended and number == signal.SIGKILL:
                        ended.add(pid)
                        _say(f"ended {pid}, left of {mark.decode(errors='replace')}")
        finally:
            for _, handle, _ in found:
                os.close(handle)
        quiet -= not found
        time.sleep(_PAUSE_S)
    return len(ended)


def _held(ours: Callable[[bytes], bool], server: str) -> Iterator[tuple[int, int, bytes]]:
    for name in os.listdir("/proc"):  # noqa: PTH208
        if not name.isdigit() or not ours(_mark(name, server)):
            continue
        try:
            handle = os.pidfd_open(int(name))  # novermin - in the server's interpreter only
        except OSError:
            continue
        # Read again: while the handle is open, its number is given to no other process.
        mark = _mark(name, server)
        if ours(mark):
            yield int(name), handle, mark
        else:
            os.close(handle)


def _mark(name: str, server: str) -> bytes:
    """That of a process; empty if it has none, has ended, or is another user's."""
    try:
        with open(f"/proc/{name}/environ", "rb") as file:  # noqa: PTH123
            entries = file.read().split(b"\0")
    except OSError:
        return b""
    found = next((e[len(_PREFIX) :] for e in entries if e.startswith(_PREFIX)), b"")
    return found or _sealed(name, server)


def _send(handle: int, number: int) -> bool:
    try:
        signal.pidfd_send_signal(handle, number)  # novermin
    except OSError:
        return False
    return True


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    sys.stderr.flush()


def _of_dead_front(mark: bytes, server: str, front: str) -> bool:
    parts = mark.decode(errors="replace").split(".")
    if len(parts) != 5 or parts[:2] != front.split(".")[:2] or parts[0] != server:
        return False
    return parts[2].isdigit() and parts[3] != str(started(int(parts[2])))


def serve(descriptor: int, server: str, front: str) -> None:
    """Until the end of the socket, and the sweep that follows it."""
    rest = b""
    while data := os.read(descriptor, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        if wanted := set(lines):
            end(lambda mark: mark in wanted, server)
    of_front = front.encode()
    end(lambda mark: mark.startswith(of_front), server, _QUIET)


def main() -> None:
    """The entry of the process. No argparse: it would take longer to import than all else."""
    descriptor, server, front_pid = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes us
    front = front_mark(server, front_pid)
    end(lambda mark: bool(mark) and _of_dead_front(mark, server, front), server)
    serve(descriptor, server, front)


if __name__ == "__main__":
    main()
