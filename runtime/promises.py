"""Promises: what a caller outside of the turns waits on. Kept only when all that led to the reply is durable."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from actors import Address, OutcomeUnknown, Query, RuntimeClosed, WrongLoop
from persistence.writer import Writer
from runtime.own_loop import ELSEWHERE, runs
from runtime.timers import Timers


class Promises:
    """All promises that callers outside are waiting on."""

    def __init__(self, writer: Writer, timers: Timers) -> None:
        self.writer = writer
        self.timers = timers
        self.loop = asyncio.get_running_loop()
        self.open: dict[Promise, None] = {}
        """Those that somebody waits on, in the order in which they were made."""
        self._closed = False
        self.new: Callable[[Promises, asyncio.Future[Any], Address[Any], object], Promise] = Promise
        """Makes one; a simulation makes its own."""
        self.nothing: asyncio.Future[Any] = self.loop.create_future()
        """In place of the futures of those who have been told of an error."""
        self.nothing.cancel()

    def make(self, address: Address[Any], message: object) -> "Promise":
        """Return a new promise of the reply to this message.

        Raises:
            RuntimeClosed: nobody would keep it; a task that an actor has left behind may ask that late.
        """
        if self._closed:
            raise RuntimeClosed(f"{address} can't be asked any more: the runtime was closed")
        promise = self.new(self, self.loop.create_future(), address, message)
        self.open[promise] = None
        return promise

    def close(self) -> None:
        """Make no more promises, and tell every caller still waiting that the outcome is unknown."""
        self._closed = True
        self.lose_all("the runtime was closed")

    def lose_all(self, why: str) -> None:
        """Tell every caller still waiting that the outcome is unknown."""
        for promise in list(self.open):
            promise.lose(why)


class Promise(msgspec.Struct, eq=False):
    """The reply to one request of a caller outside: P1 and P10 are kept here.

    Also a refusal or a failure waits for durability: it may rest on events that are not on disk yet.
    """

    _promises: Promises
    future: asyncio.Future[Any]
    """What the caller waits on; to be followed by :meth:`forget`."""
    _address: Address[Any]
    _message: object
    _value: Any = None
    _error: Exception | None = None
    hops: int = 0
    """How often the request was passed on between nodes."""
    uncertain: bool = False
    """Whether a refusal does not say what became of other copies that were passed on."""

    @property
    def gone(self) -> bool:
        """Whether the caller has its reply, has given up, or was told that the outcome is unknown."""
        return self.future.done()

    def done(self, value: Any) -> None:
        """Give the reply, when it may leave."""
        writer = self._promises.writer
        if writer.settled:  # as holding it would, by a shorter way
            if not self.future.done():
                self.future.set_result(value)
            return
        self._value = value
        writer.hold(self._release)

    def failed(self, error: Exception) -> None:
        """Give the error, when it may leave."""
        self._error = error
        self._promises.writer.hold(self._release)

    def _release(self, durable: bool) -> None:
        if self.future.done():
            self._error = None
            return  # the caller has gone, or was told that the outcome is unknown
        if not durable:
            self._error = None
            error = self._promises.writer.error
            self.lose("the journal could not be written" + (f" ({error})" if error is not None else ""))
        elif self._error is not None:
            self.future.set_exception(self._error)
            self._error = None
        else:
            self.future.set_result(self._value)

    def lose(self, why: str) -> None:
        """Tell the caller that the outcome is unknown."""
        if not self.future.done():
            again = "ask again" if issubclass(type(self._message), Query) else "ask again with the same id to learn it"
            self.future.set_exception(OutcomeUnknown(f"{self._unknown()}: {why}; {again}"))

    def _unknown(self) -> str:
        return f"whether {self._address} has handled {type(self._message).__name__} is unknown"

    def forget(self) -> None:
        """Nobody waits any more."""
        self._promises.open.pop(self, None)

    def let_go(self, error: BaseException | None = None) -> None:
        """Let go of an error that the caller has now.

        The error's traceback knows the turn that raised it, the turn its envelope, and the envelope this promise.
        Envelopes are hidden from the garbage collector, so such a ring would stay for ever.

        Raises:
            WrongLoop: it is asyncio's, about the future of another loop.
        """
        self.future = self._promises.nothing
        if isinstance(error, RuntimeError) and not runs(self._promises.loop):
            raise WrongLoop(f"{self._unknown()}: {ELSEWHERE}") from error

    async def wait(self, due: int) -> Any:
        """Wait for the reply until ``due`` (microseconds of steady time; 0: for ever); then the outcome is unknown."""
        timer = None
        if due:
            timer = self._promises.timers.at(due, lambda: self.lose("no reply came in time"))
        try:
            return await self.future
        except BaseException as error:
            self.let_go(error)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self.forget()
