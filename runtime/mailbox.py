"""What lies in a mailbox: a message in its envelope, and where its reply goes."""

from typing import Any, Protocol

import msgspec

MAILBOX_LIMIT = 10_000
"""How much mail an actor may have waiting before its senders wait, or are refused."""


class ReplyTo(Protocol):
    """Where the reply to a message goes. One of ``done`` and ``failed`` is called, once."""

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the reply any more."""
        ...

    def done(self, value: Any) -> None:
        """Give the reply."""
        ...

    def failed(self, error: Exception) -> None:
        """Say that there is none: a refusal, a failure, or an unknown outcome."""
        ...


class Envelope(msgspec.Struct, gc=False):
    """A message on its way.

    ``id`` names the request, so that it can be asked again; None: its sender never will. ``correlation`` is the
    request or saga in whose name it is sent. ``undoes`` is the id of the command that this one undoes. ``data`` is
    the message as JSON, where its sender has written it down already.
    """

    message: Any
    id: str | None = None
    reply: ReplyTo | None = None
    correlation: str | None = None
    undoes: str | None = None
    data: bytes | None = None
