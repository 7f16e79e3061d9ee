"""Takes what a training reports and writes it in batches, from a thread of the run process.

A report in the training loop costs about a microsecond: it joins a queue. Every quarter of a second
the thread writes what came: metrics.jsonl, the TensorBoard event file and status.json. A disk that
is full delays this and loses nothing but the oldest of 200 000 points; the training goes on.
Python 3.8 syntax and library.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from datetime import datetime, timezone

from ..schemas.states import Phase
from .events import EventsWriter
from .failures import say
from .messages import RunProgress
from .metrics import MetricsWriter, Point
from .paths import RunPaths, write_json

INTERVAL_S = 0.25
_SILENT_S = 1.0
_MOST_WAITING = 200_000  # points


class Reporter:
    """Owns the thread and the files; `close` writes what is left.

    `queue` is public for speed: the training appends Points to it. Change `progress` and call
    `changed`; the phase is changed by `enter`. `training_at` (`time.monotonic()`, None: never) is
    when a plugin that has said nothing by then is taken to train.
    """

    def __init__(self, paths: RunPaths) -> None:
        self.queue: deque[Point] = deque(maxlen=_MOST_WAITING)
        self.progress = RunProgress()
        self.training_at: float | None = None
        self._paths = paths
        self._changed = False
        self._wake = threading.Event()
        self._closing = False
        self._lock = threading.Lock()
        self._phase_lock = threading.Lock()
        self._metrics: MetricsWriter | None = None
        self._events: EventsWriter | None = None
        self._complained = False
        self._resumed_after: int | None = None
        self._thread = threading.Thread(target=self._work, name="reporter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def expect_training(self) -> None:
        """Says that train() begins: a second later, with no word of it, the phase is training."""
        self.training_at = time.monotonic() + _SILENT_S

    def enter(self, phase: str) -> None:
        """Has status.json tell this phase, before it returns; none is guessed from then on."""
        with self._phase_lock:
            self.training_at = None
            self.progress.phase = phase
            self.changed(now=True)

    def resume_after(self, step: int) -> None:
        """Voids what earlier attempts reported after `step`. Raises OSError."""
        with self._lock:
            if self._metrics is None:
                self._metrics = MetricsWriter(self._paths.metrics)
            self._metrics.resume_after(step)
            self._resumed_after = step

    def changed(self, now: bool = False) -> None:
        """Has status.json written: with the next batch, or before this returns."""
        self._changed = True
        if now:
            self._write_progress()

    def flush(self) -> None:
        """Writes all that was reported so far. Raises nothing: a full disk is told on stderr."""
        with self._lock:
            try:
                self._write_points()
            except OSError as error:
                self._complain(error)
        self._write_progress()

    def close(self) -> None:
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self.flush()

    def _work(self) -> None:
        while not self._closing:
            self._wake.wait(INTERVAL_S)
            self._guess_phase()
            if self.queue or self._changed:
                self.flush()

    def _guess_phase(self) -> None:
        at = self.training_at
        if at is None or time.monotonic() < at:
            return
        # Without waiting, for `close` waits for this thread: whoever holds the lock names a phase.
        if not self._phase_lock.acquire(blocking=False):
            return
        try:
            if self.training_at is not None:  # nothing was said in this moment
                self.training_at = None
                self.progress.phase = Phase.TRAINING.value
                self.changed(now=True)
        finally:
            self._phase_lock.release()

    def _write_points(self) -> None:
        points = self._taken()
        if not points:
            return
        if self._metrics is None:
            self._metrics = MetricsWriter(self._paths.metrics)
        try:
            self._metrics.write(points)
        except OSError:
            self.queue.extendleft(reversed(points))  # in their old order, to be tried again
            raise
        self.progress.step = points[-1].step
        self._changed = True
        self._write_events(points)

    def _taken(self) -> list[Point]:
        points = []
        for _ in range(len(self.queue)):
            try:
                points.append(self.queue.popleft())
            except IndexError:  # maxlen pushed it out meanwhile
                break
        return points

    def _write_events(self, points: list[Point]) -> None:
        if self._events is None:
            self._events = EventsWriter(self._paths.events, self._resumed_after)
        self._events.write(points)

    def _write_progress(self) -> None:
        if not self._changed:
            return
        self._changed = False
        now = datetime.now(timezone.utc)  # noqa: UP017 - Python 3.8
        self.progress.updated_at = now.isoformat()
        try:
            write_json(self._paths.status, self.progress.to_data(), durable=False)
        except OSError as error:
            self._changed = True
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            at = time.strftime("%H:%M:%S")
            say(f"{at} metrics and progress cannot be written: {error}")
