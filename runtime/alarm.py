"""The alarm: rings for the streams that have a time to wake at, when it has come, in memory or not.

It keeps the soonest of them in memory and one timer, and reads on in the journal when it gets to the end of what it
knows. What becomes durable moves their times; so what it knows is never ahead of the journal.

A stream that was rung for has answered when another time is written for it. One that doesn't, for its actor is
parked, say, takes none of the others' room: it is given up after a moment, and looked for again in the journal later.
"""

import heapq
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from persistence import AT_ONCE, NEVER, Batch, Journal, Sleeper, Stream
from persistence.journal import PAGE
from runtime.log import log
from runtime.timers import Timer, Timers

KEPT = 1_000
"""How many streams that sleep stay in memory when it is cleared up; twice as many may be there before."""
RINGING = 1_000
"""How many streams may have been rung for without an answer before others are."""
PATIENCE = 1_000_000
"""After so many microseconds without an answer a stream no longer counts among them."""
AGAIN = 30_000_000
"""So many microseconds later the alarm rings again for those that gave no answer."""


class Alarm:
    """Wakes what is due. ``ring`` is called with a stream, and says whether there is anybody to wake."""

    def __init__(
        self,
        journal: Journal,
        timers: Timers,
        spawn: Callable[[Coroutine[Any, Any, None]], Any],
        ring: Callable[[Stream], bool],
    ) -> None:
        self._journal = journal
        self._timers = timers
        self._spawn = spawn
        self._ring = ring
        self._asleep: dict[Stream, int] = {}
        """Streams and when to wake them: all up to the horizon that have not been rung for, and some behind it."""
        self._heap: list[tuple[int, Stream]] = []
        """The same by time; an entry that ``_asleep`` doesn't confirm is out of date."""
        self._rung: dict[Stream, int] = {}
        """Streams that have not answered yet, and when they were rung for."""
        self._horizon = 0
        """The journal has been read up to this time."""
        self._behind: Sleeper | None = None
        """Where to read on."""
        self._again = NEVER
        """When to begin again at the journal's first sleeper, for those that gave no answer."""
        self._reading = False
        self._moved: set[Stream] = set()
        """Streams whose times have become others while a page was read: the page is too old for them."""
        self._epoch = 0
        self._timer: Timer | None = None
        self._closed = False

    async def open(self) -> None:
        """Begin with what the journal holds; what was known before is forgotten.

        Raises:
            JournalError: it can't be read.
        """
        self._epoch += 1
        self._asleep.clear()
        self._heap.clear()
        self._rung.clear()
        self._again = NEVER
        self._begin()
        await self._read()
        self._look()

    def close(self) -> None:
        """Ring no more."""
        self._closed = True
        self._epoch += 1
        if self._timer is not None:
            self._timer.cancel()

    def note(self, batches: Sequence[Batch]) -> None:
        """Take in the wake times of a group that has become durable."""
        noted = False
        for stream, wake in [(one.stream, one.wake) for batch in batches for one in batch if one.wake is not None]:
            noted = self._note(stream, wake) or noted
        if noted:
            self._look()

    def _note(self, stream: Stream, wake: int) -> bool:
        if self._reading:
            self._moved.add(stream)
        answered = self._rung.pop(stream, None) is not None
        if AT_ONCE < wake < NEVER:
            self._keep(stream, wake)
            return True
        return self._asleep.pop(stream, None) is not None or answered

    def _keep(self, stream: Stream, wake: int) -> None:
        self._asleep[stream] = wake
        heapq.heappush(self._heap, (wake, stream))
        if len(self._asleep) > 2 * KEPT:
            soonest = heapq.nsmallest(KEPT, ((wake, stream) for stream, wake in self._asleep.items()))
            self._asleep = {stream: wake for wake, stream in soonest}
            last = soonest[-1][0]
            if last <= self._horizon:  # those behind it are known no longer
                self._horizon, self._behind = last, Sleeper(last, 0, ("", ""))
            self._heap = soonest
        elif len(self._heap) > 2 * len(self._asleep) + 64:
            self._heap = [(wake, stream) for stream, wake in self._asleep.items()]
            heapq.heapify(self._heap)

    # -- ringing ------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Ring for what is due, see who gave no answer, read on where it is time to, and set the timer."""
        if self._closed:
            return
        now = self._timers.now()
        self._give_up(now)
        if self._again != NEVER and not now < self._again <= now + AGAIN:  # it is time, or the clock was set back
            self._again = NEVER
            self._begin()
        head = self._head()
        while head is not None and head[0] <= now and len(self._rung) < RINGING:
            heapq.heappop(self._heap)
            stream = head[1]
            del self._asleep[stream]
            if self._ring(stream):
                self._rung[stream] = now
            head = self._head()
        room = len(self._rung) < RINGING
        if room and not self._reading and self._horizon < NEVER and (head is None or head[0] > self._horizon):
            self._reading = True
            self._spawn(self._read_on(self._epoch))
        self._set_timer(head[0] if head is not None and room else NEVER)

    def _head(self) -> tuple[int, Stream] | None:
        heap = self._heap
        while heap and self._asleep.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def _give_up(self, now: int) -> None:
        while self._rung:
            stream, rung = next(iter(self._rung.items()))
            if rung <= now < rung + PATIENCE:
                return
            del self._rung[stream]
            if self._again == NEVER:
                self._again = now + AGAIN

    def _set_timer(self, due: int) -> None:
        if self._rung:
            due = min(due, next(iter(self._rung.values())) + PATIENCE)
        due = min(due, self._again)
        if self._timer is not None:
            if self._timer.fire is not None and self._timer.due == due:
                return
            self._timer.cancel()
        self._timer = None if due == NEVER else self._timers.at(due, self._look)

    # -- reading ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Read from the journal's first sleeper on; what is known meanwhile stays so."""
        self._epoch += 1
        self._reading = False
        self._horizon, self._behind = 0, None

    async def _read_on(self, epoch: int) -> None:
        if epoch != self._epoch:
            return
        try:
            await self._read()
        except Exception as error:  # noqa: BLE001 (whatever it is: it is tried again)
            log.error("the streams that sleep can't be read", error=repr(error))
            if epoch == self._epoch:
                self._horizon, self._again = NEVER, self._timers.now() + AGAIN
        if epoch == self._epoch:
            self._look()

    async def _read(self) -> None:
        epoch = self._epoch
        self._reading = True
        self._moved.clear()
        try:
            page = await self._journal.sleeping(self._behind, PAGE)
        finally:
            if epoch == self._epoch:
                self._reading = False
        if epoch != self._epoch:
            return
        full = len(page) == PAGE
        self._behind, self._horizon = (page[-1], page[-1].wake) if full else (None, NEVER)
        for sleeper in page:
            if sleeper.stream not in self._moved and sleeper.stream not in self._rung:
                self._keep(sleeper.stream, sleeper.wake)
