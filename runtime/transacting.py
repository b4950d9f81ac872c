"""Atomic changes of several services, from outside."""

from collections.abc import Sequence
from typing import Any

from actors import Address, NotTaken, Service
from actors.request_context import Texts
from runtime.node import Node
from runtime.transaction import Transaction

Requests = Sequence[tuple[Address[Any], Any]]


def check(node: Node, requests: Requests) -> None:
    """Make sure that each command has a service that takes it.

    Raises:
        UnknownActor, NotTaken: one has none.
    """
    for request in requests:
        if len(request) != 2:
            raise NotTaken(
                f"transact takes pairs, not a {type(request).__name__} of {len(request)}; write "
                "runtime.transact((Account.at('a'), Withdraw(10)), (Account.at('b'), Deposit(10)))"
            )
        address, command = request
        node.directory.check(address, command)
        if not issubclass(node.directory.own_kind(address).cls, Service):
            raise NotTaken(f"{address} is no service; only services can change together")


async def transact(
    node: Node, requests: Requests, transaction_id: str | None, due: int, context: Texts | None
) -> tuple[Any, ...]:
    """Send commands to several services: all take effect, in one append, or none does."""
    check(node, requests)
    if not requests:
        return ()
    cells = await node.services([address for address, _ in requests], due)
    promise = node.promises.make(*requests[0])
    commands = [command for _, command in requests]
    transaction = Transaction(node, list(zip(cells, commands, strict=True)), transaction_id, promise, context)
    transaction.start()
    try:
        replies: tuple[Any, ...] = await promise.wait(due)
    finally:
        transaction.end(None)  # where it has not been decided: nobody waits for it any more
    return replies
