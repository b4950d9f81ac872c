"""Subscription queries: the answer now, and again whenever it changes.

Who watches is told that there may be something new (``news.py``), and asks again. So what stands between two answers
that he has the time to look at is passed over, and nothing waits for him.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Any, Generic, TypeVar

import msgspec

from actors import Actor, Address, MailboxFull, NotTaken, OutcomeUnknown, Query, RuntimeClosed
from actors.request_context import texts_here, within
from persistence import JournalUnusable
from runtime import queries
from runtime.answering import head
from runtime.doors import Doors
from runtime.inspection import Inspection
from runtime.news import ANY
from runtime.node import Node
from runtime.projector import Projector
from runtime.timers import Timer

A = TypeVar("A")
R = TypeVar("R")

AGAIN = 1.0
"""Seconds after which it is asked again, where what stood in the way tells nobody that it has passed."""

NONE = object()
"""No answer has been given yet."""

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class SubscriptionQueries(Inspection):
    """The part of a runtime that tells of answers that change."""

    def watch(
        self, address: Address[A], query: Query[A, R], /, *, consistent: bool = False, after: int | None = None
    ) -> AsyncGenerator[R]:
        """Yield the answer to a query now, and again whenever it has changed, until the runtime is closed.

        Of a read model, when rows have changed that the query may be about (``ReadModel.about``); of a service or a
        saga, when something in its stream has become durable. Answers never go back to an earlier state, each differs
        from the one before, and who is slow sees the latest. With ``consistent=True`` or ``after`` a read model's first
        answer sees as much as that of :meth:`Runtime.ask` would.

        Interceptors stand around each answer, and it is asked in the request context in which this is called.

        It goes on when the actor crashes, the read model is built anew or the journal is away for a while. Leave it by
        ``contextlib.aclosing``, or by cancelling; a ``break`` alone leaves the rest to the garbage collector.

        Raises:
            NotTaken, UnknownActor: at once; nobody here answers this, or it is a plain actor, which keeps no events.
            RuntimeClosed: the runtime is closed meanwhile, or another process takes its place.
            Parked: the actor is set aside, or the read model, and nothing more will come.
            Refused, Failed, Exception: whatever :meth:`Runtime.ask` raises, because ``answer`` does.
        """
        node = self._open_node()
        kind = node.directory.own_kind(address)
        if address.actor not in node.projectors:
            if issubclass(kind.cls, Actor):
                raise NotTaken(f"{address} is a plain actor, whose answers change unseen; ask it when you want to know")
            node.directory.check_answers(address, query)
        doors = self._doors if self._doors is not None and self._doors.stand else None
        return _Watch(node, doors, address, query).answers(consistent=consistent, after=after)


class _Watch(Generic[A, R]):
    """One who watches."""

    def __init__(self, node: Node, doors: Doors | None, address: Address[A], query: Query[A, R]) -> None:
        """``doors``: interceptors stand there, who may put another query in its place."""
        self._node = node
        self._doors = doors
        self._address = address
        self._query = query
        self._texts = texts_here()
        self._news = asyncio.Event()
        self._following = ExitStack()
        self._key: str | None = None
        """Of whose news it is told."""
        self._last: Any = NONE
        """What tells the last answer from another one."""

    async def answers(self, *, consistent: bool, after: int | None) -> AsyncGenerator[R]:
        """Yield the answers, as they change."""
        node, news = self._node, self._news
        if consistent and self._projector is not None:
            after = max(await head(node.journal), after or 0)
        with self._following:
            self._follow(self._query)
            while True:
                news.clear()
                self._check_open()
                timer: Timer | None = None
                try:
                    answer = await self._ask(after)
                except Exception as error:
                    self._check_open(error)
                    if not self._passes(error):
                        raise
                    timer = node.delays.after(AGAIN, news.set)
                else:
                    if self._is_new(answer):
                        yield answer
                    self._check_parked()
                try:
                    await news.wait()
                finally:
                    if timer is not None:
                        timer.cancel()

    async def _ask(self, after: int | None) -> Any:
        with within(self._texts):
            if self._doors is None:
                return await queries.ask(self._node, self._address, self._query, after=after)
            return await self._doors.watch(self._address, self._query, after, self._follow)

    @property
    def _projector(self) -> Projector | None:
        """The read model's: another one, when it has been built anew."""
        return self._node.projectors.get(self._address.actor)

    def _follow(self, query: Query[Any, Any]) -> None:
        """Be told of what the answer to this query may change with."""
        projector = self._projector
        key = self._address.key if projector is None else projector.model.about(query) or ANY
        if key != self._key:
            self._following.close()
            self._following.enter_context(self._node.news.of((self._address.actor, key), self._news))
            self._key = key

    def _is_new(self, answer: R) -> bool:
        """Whether an answer differs from the last one, which its reader may have changed since."""
        before = self._last
        try:
            self._last = _encode(answer)
        except (TypeError, ValueError, OverflowError):
            self._last = answer  # what can't be encoded is compared as it is
        return before is NONE or bool(before != self._last)

    def _passes(self, error: Exception) -> bool:
        """Whether it is not the query that went wrong, and another try may do."""
        if isinstance(error, OutcomeUnknown):  # the journal was lost, and is read again
            return not self._node.writer.ended
        if isinstance(error, MailboxFull):
            return True
        projector = self._projector
        away = projector is not None and (isinstance(error, JournalUnusable) or projector.view.passes(error))
        return away and self._last is not NONE

    def _check_open(self, error: Exception | None = None) -> None:
        node, taken = self._node, self._node.trouble.taken
        if node.news.closed or taken.done():
            why = f"{taken.result()}" if taken.done() and not taken.cancelled() else "the runtime was closed"
            raise RuntimeClosed(f"{self._address} can't be watched any more: {why}") from error

    def _check_parked(self) -> None:
        projector = self._projector
        if projector is not None and projector.error is not None:
            raise projector.parked_error()
