"""Keeps one run: starts its process, ends its whole process tree, and says how it ended. By hand:

    python -m modelyard.training.supervisor RUN_FOLDER [--epoch N] [--python INTERPRETER]
        [--environment <ENVIRONMENT.json]

One small process a run, single-threaded, in a session of its own; it outlives the server. All
descendants of the run are its own: it is their subreaper, so daemonised ones come back to it. Its
own parent is the run's guardian, which ends them if it is killed (`guardian.py`). It acts only for
its epoch: the server raises the number in the run folder before it launches another, and an older
supervisor that sees that ends its run and says nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from ..clearing import remove_tree
from ..schemas.states import Reason
from . import process
from .allowance import Allowance
from .child import SIGNALS, become_run_process
from .claim import Claim, Refused
from .ending import Death, judge, scrub_unless_resumed
from .failures import say
from .guardian import end_descendants, guarded
from .identity import Identity, descendants, send
from .kernel import adopt_orphans, lower_session, oom_kills, set_name, stay_on
from .log_limit import bound_log
from .marker import marks
from .messages import Control, RunOrder
from .paths import RunPaths, read_json, write_json
from .watch import Watch

TICK_S = 1.0  # heartbeat, and how late a request without its signal may be noticed
CANCEL_GRACE_S, TERM_S = 1.5, 1.5
LINGER_S = 10.0  # what a run process may take to exit after it has written its result
FINISH_PAUSES_S = (1.0, 4.0)  # before each further attempt of the finish step
EXIT_REFUSED = 3


class Supervisor:
    """The life of one attempt. `run` returns the exit code of the supervisor process."""

    def __init__(
        self, paths: RunPaths, epoch: int, order: RunOrder, python: str | None = None
    ) -> None:
        self._paths = paths
        self._grace_s = order.grace_s
        self._allowance = Allowance(paths, order.max_seconds)
        self._epoch = epoch
        self._python = python
        self._claim = Claim(paths, epoch)
        self._child = 0  # pid of the run process while it lives
        self._death: Death | None = None
        self._control: Control | None = None
        self._asked_at = 0.0  # monotonic time of the request to stop
        self._term_sent = False
        self._result_seen_at: float | None = None
        self._oom_before = self._oom_now = oom_kills()
        self._watch = Watch(order.memory_limit)
        self._ended_for: Death | None = None

    def run(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._begin()
        except Refused as refusal:
            say(f"supervisor of epoch {self._epoch}: {refusal}")
            return EXIT_REFUSED
        started = time.monotonic()
        try:
            self._supervise()
        except Refused as refusal:
            end_descendants(self._reap)
            say(f"supervisor of epoch {self._epoch}: {refusal}")
            return EXIT_REFUSED
        except Exception as error:
            say()
            self._death = Death(note=f"The run could not be started or kept: {error}")
        end_descendants(self._reap)
        self._allowance.keep(now=True)
        self._say_how_it_ended(time.monotonic() - started)
        return 0

    def _begin(self) -> None:
        self._claim.take()
        for stale in (self._paths.exit, self._paths.result):
            stale.unlink(missing_ok=True)
        self._ask_to_stop(False)
        self._paths.heartbeat.touch()

    # -- the loop -----------------------------------------------------------------------------

    def _supervise(self) -> None:
        self._read_control()
        self._watch_allowance()
        if self._control is not None:
            return  # asked to end before it began
        self._start()
        pauses = list(FINISH_PAUSES_S)
        while True:
            self._await_child()
            if not (pauses and self._finish_may_be_retried()):
                return
            self._wait(pauses.pop(0))
            if self._control is not None:
                return
            self._start()

    def _await_child(self) -> None:
        beat_at = 0.0
        while self._child:
            self._wait_for_signal(self._until_next_step())
            self._reap()
            self._read_control()
            self._watch_allowance()
            if self._control is not None and self._child:
                self._press()
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + TICK_S
                self._beat()

    def _wait(self, seconds: float) -> None:
        """Waits before another attempt, as attentive as ever."""
        end = time.monotonic() + seconds
        while self._control is None and time.monotonic() < end:
            self._wait_for_signal(0.2)
            self._read_control()
            self._beat()

    def _wait_for_signal(self, seconds: float) -> None:
        got = signal.sigtimedwait(SIGNALS, max(0.0, seconds))
        if got is None or self._control is not None:
            return
        if got.si_signo in (signal.SIGTERM, signal.SIGINT):  # the machine goes down, or Ctrl-C
            self._begin_to_stop(Control(self._epoch, "stop", grace_s=2.0, reason="interrupted"))

    def _beat(self) -> None:
        with suppress(OSError):
            os.utime(self._paths.heartbeat)
            bound_log(self._paths.log)
            bound_log(self._paths.supervisor_log)
        self._claim.check_epoch()
        self._oom_before, self._oom_now = self._oom_now, oom_kills()
        if self._child and self._control is None and self._ended_for is None:
            self._ended_for = self._watch.look(self._child)
            if self._ended_for is not None:
                end_descendants(self._reap)
        if self._child and self._paths.result.is_file():
            self._result_seen_at = self._result_seen_at or time.monotonic()
            if time.monotonic() > self._result_seen_at + LINGER_S:
                # Threads or children keep it from exiting; it has said its result.
                self._ended_for = self._ended_for or Death(lingered=True)
                end_descendants(self._reap)

    # -- being asked to end ---------------------------------------------------------------------

    def _read_control(self) -> None:
        """Takes up a request; cancel also replaces a milder one that is under way."""
        try:
            data = read_json(self._paths.control)
        except ValueError:
            return
        if data is None or data.get("epoch") != self._epoch:
            return
        if self._control is None or (data["action"] == "cancel" != self._control.action):
            self._begin_to_stop(Control.from_data(data))

    def _watch_allowance(self) -> None:
        self._allowance.keep()
        if self._control is None and self._allowance.left_s <= 0:
            stop = Control(self._epoch, "stop", reason=Reason.TIME_LIMIT.value)
            self._begin_to_stop(stop)

    def _begin_to_stop(self, control: Control) -> None:
        if control.grace_s is None:
            control.grace_s = CANCEL_GRACE_S if control.action == "cancel" else self._grace_s
        self._control = control
        self._asked_at = time.monotonic()
        with suppress(OSError):
            self._ask_to_stop(True)

    def _ask_to_stop(self, value: bool) -> None:
        # Never truncated: the run process has it mapped, and would die of SIGBUS.
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._paths.stop, flags, 0o644)
        try:
            os.pwrite(descriptor, bytes([value]), 0)
        finally:
            os.close(descriptor)

    def _press(self) -> None:
        """Asked, then SIGTERM, then SIGKILL for the whole tree."""
        assert self._control is not None and self._control.grace_s is not None
        waited = time.monotonic() - self._asked_at
        if waited >= self._control.grace_s + TERM_S:
            end_descendants(self._reap)
        elif waited >= self._control.grace_s and not self._term_sent:
            self._term_sent = True
            for stat in descendants(os.getpid()):
                send(stat, signal.SIGTERM)
                send(stat, signal.SIGCONT)  # a stopped process takes SIGTERM only when it goes on

    def _until_next_step(self) -> float:
        if self._control is None or self._control.grace_s is None:
            return min(TICK_S, self._allowance.left_s + 0.001)
        next_at = self._asked_at + self._control.grace_s + (TERM_S if self._term_sent else 0.0)
        return min(TICK_S, next_at - time.monotonic() + 0.001)

    # -- processes ------------------------------------------------------------------------------

    def _start(self) -> None:
        self._result_seen_at = None
        remove_tree(self._paths.tmp)
        self._paths.tmp.mkdir(mode=0o700, exist_ok=True)
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            become_run_process(self._paths, parent, self._claim, self._python)
        self._child = child
        self._death = None
        with suppress(ProcessLookupError):
            identity = Identity.of(child, self._epoch)
            write_json(self._paths.process, identity.to_data(), durable=False)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._child:
                self._child = 0
                self._death = self._death_of(status)

    def _death_of(self, status: int) -> Death:
        if self._ended_for is not None:
            return self._ended_for
        if os.WIFSIGNALED(status):
            return Death(signal=os.WTERMSIG(status), oom=oom_kills() > self._oom_before)
        code = os.WEXITSTATUS(status)
        if code == process.EXIT_TERMINATED:  # it cleaned up after a SIGTERM that others sent
            return Death(signal=signal.SIGTERM)
        return Death(exit_code=code)

    def _finish_may_be_retried(self) -> bool:
        """Trained, but the finish step failed, or died: that step alone is made again."""
        if self._control is not None or not self._paths.trained.exists():
            return False
        failed = self._death is not None and self._death.exit_code == process.EXIT_FINISH_FAILED
        return failed or not self._paths.result.exists()

    def _say_how_it_ended(self, duration_s: float) -> None:
        """Writes exit.json, last of all. On a full disk it waits for room, still beating."""
        death = self._death or Death(note="The run was ended before its process started.")
        record = judge(self._paths, self._epoch, death, self._control, duration_s)
        while True:
            try:
                self._claim.check_epoch()
                remove_tree(self._paths.tmp)
                scrub_unless_resumed(self._paths, record)
                write_json(self._paths.exit, record.to_data())
                return
            except Refused:
                return
            except OSError:
                say()
                if not self._paths.root.exists():
                    return  # the training has removed it: there is no place to tell anything
                with suppress(OSError):
                    os.utime(self._paths.heartbeat)
                time.sleep(TICK_S)


def supervise(run_folder: Path, epoch: int, python: str | None = None) -> int:
    """The life of a run's guardian and, below it, its supervisor; the latter's exit code.

    The process has its environment and log already.
    """
    paths = RunPaths(run_folder)
    order = RunOrder.from_data(read_json(paths.run) or {})
    if order.cpus is not None:  # of the guardian too
        stay_on(order.cpus)
    return guarded(lambda: _supervise(paths, epoch, order, python))


def _supervise(paths: RunPaths, epoch: int, order: RunOrder, python: str | None) -> int:
    adopt_orphans()
    set_name("modelyard-sup")
    lower_session(order.nice)
    return Supervisor(paths, epoch, order, python).run()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m modelyard.training.supervisor")
    parser.add_argument("run_folder", type=Path)
    parser.add_argument("--epoch", type=int, help="default: the one in force")
    parser.add_argument("--python", help="interpreter of the run process; default: this one")
    parser.add_argument(
        "--environment", action="store_true", help="of the run process: a JSON object on the input"
    )
    options = parser.parse_args(arguments)
    folder: Path = options.run_folder.resolve()
    own = marks(folder)
    if not own.items() <= os.environ.items():  # must be in the environment as exec'ed: see marker
        environment = {**os.environ, **own}
        command = [sys.executable, "-P", "-m", __spec__.name, *arguments]
        os.execve(sys.executable, command, environment)
    if options.environment:
        environment = json.loads(sys.stdin.buffer.read())
        os.environ.clear()
        os.environ.update(environment)
    with suppress(OSError):
        os.setsid()
    epoch = options.epoch
    if epoch is None:
        epoch = int(RunPaths(folder).epoch.read_text())
    return supervise(folder, epoch, options.python)


if __name__ == "__mp_main__":  # in a process that an old module spawned
    from ..models_plugin.deepaas.preparing import ready_spawned_child

    ready_spawned_child()
elif __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
