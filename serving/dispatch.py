"""Hands the calls of one version to its workers, in batches. Runs in the front.

A worker gets what has gathered when it has room, so that an idle one answers at once and a busy one
batches by itself (if the plugin has a batched form). While short batches run, the next one is on
its way already: a worker that has to wait for the front has nothing to do meanwhile.
"""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import Hashable
from pathlib import Path

from ..errors import Busy, DeadlineExceeded, ModelyardError, PluginFailed, WorkerDied
from ..schemas.transport import RequestData
from .call import Batch, Call, Slot
from .coming import Coming
from .exits import DEADLINE, Exit
from .messages import Answered, Message, Predict, Prediction
from .observer import BatchDone, Observer
from .options import ServedOptions
from .pace import Pace
from .process import Question
from .tracing import TRACER
from .waiting import Waiting

_SPARED_S = 1.0
"""A worker is not killed before it had so long: to load anew costs more."""
_ABANDONED_S = 5.0
"""At least so long may a call go on whose client has gone, or was in a hurry."""
_AHEAD_S = 0.05
"""A second batch is sent ahead of the end of one that takes less; else it waits for any worker."""
_UNKNOWN_WAIT_S = 1.0


class Dispatcher:
    """The calls that wait for `slots` (a list that its owner fills), and those that are in them."""

    def __init__(
        self, model: str, options: ServedOptions, slots: list[Slot], observer: Observer
    ) -> None:
        self.version: str | None = None
        self.used_at = 0.0
        self._model = model
        self._options = options
        self._slots = slots
        self._observer = observer
        self._pace = Pace(options.latency_target_s)
        self._waiting = Waiting()
        self._coming = 0
        self._soon = False
        self._wake: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    # -- what is there ------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        return not self._waiting and not any(slot.batches for slot in self._slots)

    @property
    def depth(self) -> tuple[int, int]:
        """Items that wait, and items that are in workers."""
        busy = sum(call.items for slot in self._slots for b in slot.batches for call in b.calls)
        return self._waiting.items, busy

    # -- at the door --------------------------------------------------------------------------

    def check_room(
        self, size: int, items: int = 1, timeout_s: float = math.inf, came: int = 0
    ) -> None:
        """Raises Busy if so many bytes and items more cannot wait here, or would wait for longer
        than `timeout_s`; the first always can.

        `came`: bytes that have come of the request that is asked for.
        """
        if not self._waiting and self._coming == came:
            return
        waiting, own = self._waiting, self._options
        items_there, size_there = waiting.items + items, waiting.size + self._coming + size
        few = items_there <= own.least_waiting and items_there <= own.max_waiting
        fits = size_there <= own.max_waiting_size
        if few and fits and items_there * self._pace.slowest_s < timeout_s:
            return
        workers = max(1, sum(slot.free for slot in self._slots))
        known_s = self._pace.work_s(waiting.work)
        wait_s = ((known_s or 0.0) + self._under_way_s()) / workers
        if items_there > own.max_waiting or (wait_s > own.queue_s and not few):
            told = f"{waiting.items} items wait for this model already"
        elif not fits:
            told = f"{waiting.size + self._coming} bytes wait for this model already"
        elif wait_s > timeout_s:
            told = f"This call would wait for about {wait_s:.1f} s, and has {timeout_s:g} s"
            wait_s -= timeout_s
        else:
            return
        self._observer.refused(self._model, "full")
        raise Busy(f"{told}.", _UNKNOWN_WAIT_S if known_s is None else wait_s)

    def _under_way_s(self) -> float:
        """What is left to do for the workers of what they have, in seconds of one worker, as far as
        that is known."""
        now, left_s = self._loop.time(), 0.0
        for slot in self._slots:
            for batch in slot.batches:
                worked_s = 0.0 if batch.began is None else now - batch.began
                left_s += max(0.0, self._pace.seconds(batch.shape, batch.items) - worked_s)
        return left_s

    def expect(self, size: int) -> Coming:
        """For a request whose head announces so many bytes. Raises Busy if they could not wait."""
        self.check_room(size)
        return Coming(self)

    def more_coming(self, own: int, more: int) -> None:
        """See `Coming`."""
        self.check_room(more, came=own)
        self._coming += more

    def over_coming(self, size: int) -> None:
        """See `Coming`."""
        self._coming -= size

    # -- calls --------------------------------------------------------------------------------

    def submit(
        self, request: RequestData, folder: Path | str, timeout_s: float, items: int = 1
    ) -> Call:
        """The call, on its way: its `future` gets the answer. Raises Busy."""
        payload = request.payload()
        self.check_room(len(payload), items, timeout_s)
        self.used_at = now = self._loop.time()
        future: asyncio.Future[Prediction] = self._loop.create_future()
        call = Call(request, payload, folder, future, timeout_s, now, self, items)
        call.timer = self._loop.call_later(timeout_s, self._expired, call)
        if (tracer := TRACER.get()) is not None:
            call.trace = tracer.call(self._model, items)
            call.future.add_done_callback(functools.partial(self._traced, call))
        self._waiting.add(call)
        self._dispatch_soon()
        return call

    def gone(self, call: Call) -> None:
        """Its client has: a call that waits gives up its place and its body."""
        if call.batch is not None:
            self._abandon(call, call.batch)
        elif self._drop(call) and call.timer is not None:
            call.timer.cancel()
            self._observer.refused(self._model, "gone")

    def _traced(self, call: Call, future: asyncio.Future[Prediction]) -> None:
        if call.trace is not None:
            call.trace.ended(self.version)

    def _dispatch_soon(self) -> None:
        """At the end of this turn of the loop: what came in the same turn goes together."""
        if not self._soon:
            self._soon = True
            self._loop.call_soon(self._now)

    def _now(self) -> None:
        self._soon = False
        self.dispatch()

    def dispatch(self) -> None:
        """Hands waiting calls to workers that have room."""
        if not self._waiting:
            return
        for slot in self._slots:
            if slot.free and not slot.batches and not self._send_next(slot):
                return
        for slot in self._slots:
            if not self._waiting:
                return
            if slot.free and len(slot.batches) == 1 and self._goes_ahead(slot.batches[0]):
                self._send_next(slot)

    def fail_waiting(self, error: ModelyardError) -> None:
        """All that wait are told this."""
        for call in self._waiting.clear():
            call.settle(error)

    def take_over(self, other: Dispatcher) -> None:
        """The calls that wait there wait here from now on."""
        self._waiting.put_back(*other._waiting.clear())
        self.dispatch()

    async def drain(self) -> None:
        """Returns when nothing waits or runs here any more."""
        while not self.idle:
            await asyncio.sleep(0.02)

    # -- batches ------------------------------------------------------------------------------

    def _goes_ahead(self, batch: Batch) -> bool:
        """True if what waits may go to the worker that has this batch."""
        # What follows a large batch is better not the first call that comes after it: batches would
        # be large and small in turn, and cost more for each call.
        if 2 * self._waiting.items < batch.items:
            return False
        # Of one that is not known nothing is sent ahead: it may take minutes, or kill its worker.
        return 0 < self._pace.seconds(batch.shape, batch.items) < _AHEAD_S

    def _send_next(self, slot: Slot) -> bool:
        """Sends a worker the next batch; False if there is none to send now."""
        process, oldest = slot.process, self._waiting.oldest
        if process is None or oldest is None:
            return False
        most_ever = process.max_batch

        def most(shape: Hashable) -> int:
            return self._pace.most(shape, most_ever)

        if self._still_gathers(oldest, most_ever):
            return False
        calls = self._waiting.gather(most)
        now = self._loop.time()
        batch = Batch(slot, calls, oldest.shape, sum(call.items for call in calls), now)
        if not slot.batches:
            batch.began = now
        slot.batches.append(batch)
        clock = time.perf_counter()  # the loop's own counts milliseconds, under uvloop
        waited = [clock - call.came for call in calls]
        last = calls[-1]
        times = (batch, waited)
        questions: list[Question] = []
        for call in calls:
            call.batch, call.batched = batch, len(calls) > 1
            message = Predict(
                request=call.request.to_data(),
                folder=str(call.folder),
                more=call is not last,
                trace="" if call.trace is None else call.trace.sent(batch.items),
                body=call.payload,
            )
            answered = functools.partial(self._answered, call, times)
            questions.append((message, answered))
        process.ask_all(questions)
        return True

    def _still_gathers(self, oldest: Call, most: int) -> bool:
        """True if the model waits for more (`max_wait_ms`), and may: comes back when it is time."""
        wait = self._options.max_wait_s
        if not wait or self._waiting.items >= self._pace.most(oldest.shape, most) or oldest.alone:
            return False
        due = oldest.arrived + wait
        if due <= self._loop.time():
            return False
        if self._wake is None or self._wake.when() > due or self._wake.cancelled():
            if self._wake is not None:
                self._wake.cancel()
            self._wake = self._loop.call_at(due, self._woken)
        return True

    def _woken(self) -> None:
        self._wake = None
        self.dispatch()

    def _answered(
        self, call: Call, times: tuple[Batch, list[float]], answer: Message | ModelyardError
    ) -> None:
        batch, waited = times
        slot, begun = batch.slot, batch.began is not None
        batch.calls.remove(call)
        call.batch = None
        died = isinstance(answer, WorkerDied)
        if not died:
            slot.failures = 0
        elif begun and slot.process is not None and slot.process.unread:
            begun = slot.batches[-1] is not batch  # it was killed while it was idle, say
        if died and not call.future.done() and (call.batched or not begun):
            # It may be that another call of its batch killed the worker: by itself it will tell.
            # What the worker had not begun with has killed nobody.
            call.alone = call.alone or begun
            self._waiting.put_back(call)
        else:
            self._settle(call, answer)
        if batch.calls:
            return
        slot.batches.remove(batch)
        if died:
            return
        now = self._loop.time()
        if isinstance(answer, Answered) and answer.worked_s > 0:
            self._pace.learn(batch.shape, batch.items, answer.worked_s)
            self._observer.batch_done(
                self._model,
                BatchDone(self.version, batch.items, waited, answer.worked_s, answer.forward_s),
            )
        if slot.batches:
            slot.batches[0].began = now
        self.dispatch()

    def _settle(self, call: Call, answer: Message | ModelyardError) -> None:
        if not call.future.done():
            error = answer if isinstance(answer, ModelyardError) else None
            seconds = time.perf_counter() - call.came
            self._observer.call_answered(self._model, self.version, error, seconds)
        if isinstance(answer, Answered):
            call.settle(
                Prediction(
                    answer.content_type,
                    answer.body,
                    answer.path,
                    answer.filename,
                    self.version,
                    answer.headers,
                    answer.made,
                )
            )
        elif isinstance(answer, ModelyardError):
            call.settle(answer)
        else:
            call.settle(PluginFailed(f"The model's process answered with {type(answer).__name__}."))

    # -- deadlines ----------------------------------------------------------------------------

    def _expired(self, call: Call) -> None:
        """The deadline: a call that waits is dropped; one that hangs takes its worker along.

        Its client is told in any case. But the time that it waited is not the worker's, which is
        killed only when it has worked for that long: else, whenever more calls come than it can
        answer, each would be killed just after it began.
        """
        batch = call.batch
        call.timer = None
        if not call.future.done():
            where = "in the queue" if batch is None else "in the model"
            call.future.set_exception(
                DeadlineExceeded(f"No answer within {call.timeout_s:g} s; the call was {where}.")
            )
            self._observer.refused(self._model, "deadline")
        if batch is None:
            self._drop(call)
            return
        now = self._loop.time()
        began = now if batch.began is None else batch.began
        over = began + max(self._spared_s(batch.slot), call.timeout_s) - now
        if over > 0:
            call.timer = self._loop.call_later(over, self._expired, call)
        elif batch.slot.process is not None:
            # Python code cannot be interrupted from outside; the process can.
            told = "was killed: a call in it passed its deadline, or its client had gone"
            batch.slot.process.kill(Exit(DEADLINE, told))

    def _spared_s(self, slot: Slot) -> float:
        """So long may any call go on, however short a deadline its client has named.

        A client that could have workers killed by deadlines shorter than their loading would keep
        the model from all others. The operator's own deadline is no client's.
        """
        return max(_SPARED_S, min(self._options.predict_timeout_s, max(_ABANDONED_S, slot.load_s)))

    @staticmethod
    def _drop(call: Call) -> bool:
        """Takes it out of the queue that it waits in, which may be another's by now."""
        return call.queue is not None and call.queue.remove(call)

    def _abandon(self, call: Call, batch: Batch) -> None:
        """Nobody wants this answer any more: it may not hold the worker for long.

        Ending it means a new worker. So it is given as long as that takes to load: then the calls
        that wait never wait more than twice as long as with the better choice.
        """
        if call.batched or call.timer is None:
            return
        now = self._loop.time()
        limit = max(_ABANDONED_S, batch.slot.load_s)
        if call.timer.when() <= now + limit:
            return
        call.timer.cancel()
        call.timeout_s = now - (batch.began or now) + limit
        call.timer = self._loop.call_later(limit, self._expired, call)
