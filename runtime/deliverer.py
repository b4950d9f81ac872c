"""The deliverer: hands the events of the journal to one subscriber, at least once, and keeps how far it is.

Events are handled so many at once, those of one key one after the other. The checkpoint moves only over what is handled
or set aside; what was handled behind it comes again after a crash, with the same ids.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from math import inf
from typing import Any, TypeVar

from actors import Address, Elsewhere, PoisonMessage, Subscriber
from persistence import JournalUnusable, Record
from persistence.views import NOTHING_ASIDE, Aside, SqlStatement, View
from runtime.batch import TooMany
from runtime.deliveries import WINDOW, Deliveries, Delivery
from runtime.follower import BATCH, CHECKPOINT_EVERY, Follower
from runtime.kinds import Kind
from runtime.log import log
from runtime.news import untold
from runtime.projection import Following, Poison, mark_of, to_meta
from runtime.reactions import Happening, Place, Reactions
from runtime.second_tries import SecondTries, text_of
from runtime.slow_turns import Timed
from runtime.subscriber_life import Life
from runtime.within import within

T = TypeVar("T")

IN_A_ROW = 100
"""So many events given up with none handled between: it is not the events."""
PARKED_FOR = 60.0
"""Seconds after which a subscriber that was parked because nothing worked tries again by itself."""


class Outage(Exception):
    """Nothing that the subscriber does works: it is not the events."""


class Deliverer(Follower):
    """One subscriber at work; run as one task, beside those of its handlers."""

    what = "subscriber"
    failed = "subscriber failed"
    hopeless = (*Follower.hopeless, Outage)

    def __init__(
        self, place: Place, kind: Kind, following: Following, view: View, stand: Callable[[], Awaitable[None]]
    ) -> None:
        """``stand`` makes sure that the checkpoint is one in this journal."""
        super().__init__(kind, kind.cls.retry, place.journal, view, place.delays, place.clock.now)
        self.tries = SecondTries(
            following, self._carry_out, place.journal, view, self.aside, place.clock.now, self.books, untold
        )
        self.on_commit: Callable[[], None] = lambda: None
        """Called when the checkpoint has moved."""
        self.suspects_up_to = 0
        """Up to here, an event may be what has ended the process: they are handled one by one, and counted."""
        self._suspects = WINDOW  # no more were under way
        self.note_try: Callable[[int], Awaitable[int]] | None = None
        """Has an event counted, durably; returns how often in a row it was before."""
        self._place = place
        self._following = following
        self._stand = stand
        self._reactions = Reactions(place, kind.name)
        self._address = Address[Any](kind.name)
        self._life: Life | None = None
        self._finishing = False
        self._in_a_row = 0

    # -- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow until cancelled; see :meth:`Follower.run`."""
        try:
            await super().run()
        finally:
            await self._end()

    async def _run(self) -> None:
        await self._end()
        await super()._run()

    async def _find_footing(self) -> None:
        await self._stand()

    async def _look_again(self) -> None:
        if not self.view.leading and self._life is not None:
            await self._end()  # another process may have begun where we were
            self._begun = False
        await super()._look_again()

    async def _begin(self) -> None:
        """Begin a new incarnation."""
        await self._end()
        author: Subscriber = self.kind.cls()
        author.attach(self._reactions)
        self._following.author = author
        at_once = self.kind.at_once if self.view.checkpoint >= self.suspects_up_to else 1
        deliveries = Deliveries(self.view.checkpoint, at_once, self.aside, self._now)
        life = self._life = Life(self._place, author, deliveries)
        try:
            await life.start()
            await self._probe(life)
        except BaseException:
            self._begun, self.aside.stale = False, True
            raise
        if self.aside.count * 2 > self.kind.cls.parked_limit:
            await life.run(lambda: self._retry_all(life))  # first, or there may be no room for what comes
        elif self.aside:
            life.spawn(self._retry_all(life))

    async def _probe(self, life: Life) -> None:
        """After an outage, try one event before others are."""
        first = self.aside.first(None) if self._in_a_row >= IN_A_ROW else None
        if first is not None and not await life.run(lambda: self.tries.take(first)):
            raise Outage(f"{self.aside.count} events are set aside, and the first of them fails still")
        self._in_a_row = 0

    async def _retry_all(self, life: Life) -> None:
        try:
            for key in self.aside:
                if not self.aside.of(key)[0].error.startswith(PoisonMessage.__name__):  # that is for a person to try
                    await self.tries.retry(key)
        except Exception as error:  # noqa: BLE001 (the database, the journal; what is set aside stays so)
            log.warning("what is set aside was not tried", **self.named, error=repr(error))
        if life is self._life:
            self._wake.set()

    async def _end(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            await life.end()

    def prepare_end(self) -> None:
        """Take up nothing more: the runtime closes."""
        self._finishing = True

    async def finish(self) -> None:
        """Let what is under way come to its end, keep how far that is, and end."""
        self._finishing = True
        life = self._life
        if life is not None and not self._closed:
            while life.tasks:
                await asyncio.wait(life.tasks)
            try:
                if self.error is None and self.view.leading:
                    await self._commit(life, at_least=1)
            except Exception as error:  # noqa: BLE001 (it comes again at the next start)
                log.warning("subscriber's checkpoint not kept", **self.named, error=repr(error))
        self.retire()

    def _park(self, error: BaseException) -> None:
        super()._park(error)
        if isinstance(error, Exception) and not isinstance(error, Follower.hopeless):
            self._timers.after(PARKED_FOR, lambda: self.unpark() if self.error is error else None)

    # -- following ----------------------------------------------------------------------------------------------

    @property
    def ahead(self) -> int:
        """Up to here events were taken up."""
        return self.position if self._life is None else self._life.deliveries.ahead

    def _room(self) -> int:
        life = self._life
        if life is None or self._finishing or life.last is not None:
            return 0
        return min(BATCH, life.deliveries.room)

    async def _between(self) -> None:
        life = self._life
        if life is None:
            return
        if life.fatal is not None:
            raise life.fatal
        await self._commit(life)
        if life.last is not None and life.deliveries.oldest is None:
            raise life.last

    async def _level(self) -> None:
        self._tell_ready()

    @property
    def under_way(self) -> int:
        """How many events are being handled."""
        return 0 if self._life is None else self._life.deliveries.under_way

    def lag(self) -> float:
        """Return the age of the oldest durable event that is not done, in seconds; 0.0: there is none."""
        oldest = self._life.deliveries.oldest if self._life is not None else None
        return super().lag() if oldest is None else max(0, self._now() - oldest.record.time) / 1e6

    async def _take(self, records: list[Record]) -> None:
        life = self._life
        if life is None:
            return
        try:
            for record in records:
                self._take_up(life, record)
        except Exception as error:  # noqa: BLE001 (raised when what was taken up before is done)
            life.last = error
        self._pump(life)
        self._wake.set()

    def _take_up(self, life: Life, record: Record) -> None:
        events = self._following.events(record)
        if not events:
            life.deliveries.passed(record)
            return
        broken: Exception | None = None
        try:
            key = self._following.key(record, events)
        except Poison as poison:
            key, broken = "/".join(record.stream), poison
        if life.deliveries.parks(key):
            self._make_room(life, 1, key)
        life.deliveries.add(record, events, key).broken = broken

    def _make_room(self, life: Life, count: int, key: str) -> None:
        """Make sure that so many more events may be set aside.

        Raises:
            TooMany: they may not.
        """
        there, limit = self.aside.count + life.deliveries.to_park, self.kind.cls.parked_limit
        if there + count > limit:
            raise TooMany(f"{there} events are set aside already, and of {key!r} there would be {count} more")

    # -- handling -----------------------------------------------------------------------------------------------

    def _pump(self, life: Life) -> None:
        """Let as many events begin as may."""
        while life is self._life and not self._finishing and (delivery := life.deliveries.start()) is not None:
            life.spawn(self._deliver(life, delivery))

    async def _deliver(self, life: Life, delivery: Delivery) -> None:
        error: Exception | None = delivery.broken
        if error is None:
            try:
                if life.deliveries.at_once < self.kind.at_once or delivery.record.position <= self.suspects_up_to:
                    await self._suspect(life, delivery)
                await self._handle(life.author, delivery.record, delivery.events)
            except Exception as raised:  # noqa: BLE001 (the author's code may raise anything)
                error = raised
            except asyncio.CancelledError as cancelled:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                error = RuntimeError("it was cancelled from inside")  # it has awaited what somebody has cancelled
                error.__cause__ = cancelled
        if life is not self._life:
            return
        if error is None:
            self._in_a_row = 0
            life.deliveries.done(delivery)
        else:
            self._not_handled(life, delivery, error)
        self._pump(life)
        self._wake.set()

    async def _suspect(self, life: Life, delivery: Delivery) -> None:
        """Have an event counted that may have ended the process; when all of them are through, go on as ever.

        Raises:
            PoisonMessage: it was about to be handled at too many crashes in a row.
        """
        position, note = delivery.record.position, self.note_try
        if position > self.suspects_up_to or not self._suspects or note is None:
            self.suspects_up_to = 0
            life.deliveries.at_once = self.kind.at_once
        elif delivery.attempts == 1:
            self._suspects -= 1
            await self._commit(life)  # what is handled doesn't come again, and isn't counted again
            crashes = await note(position)
            if crashes > self.retry.crashes:
                raise PoisonMessage(f"the process has ended {crashes} times in a row while it was handled")

    async def _handle(self, author: Subscriber, record: Record, events: Sequence[Any]) -> None:
        """Have the author's code handle a record's events."""
        await within(self.kind.cls.time_limit, self._timers, self.kind.name, self._react(author, record, events))

    async def _react(self, author: Subscriber, record: Record, events: Sequence[Any]) -> None:
        meta, slow = to_meta(record), self._place.slow
        for number, event in enumerate(events, 1):
            happening = Happening(meta, number, self.kind.name)
            self._reactions.begin(happening)
            try:
                work = author.handle(event, meta)
                await (Timed(work, slow, self._address, event) if slow.limit < inf else work)
                await self._reactions.arrived(happening)
            finally:
                self._reactions.end(happening)

    def _not_handled(self, life: Life, delivery: Delivery, error: Exception) -> None:
        """Try again after a pause, or set the event aside."""
        now, retry = self._timers.now(), self.retry
        self.kind.counts.failures += 1
        self.progress.failed(error)
        delivery.since = delivery.since if delivery.attempts > 1 else now
        final = delivery.broken is not None or isinstance(error, PoisonMessage) or retry.is_final(error)
        spent = (now - delivery.since) / 1e6 >= retry.budget.total_seconds()
        if not final and (not spent or self._place.writer.error is not None):  # an outage of the journal is nobody's
            pause = retry.backoff.pause(delivery.attempts, self.random)
            log.warning(
                "event not handled", **self.named, id=_id(delivery), retry_in=round(pause, 3), error=repr(error)
            )
            life.deliveries.pause(delivery)
            self._timers.after(pause, partial(self._again, life, delivery))
            return
        try:
            self._make_room(life, life.deliveries.behind(delivery), delivery.key)
        except TooMany as too_many:
            life.fatal = too_many
            return
        life.deliveries.give_up(delivery, text_of(error.__cause__ if delivery.broken is not None else error))
        self._in_a_row += 1
        if self._in_a_row >= IN_A_ROW:
            life.fatal = Outage(f"{self._in_a_row} events failed one after the other, the last one with {error!r}")

    def _again(self, life: Life, delivery: Delivery) -> None:
        if life is self._life:
            life.deliveries.again(delivery)
            self._pump(life)

    async def _carry_out(self, record: Record, events: Sequence[Any]) -> list[SqlStatement]:
        """Handle an event that was set aside."""
        life = self._life
        if life is None or not life.started:
            raise self.parked_error() if self.error is not None else self._closed_error()
        if self._finishing:
            raise JournalUnusable("the runtime closes")  # and the event stays as it is
        self._following.key(record, events)
        try:
            await self._handle(life.author, record, events)
        except Exception as error:
            raise Poison(record, error) from error
        self._in_a_row = 0
        return []

    # -- keeping ------------------------------------------------------------------------------------------------

    async def _commit(self, life: Life, at_least: int = CHECKPOINT_EVERY) -> None:
        """Move the checkpoint over what is handled, and keep what is set aside.

        So many events at the least that were only passed over are worth it.
        """
        async with self.books:
            position, record, settled = life.deliveries.reached()
            before = self.view.checkpoint
            if record is None or position <= min(self.position, before):
                return
            if settled or position - before >= at_least:
                rows = life.deliveries.rows(settled)
                try:
                    aside = Aside(rows) if rows else NOTHING_ASIDE
                    await self.view.apply([], position, mark=mark_of(record), aside=aside)
                except Exception:
                    if self.view.checkpoint == before:
                        raise
                    self.aside.stale = True  # it is committed all the same, or somebody else has moved it
                    if self.view.checkpoint != position:
                        self._begun = False
                        raise
                life.deliveries.forget(settled)
                self.aside.add(rows)
                for row in rows:
                    if row.error:
                        log.error("event set aside", **self.named, key=row.key, position=row.position, error=row.error)
                if any(not row.error and self.aside.first(row.key) == row for row in rows):
                    life.spawn(self._retry_all(life))  # what it has waited for is dealt with already
            self.progress.done(position - self.position, record.time)
            self.position = position
        self._log_watch.look(self.view.log_bytes)
        self.let_go()
        self.on_commit()

    # -- what is set aside --------------------------------------------------------------------------------------

    async def see_to(self, work: Callable[[], Awaitable[T]]) -> T:
        """See to what is set aside, beside what goes on.

        Raises:
            Elsewhere: another process is at work.
            Parked, RuntimeClosed: nothing can be done now.
            Exception: what ``work`` raises.
        """
        if self._closed:
            raise self._closed_error()
        if not self.view.leading:
            raise Elsewhere(f"{self.kind.name} is at work in another process; see to it there")
        life = self._life
        if life is None:
            raise self.parked_error() if self.error is not None else self._closed_error()
        return await life.run(work)


def _id(delivery: Delivery) -> str:
    return f"{'/'.join(delivery.record.stream)}@{delivery.record.version}"
