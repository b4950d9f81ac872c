"""What a subscriber sets off in other actors while it handles an event, so that it takes effect once."""

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from actors import ActorMisuse, Address, Command, Meta, Query, Refused, Request
from actors.request_context import Within, scope
from runtime import queries
from runtime.cells import Cell, World
from runtime.mailbox import Envelope
from runtime.origin import Origin, origin_of
from runtime.promises import Promise, Promises
from runtime.saga_mail import OnlyStart

A = TypeVar("A")
R = TypeVar("R")

MOST_TOLD = 10_000
"""How many commands one event may lead to that are told."""


class Place(World, Protocol):
    """What a subscriber needs of its node."""

    promises: Promises


class Happening:
    """One event that is being handled."""

    __slots__ = ("context", "correlation", "event_id", "name", "over", "sent", "told")

    def __init__(self, meta: Meta, number: int, name: str) -> None:
        """``number`` is which one it is of those that a stored event has become, ``name`` the subscriber's."""
        self.name = name
        self.event_id = meta.event_id if number == 1 else f"{meta.event_id}#{number}"
        self.correlation = meta.correlation
        self.context = dict(meta.context)
        self.sent = 0
        """How many requests it has led to."""
        self.told: list[tuple[Address[Any], Command[Any, Any], Promise]] = []
        self.over = False
        """Whether that has ended, so that tasks which were left behind no longer act in its name."""

    def next_id(self) -> str:
        """Return the id of the next request: the same, should the event come again, and no other subscriber's."""
        self.sent += 1
        return f"{self.event_id}>{self.name}>{self.sent}"


_now: ContextVar[Happening | None] = ContextVar("happening", default=None)
"""What the running task handles; tasks that the author's code starts inherit it."""


class Reactions:
    """What the author's object has of the runtime."""

    def __init__(self, place: Place, name: str) -> None:
        self._place = place
        self._name = name

    def begin(self, happening: Happening) -> None:
        """Have the running task handle an event, in the request context in which that has happened."""
        _now.set(happening)
        scope.set(Within(happening.context, None) if happening.context else None)

    def _here(self) -> Happening:
        now = _now.get()
        if now is None or now.over:
            raise ActorMisuse(f"{self._name} handles no event now, so it can't ask or tell, and there is no event_id")
        return now

    @property
    def event_id(self) -> str:
        """The id of the event that is being handled."""
        return self._here().event_id

    def ask(
        self,
        address: Address[A],
        request: Request[A, R],
        /,
        *,
        id: str | None = None,  # noqa: A002
        timeout: float | None = None,
        consistent: bool = False,
        after: int | None = None,
    ) -> Coroutine[Any, Any, R]:
        """Send a request; await the reply."""
        now = self._here()
        if isinstance(request, Query):
            return queries.ask(self._place, address, request, timeout=timeout, consistent=consistent, after=after)
        request_id = id if id is not None else now.next_id()
        return self._place.ask(address, request, request_id=request_id, origin=_origin(now), timeout=timeout)

    def tell(self, address: Address[A], message: Command[A, Any], id: str | None = None, /) -> None:  # noqa: A002
        """Send a command; the event is handled when it has arrived."""
        now, place = self._here(), self._place
        if len(now.told) >= MOST_TOLD:
            raise ActorMisuse(f"{now.event_id} has led to {MOST_TOLD:,} commands already; let one actor tell others")
        cell = place.taker(address, message)
        message_id = id if id is not None else now.next_id()
        promise = place.promises.make(address, message)
        now.told.append((address, message, promise))
        reply = OnlyStart(promise) if _starts(cell, message) else promise
        cell.put_from_inside(Envelope(message, message_id, reply, _origin(now)))

    async def arrived(self, happening: Happening) -> None:
        """Wait until all that was told has taken effect, durably.

        Raises:
            Exception: a command could not be handled; one that is refused is a dead letter.
        """
        for address, message, promise in happening.told:
            try:
                await promise.wait(0)
            except Refused as refusal:
                self._place.dead_letter(address, message, refusal)

    def end(self, happening: Happening) -> None:
        """Note that it has ended, with whatever outcome: nobody waits for what is still under way."""
        happening.over = True
        for _, _, promise in happening.told:
            promise.forget()
            promise.future.add_done_callback(_looked_at)
            if not promise.future.done():
                promise.future.cancel()
            promise.let_go()


def _origin(now: Happening) -> Origin | None:
    """Return in whose name a request is sent: the event's, in the request context that is current."""
    around = scope.get()
    return origin_of(now.correlation, None if around is None else around.texts)


def _looked_at(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()  # the event comes again, and with it the command


def _starts(cell: Cell, message: Command[Any, Any]) -> bool:
    """Whether a command starts a saga, whose end may be far away."""
    return cell.kind.is_saga and type(message) not in cell.kind.messages
