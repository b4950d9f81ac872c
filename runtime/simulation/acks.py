"""What clients were told: each reply must be durable when it is given (P1), and the same each time (P3).

Whatever is acknowledged goes through a promise: requests, transactions, starts, verbs, reminders, schedules. What led
to a reply is what is enqueued when the turn ends in which it was made.
"""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import msgspec

from actors import Address, OutcomeUnknown, Personal
from persistence import Batch
from persistence.writer import Writer
from runtime.promises import Promise, Promises
from runtime.simulation.handles import SimulatedFuture


class WatchedFuture(SimulatedFuture):
    """What a client waits on; when he is told, it is looked whether all that led to it is durable."""

    waits_for: list[Batch]
    """What led to the reply; none of it may be enqueued still when it is given."""
    look: Callable[["WatchedFuture"], None]

    def set_result(self, result: Any, /) -> None:
        """Tell the client."""
        self.look(self)
        super().set_result(result)

    def set_exception(self, exception: Any, /) -> None:
        """Tell the client of a refusal or a failure; or that nothing is known, which may be said at any time."""
        if not isinstance(exception, OutcomeUnknown):
            self.look(self)
        super().set_exception(exception)


class WatchedPromise(Promise, eq=False):
    """A promise that says when its reply is made."""

    made: Callable[[WatchedFuture], None] = lambda _: None

    def done(self, value: Any) -> None:
        """Give the reply, when it may leave."""
        self._made()
        super().done(value)

    def failed(self, error: Exception) -> None:
        """Give the error, when it may leave."""
        self._made()
        super().failed(error)

    def _made(self) -> None:
        if isinstance(self.future, WatchedFuture) and not self.future.done():  # else he was told before
            self.made(self.future)


class Acks:
    """The replies of one run, by whom and what was asked under which id."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        """What was wrong with them."""
        self._first: dict[tuple[str, str], bytes] = {}
        self._in_turn: list[WatchedFuture] | None = None
        """Replies that were made in the turn that is under way."""
        self.count = 0
        """How many were compared with an earlier one."""

    # -- durable ------------------------------------------------------------------------------------------------

    def promise(
        self, promises: Promises, future: asyncio.Future[Any], address: Address[Any], message: object
    ) -> Promise:
        """Return a promise that is watched."""
        writer = promises.writer

        def look(one: WatchedFuture) -> None:
            if _any(one.waits_for, writer):
                self.faults.append(
                    f"{address} answered {type(message).__name__} before what led to the reply was durable"
                )

        watched = WatchedFuture(loop=future.get_loop())
        watched.waits_for, watched.look = [], look

        def made(one: WatchedFuture) -> None:
            one.waits_for = list(writer.enqueued())
            if self._in_turn is not None:
                self._in_turn.append(one)

        return WatchedPromise(promises, watched, address, message, made=made)

    @contextmanager
    def turn(self, writer: Writer) -> Generator[None]:
        """Let a turn take place: also what it enqueues behind its replies has led to them."""
        self._in_turn = []
        try:
            yield
        finally:
            for one in self._in_turn:
                one.waits_for = list(writer.enqueued())
                if one.done() and not one.cancelled() and not isinstance(one.exception(), OutcomeUnknown):
                    one.look(one)
            self._in_turn = None

    # -- the same -----------------------------------------------------------------------------------------------

    def take(self, who: str, what: str, id_: str, reply: Any) -> None:
        """Take note of a reply that a client has just got to what has this id there."""
        data = _encoded(reply)
        first = self._first.setdefault((who, id_), data)
        if first is data:
            return
        self.count += 1
        if first != data:
            self.faults.append(
                f"{who} answered {what} with the id {id_!r} by {data.decode(errors='replace')}, "
                f"and at first by {first.decode(errors='replace')}"
            )


def _any(batches: list[Batch], writer: Writer) -> bool:
    there = set(map(id, writer.enqueued()))
    return any(id(batch) in there for batch in batches)


def _encoded(reply: Any) -> bytes:
    try:
        return msgspec.json.encode(reply, order="deterministic", enc_hook=_subject)
    except (TypeError, ValueError):
        return repr(reply).encode()


def _subject(value: Any) -> str:
    """Return what stands for a personal value, which may have been forgotten meanwhile."""
    if isinstance(value, Personal):
        return value.subject
    raise TypeError
