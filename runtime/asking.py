"""Asking, as whoever does it sees it."""

from typing import Protocol, TypeVar

from actors import Address, Query, Request
from runtime.origin import Origin

A = TypeVar("A")
R = TypeVar("R")


class Asks(Protocol):
    """Sends a command from outside of the turns, and waits for the reply."""

    async def __call__(
        self,
        address: Address[A],
        request: Request[A, R],
        *,
        request_id: str | None = None,
        origin: Origin | None = None,
        timeout: float | None = None,
    ) -> R:
        """Send it, in this name."""
        ...


class AsksQuery(Protocol):
    """Has a query of a plain actor's answered."""

    async def __call__(
        self, address: Address[A], query: Query[A, R], *, timeout: float | None = None, consistent: bool = False
    ) -> R:
        """Ask, and wait for the answer."""
        ...
