"""Replies that come late, or twice."""

import asyncio
from typing import Any

import msgspec

from runtime.mailbox import ReplyTo


class LateReply(msgspec.Struct, gc=False):
    """Where a reply goes that comes so many seconds late."""

    to: ReplyTo
    loop: asyncio.AbstractEventLoop
    seconds: float

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the reply any more."""
        return self.to.gone

    def done(self, value: Any) -> None:
        """Give the reply, later."""
        self.loop.call_later(self.seconds, self.to.done, value)

    def failed(self, error: Exception) -> None:
        """Say that there is none, later."""
        self.loop.call_later(self.seconds, self.to.failed, error)


class TwiceReply(msgspec.Struct, gc=False):
    """Where a reply goes that comes twice."""

    to: ReplyTo

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the reply any more."""
        return self.to.gone

    def done(self, value: Any) -> None:
        """Give the reply, and again."""
        self.to.done(value)
        self.to.done(value)

    def failed(self, error: Exception) -> None:
        """Say that there is none, and again."""
        self.to.failed(error)
        self.to.failed(error)
