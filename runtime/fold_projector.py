"""The projector of a fold: the state is in memory, ahead of the snapshot that is kept of it.

The snapshot, the checkpoint and what is set aside are committed together, so after a crash the state is folded on from
there to the same value. Between two snapshots nothing is written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from actors import Statement
from persistence import Record
from persistence.errors import StatementFailed
from persistence.views import NOTHING_ASIDE, Aside
from runtime.batch import Batch
from runtime.fold_projection import STATE, FoldProjection, NotKept, Snapshot, Unreadable
from runtime.lending import Lending
from runtime.log import log
from runtime.news import Changed, untold
from runtime.projection import mark_of
from runtime.projector import Projector
from runtime.timers import Timer

T = TypeVar("T")

EVERY = 1_000
"""Events between two snapshots at the most, where they come without a pause; more where the state is large."""
EVENT_WEIGHT = 100
"""Bytes of a snapshot that count as one event, so that what is written stays in proportion to what is read."""
MOMENT = 0.5
"""Seconds until what is folded is in a snapshot, where it is fewer events than that."""


class FoldProjector(Projector):
    """One fold at work; run as one task."""

    _projection: FoldProjection

    def __init__(self, *args: Any, changed: Changed = untold, **more: Any) -> None:
        """Take what :class:`Projector` takes."""
        super().__init__(*args, changed=self._after_second_try(changed), **more)
        self._changed = changed
        self.state: Any = self._projection.state
        """The state at :attr:`position`; the one in the projection may be ahead while a batch is under way."""
        self._last: Record | None = None
        """The record at the position, where that is ahead of the snapshot."""
        self._loaded = False
        self._tried: Snapshot | None = None
        self._every = EVERY
        self._timer: Timer | None = None
        self._due = False

    def _after_second_try(self, changed: Changed) -> Changed:
        """Return what is to be done when an event that was set aside is in the snapshot."""

        def done(records: Sequence[Record]) -> None:
            tried, self._tried = self._tried, None
            if tried is not None:
                self.state = self._projection.state = tried.state
            changed(records)

        return done

    async def run(self) -> None:
        """Follow until cancelled; see :meth:`Follower.run`."""
        try:
            await super().run()
        finally:
            if self._timer is not None:
                self._timer.cancel()

    # -- folding ------------------------------------------------------------------------------------------------

    async def _commit(self, batch: Batch, last: Record) -> bool:
        state = self._projection.state
        changed = state is not self.state
        try:
            await self._keep_what_is_due(batch, state, last)
        except BaseException:
            self.aside.stale = True  # the projection's state is ahead
            raise
        self._note(batch, changed=changed)
        self.state, self._last = state, last
        return changed

    async def _keep_what_is_due(self, batch: Batch, state: Any, last: Record) -> None:
        if batch.parked or batch.blanks:
            await self._keep(state, last, batch.set_aside, blanks=batch.blanks)
        elif last.position - self.view.checkpoint >= self._every:
            await self._keep_if_possible(state, last)
        elif self._timer is None:
            self._timer = self._timers.after(MOMENT, self._moment_over)

    def _moment_over(self) -> None:
        self._timer, self._due = None, True
        self.look()

    async def _between(self) -> None:
        if self._due:
            self._due = False
            await self._keep_live()

    def _is_blamed(self, error: Exception) -> bool:  # noqa: ARG002 (what fails in the database is no event's fault)
        return False

    def _go_back(self) -> None:
        """Stay where the state is; it is read anew where it can't be relied on."""
        self._live.clear()
        self.aside.stale = self.aside.stale or self.view.checkpoint > self.position

    # -- snapshots ----------------------------------------------------------------------------------------------

    async def _keep_live(self) -> None:
        """Keep a snapshot of the state as it is, if that can be done now."""
        if self._last is not None and self._last.position > self.view.checkpoint:
            await self._keep_if_possible(self.state, self._last)

    async def _keep_if_possible(self, state: Any, last: Record) -> None:
        """Keep a snapshot for its own sake: without it more is folded again after a crash, and that is all."""
        before = self.view.checkpoint
        try:
            await self._keep(state, last)
        except NotKept:
            self._every *= 2  # the log says why
        except Exception as error:
            if not self.view.passes(error) or self.view.checkpoint != before or not self.view.leading:
                raise
            self.aside.stale = False
            log.warning("snapshot not kept", **self.named, position=last.position, error=repr(error))
            if self._timer is None:
                self._timer = self._timers.after(MOMENT, self._moment_over)

    async def _keep(self, state: Any, last: Record, aside: Aside = NOTHING_ASIDE, *, blanks: bool = False) -> None:
        row = self._projection.row(state, last.position, self.view.first_value)
        try:
            await self.view.apply([row], last.position, mark=mark_of(last), blanks=blanks, aside=aside)
        except BaseException:
            self.aside.stale = True  # what is kept decides
            raise
        self._every = max(EVERY, len(str(row.values[0])) // EVENT_WEIGHT)
        self._log_watch.look(self.view.log_bytes)

    async def keep_ready(self) -> None:
        """Keep that it has caught up once, and up to where."""
        await self._keep_live()
        await super().keep_ready()

    async def close(self) -> None:
        """Keep a last snapshot and close the database."""
        try:
            if self._loaded and not self.aside.stale and self.view.leading:
                await self._keep_live()
        except Exception as error:  # noqa: BLE001 (more is folded again, and that is all)
            log.warning("snapshot not kept", **self.named, position=self.position, error=repr(error))
        finally:
            await super().close()

    async def _load(self) -> None:
        try:
            found = await self._snapshot()
        except (Unreadable, StatementFailed) as error:  # its table may have been dropped
            self.aside.stale = True
            if not self.view.leading:
                raise
            log.warning("snapshot ignored, all is folded anew", **self.named, error=str(error))
            await self.view.remake()
            await self.aside.load(self.view)
            found = self._projection.read(None)
        self.state, self.position = found
        self._projection.state, self._last, self._loaded = self.state, None, True

    async def _snapshot(self) -> Snapshot:
        """Return what is kept, and learn what is set aside at that position.

        Raises:
            Unreadable, StatementFailed: it can't be used.
        """
        while True:
            kept = await self.view.value(STATE)
            async with self.books:
                await self.aside.load(self.view)
            if kept == await self.view.value(STATE):
                break  # else another process has changed both meanwhile
            self.aside.stale = True
        found = self._projection.read(kept)
        if self.view.leading and found.position != self.view.checkpoint:
            raise Unreadable(f"it is of position {found.position}, not {self.view.checkpoint}")
        return found

    # -- what is set aside --------------------------------------------------------------------------------------

    async def see_to(self, work: Callable[[], Awaitable[T]]) -> T:
        """See to what is set aside, between two batches; see :meth:`Follower.see_to`."""

        async def from_a_known_state() -> T:
            if self.aside.stale:
                await self._load()
            return await work()

        return await super().see_to(from_a_known_state)

    async def _carry_out(self, record: Record, events: Sequence[Any]) -> list[Statement]:
        self._tried = None
        state = self._projection.evolved(self.state, record, events)
        if self._last is not None and self._last.position > self.view.checkpoint:
            await self._keep(self.state, self._last)  # the list changes beside the state of one position
        row = self._projection.row(state, self.view.checkpoint, self.view.first_value)
        self._tried = Snapshot(state, self.view.checkpoint)
        return [row]

    # -- what goes out ------------------------------------------------------------------------------------------

    async def _answer(self, query: Any, lending: Lending) -> Any:
        if lending is self.lending and self._loaded:
            state = self.state
        else:
            state = await self._kept(lending)
            if lending is self.lending and self._loaded:
                state = self.state
        answer = self._projection.fold.answer(state, query)
        await asyncio.sleep(0)  # else who asks in a loop leaves no turn to anybody
        return answer

    async def _kept(self, lending: Lending) -> Any:
        async with lending.reading():  # so that it is not closed meanwhile
            try:
                return self._projection.read(await lending.view.value(STATE)).state
            except Unreadable:
                return self._projection.read(None).state
