"""Commands to several services at once, from outside: all take effect, or none does."""

from typing import Any, TypeVar, overload

from actors import Address, Command
from runtime.inspection import Inspection
from runtime.transacting import transact

A1 = TypeVar("A1")
A2 = TypeVar("A2")
A3 = TypeVar("A3")
R1 = TypeVar("R1")
R2 = TypeVar("R2")
R3 = TypeVar("R3")


class Transacting(Inspection):
    """The part of a runtime that changes several services together."""

    @overload
    async def transact(
        self, a: tuple[Address[A1], Command[A1, R1]], /, *, id: str | None = None, timeout: float | None = None
    ) -> tuple[R1]: ...
    @overload
    async def transact(
        self,
        a: tuple[Address[A1], Command[A1, R1]],
        b: tuple[Address[A2], Command[A2, R2]],
        /,
        *,
        id: str | None = None,
        timeout: float | None = None,
    ) -> tuple[R1, R2]: ...
    @overload
    async def transact(
        self,
        a: tuple[Address[A1], Command[A1, R1]],
        b: tuple[Address[A2], Command[A2, R2]],
        c: tuple[Address[A3], Command[A3, R3]],
        /,
        *,
        id: str | None = None,
        timeout: float | None = None,
    ) -> tuple[R1, R2, R3]: ...
    @overload
    async def transact(
        self,
        *requests: tuple[Address[Any], Command[Any, Any]],
        id: str | None = None,
        timeout: float | None = None,
    ) -> tuple[Any, ...]: ...

    async def transact(
        self,
        *requests: tuple[Address[Any], Command[Any, Any]],
        id: str | None = None,  # noqa: A002
        timeout: float | None = None,
    ) -> tuple[Any, ...]:
        """Send commands to several services: all take effect, in one append, or none does.

        Raises:
            Refused: one said no, and is named; nothing was written.
            Failed: one could not handle its command; nothing was written.
            OutcomeUnknown: it may or may not have taken effect; ask again with the same id.
            MailboxFull: one had no room within ``timeout``; nothing was sent.
        """
        node = self._plain
        if node is None:
            return await self._doors_open().transact(requests, id, timeout)
        return await transact(node, requests, id, node.deadline(timeout), None)
