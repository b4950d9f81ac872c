"""Following the journal: what all have in common who take in its events one after the other and keep how far they are.

A follower is pushed what has become durable while it keeps up, and reads from the journal in pages while it doesn't.
It keeps its checkpoint in a database of its own (:class:`View`), with what it has set aside (``set_aside.py``): events
that it can't take, and the later ones of their keys.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import ClassVar, TypeVar

import anyio

from actors import Elsewhere, JournalMismatch, Parked, RetryPolicy, RuntimeClosed
from persistence import Journal, JournalDamaged, JournalUnusable, Record
from persistence.journal import PAGE
from persistence.views import View
from runtime.batch import TooMany
from runtime.footing import fit
from runtime.kinds import Kind
from runtime.log import log
from runtime.log_watch import LogWatch
from runtime.news import Changed, untold
from runtime.orders import Orders
from runtime.progress import Progress
from runtime.projection import Poison
from runtime.second_tries import SecondTries
from runtime.set_aside import SetAside
from runtime.timers import Timers
from runtime.waiting import Waiting

T = TypeVar("T")

LIVE_LIMIT = 4_000
"""Events that wait to be taken in memory; a follower that is further behind reads them from the journal."""
BATCH = 1_000
"""The most events that are taken at once."""
CHECKPOINT_EVERY = 1_000
"""Events that are passed over before a checkpoint is written for them alone."""

LOOK_BUSY, LOOK_IDLE = 0.02, 1.0
"""Seconds after which a process that doesn't lead looks how far the one that does has come; with and without somebody
who waits for it."""
AGAIN = 1.0
"""Seconds after which a journal that could not be read is read again."""


class Follower:
    """One who follows the journal; run as one task."""

    what: ClassVar[str] = "read model"
    """What users call it."""
    failed: ClassVar[str] = "projection failed"
    """What the log says of an attempt that failed."""
    hopeless: ClassVar[tuple[type[Exception], ...]] = (JournalDamaged, JournalMismatch, TooMany)
    """Errors at which it is parked at once."""
    tries: SecondTries

    def __init__(
        self,
        kind: Kind,
        retry: RetryPolicy,
        journal: Journal,
        view: View,
        timers: Timers,
        now: Callable[[], int],
        changed: Changed = untold,
    ) -> None:
        """``now`` tells the time, in microseconds since 1970; ``changed`` is told that it may have got on."""
        self.kind = kind
        self.retry = retry
        self.view = view
        self.position = 0
        """Everything up to here is done, or set aside."""
        self.error: BaseException | None = None
        """Why it is parked."""
        self.failures = 0
        """Attempts at the next events that have failed in a row."""
        self.aside = SetAside()
        self.orders = Orders(self.look)
        """What is to be done between two batches."""
        self.books = asyncio.Lock()
        """Held while something is kept in the database that may come between two batches."""
        self.waiting = Waiting()
        self.on_ready: Callable[[], None] | None = None
        """Called when it has caught up for the first time."""
        self.progress = Progress(timers.now, now)
        self.named = {self.what.replace(" ", "_"): kind.name}
        """How lines in the log name it."""
        self._footing = False
        self._journal = journal
        self._timers = timers
        self._now = now
        self._changed = changed
        self.random = Random()
        """For the jitter of its pauses."""
        self._since = 0
        self._begun = False
        self._log_watch = LogWatch(f"{self.what} {kind.name}")
        self._closed = False
        self._live: deque[Record] = deque()
        self._wake = asyncio.Event()
        self._scope: anyio.CancelScope | None = None

    # -- what a subclass does -----------------------------------------------------------------------------------

    @property
    def ahead(self) -> int:
        """Up to here events were taken, done or not."""
        return self.position

    def _room(self) -> int:
        """Return how many events may be taken now."""
        return BATCH

    async def _take(self, records: list[Record]) -> None:
        """Take the next events of the journal."""
        raise NotImplementedError

    async def _between(self) -> None:
        """Do what is to be done whenever it was woken."""

    async def _level(self) -> None:
        """Do what can wait until there is nothing to take."""

    async def _begin(self) -> None:
        """Do what is to be done before the first event is taken, after each start: today's code, say, may let more."""
        await self.tries.retry(None)

    async def _find_footing(self) -> None:
        """Make sure that the checkpoint is one in this journal."""
        await fit(self.kind.name, self.view, self._journal)

    async def _load(self) -> None:
        """Learn from the database what is set aside, and where it is."""
        async with self.books:  # or what is dealt with meanwhile would stay in the list
            await self.aside.load(self.view)
        self.position = self.view.checkpoint

    def _gives_up(self, error: Exception) -> bool:  # noqa: ARG002 (it is for subclasses)
        """Return whether it goes on though its budget is spent, for there is one event less to try."""
        return False

    def lag(self) -> float:
        """Return the age of the oldest durable event that it has not come to, in seconds; 0.0: there is none."""
        if self.position >= self._journal.position:
            return 0.0
        return self.progress.age(self._live[0].time if self._live else 0)

    # -- what comes in ------------------------------------------------------------------------------------------

    def offer(self, records: list[Record]) -> None:
        """Take events that have just become durable; too many are left to be read from the journal."""
        live = self._live
        # What comes behind events that were left out is left out too: what is live has no gap.
        no_gap = not live or (bool(records) and live[-1].position + 1 == records[0].position)
        if no_gap and len(live) + len(records) <= LIVE_LIMIT:
            live.extend(records)
        self._wake.set()

    def look(self) -> None:
        """Look at the journal again: it may hold events that nobody could offer."""
        self._wake.set()

    async def run(self) -> None:
        """Follow until cancelled; parked where it can't go on, until it is killed and tries again."""
        try:
            while not self._closed:
                with anyio.CancelScope() as self._scope:
                    await self._run()
                    while True:  # parked; what is set aside can be seen to all the same
                        self._wake.clear()
                        await self.orders.obey()
                        await self._wake.wait()
        finally:
            self._closed = True
            self.waiting.fail(self._closed_error())
            self.orders.close(self._closed_error())

    async def _run(self) -> None:
        self._renew()
        while True:
            reading = True
            try:
                records = await self._next()
                reading = False
                self.progress.took(records[0].time)
                await self._take(records)
                self.failures = 0
            except Exception as error:  # noqa: BLE001 (the author's code, the database, a damaged journal)
                if not self._goes_on(error, reading=reading):
                    self._park(error)
                    return
                self._go_back()
                await self._pause(error)

    def _renew(self) -> None:
        """Begin anew from the checkpoint."""
        self.error = None
        self.failures = 0
        self._begun = False
        self.aside.stale = True
        self._go_back()

    async def _pause(self, error: Exception) -> None:
        pause = self.retry.backoff.pause(self.failures, self.random)
        log.warning(self.failed, **self.named, retry_in=pause, error=repr(error))
        await self._timers.pause(pause)

    async def _look_again(self) -> None:
        """Learn from the database what is set aside, and where it is; wait while another process leads."""
        while not await self.view.lead():
            self._footing = False
            await self._look_on()
        if not self._footing:
            await self._find_footing()
            self._footing = True
        await self._load()
        self._changed(())  # something may be committed that nobody was told of
        try:
            if not self._begun:
                self._begun = True
                await self._begin()
        finally:
            self.let_go()

    def _tell_ready(self) -> None:
        told, self.on_ready = self.on_ready, None
        if told is not None:
            told()

    async def _look_on(self) -> None:
        """Follow what the process that leads has projected."""
        if self.view.ready:
            self._tell_ready()
        before = self.position, self.aside.count
        await self._load()
        if before != (self.position, self.aside.count):
            self._changed(())
        self.let_go()
        where = f"{self.kind.name} is projected by another process; see to it there"
        self.orders.refuse(Elsewhere(where))
        self._wake.clear()
        timer = self._timers.after(LOOK_BUSY if self.waiting else LOOK_IDLE, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def _go_back(self) -> None:
        """Be where the tables are. Where an error came behind the commit, the database has to say what is set aside."""
        self._live.clear()
        self.aside.stale = self.aside.stale or self.view.checkpoint > self.position
        self.position = min(self.position, self.view.checkpoint)

    def _goes_on(self, error: Exception, *, reading: bool) -> bool:
        """Decide what becomes of a failure: another try, one event that is given up, or (False) the end."""
        self.failures += 1
        self.kind.counts.failures += 1
        self._since = self._since if self.failures > 1 else self._timers.now()
        cause = error.__cause__ if isinstance(error, Poison) else error
        self.progress.failed(cause or error)
        if isinstance(cause, self.hopeless):
            return False
        # A disk that is full or away, or a journal that can't be read for now, is nobody's fault here.
        passes = self.view.passes(error) or (reading and isinstance(error, JournalUnusable))
        if passes or (self._timers.now() - self._since) / 1e6 < self.retry.budget.total_seconds():
            return True
        return self._gives_up(error)

    async def _next(self) -> list[Record]:
        while True:
            self._wake.clear()
            await self.orders.obey()
            while self.aside.stale or not self.view.leading:
                await self._look_again()
            await self._between()
            live, room = self._live, self._room()
            while live and live[0].position <= self.ahead:
                live.popleft()
            if not room:
                await self._wake.wait()
            elif live and live[0].position == self.ahead + 1:
                return [live.popleft() for _ in range(min(len(live), room))]
            elif self.ahead < self._journal.position:
                return await self._read(self.ahead, min(room, PAGE))
            else:
                await self._level()
                await self._wake.wait()

    async def _read(self, after: int, limit: int) -> list[Record]:
        """Read on in the journal. One that can't be read, on a server that is down, say, is no failure of ours."""
        told = False
        while True:
            try:
                return await self._journal.read_all(after, limit)
            except JournalUnusable as error:
                if not told:
                    what = "the journal can't be read, it is tried again and again"
                    log.warning(what, **self.named, error=str(error))
                told = True
                await self._timers.pause(AGAIN)

    async def see_to(self, work: Callable[[], Awaitable[T]]) -> T:
        """See to what is set aside, between two batches.

        Raises:
            Elsewhere: another process is at work.
            RuntimeClosed: it was closed before.
            Exception: what ``work`` raises.
        """
        return await self.orders.give(work)

    # -- waiting ------------------------------------------------------------------------------------------------

    def let_go(self) -> None:
        """Let those go who wait for what is there."""
        if not self.aside.stale and not self.view.partitioned:
            self.waiting.let_go(self.position)

    def _park(self, error: BaseException) -> None:
        self.error = error
        log.error(f"{self.what} parked", **self.named, position=self.position, error=repr(error))
        self.waiting.fail(self.parked_error())
        self._changed(())

    def parked_error(self) -> Parked:
        """Return the error for those who wait for what will not come."""
        parked = Parked(f"{self.kind.name} is parked behind position {self.position}: {self.error}")
        parked.__cause__ = self.error
        return parked

    def _closed_error(self) -> RuntimeClosed:
        return RuntimeClosed(f"the runtime was closed before {self.kind.name} got there")

    async def reached(self, position: int) -> None:
        """Wait until everything up to ``position`` is done, or set aside, and nothing behind where it is.

        Raises:
            Parked: it will not get there by itself.
            RuntimeClosed: it was closed before it got there.
        """
        there = not position or (self.position >= position and not self.aside.stale)
        if there and not self.view.partitioned:
            return
        if self._closed:
            raise self._closed_error()
        if self.error is not None:
            raise self.parked_error()
        if not self.view.leading:
            self._wake.set()  # who only looks on looks more often while somebody waits
        await self.waiting.wait(position)

    def unpark(self) -> None:
        """Try again from the checkpoint; does nothing where it is not parked."""
        if self.error is not None:
            self.kill()

    def retire(self) -> None:
        """End for good: another one has taken over."""
        self._closed = True
        if self._scope is not None:
            self._scope.cancel()

    def kill(self) -> None:
        """Crash: what is in memory is gone; go on from the checkpoint."""
        if self._scope is not None:
            # Who asks from here on waits for what the next attempt comes to.
            self.error, self.aside.stale, self._begun = None, True, False
            self._scope.cancel()
