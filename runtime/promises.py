"""Promises: what a caller outside of the turns waits on. Kept only when all that led to the reply is durable."""

import asyncio
from typing import TYPE_CHECKING, Any

from actors import Address, OutcomeUnknown

if TYPE_CHECKING:
    from runtime.node import Node


class Promise:
    """The reply to one request of a caller outside: P1 and P10 are kept here.

    Also a refusal or a failure waits for durability: it may rest on events that are not on disk yet.
    """

    __slots__ = ("_error", "_future", "_node", "_value", "_what")

    def __init__(self, node: "Node", address: Address[Any], message: object) -> None:
        self._node = node
        self._what = (address, type(message).__name__)
        self._future: asyncio.Future[Any] = node.loop.create_future()
        self._value: Any = None
        self._error: Exception | None = None
        node.promises.add(self)

    def done(self, value: Any) -> None:
        """Give the reply, when it may leave."""
        self._value = value
        self._node.writer.hold(self._release)

    def failed(self, error: Exception) -> None:
        """Give the error, when it may leave."""
        self._error = error
        self._node.writer.hold(self._release)

    def _release(self, durable: bool) -> None:
        if self._future.done():
            return  # the caller has gone, or was told that the outcome is unknown
        if not durable:
            self.lose("the journal could not be written")
        elif self._error is not None:
            self._future.set_exception(self._error)
        else:
            self._future.set_result(self._value)

    def lose(self, why: str) -> None:
        """Tell the caller that the outcome is unknown."""
        if not self._future.done():
            address, message = self._what
            self._future.set_exception(
                OutcomeUnknown(
                    f"whether {address} has handled {message} is unknown: {why}; ask again with the same id to learn it"
                )
            )

    async def wait(self, timeout: float | None) -> Any:  # noqa: ASYNC109 (a scope for each ask costs more than the ask)
        """Wait for the reply, at most ``timeout`` seconds; then the outcome is unknown."""
        timer = None
        if timeout is not None:
            timer = self._node.timers.after(timeout, lambda: self.lose(f"no reply came within {timeout:g} s"))
        try:
            return await self._future
        finally:
            if timer is not None:
                timer.cancel()
            self._node.promises.discard(self)
