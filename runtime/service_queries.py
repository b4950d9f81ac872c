"""Queries on a service: answered from its state, between two turns of its commands, and nothing comes of it."""

from types import CoroutineType
from typing import Any, Protocol

from actors import Address
from runtime.kinds import Kind
from runtime.lock_events import Locks, Others
from runtime.mailbox import Envelope


class Asked(Protocol):
    """A service that is asked."""

    address: Address[Any]
    kind: Kind
    state: Any
    service: Any
    locks: Locks | None


def answer(cell: Asked, envelope: Envelope) -> None:
    """Answer a query by the author's code. What it saw may not be durable yet; whoever waits outside gets it then.

    Raises:
        Exception: whatever ``answer`` raises.
        TypeError: its answer is not what the query declares.
    """
    query, service = envelope.message, cell.service
    if cell.locks is not None:
        service.locked_by = Others(cell.locks, envelope.path)
    value = service.answer(cell.state, query)
    if value.__class__ is CoroutineType:
        value.close()
    cell.kind.check_reply(query.__class__, value)
    if envelope.reply is not None:
        envelope.reply.done(value)
