"""What sagas are sent from outside beside messages: the command that starts one without waiting, and verbs."""

from typing import Any

from actors import Address, Command, NotTaken
from actors.verbs import Verb
from runtime.mailbox import Envelope
from runtime.node import Node
from runtime.origin import Origin
from runtime.saga_mail import OnlyStart


async def start(
    node: Node, address: Address[Any], command: Command[Any, Any], due: int, origin: Origin | None = None
) -> None:
    """Start a saga, and don't wait for its end; that it was started is durable then."""
    cell = node.taker(address, command)
    if not cell.kind.is_saga or type(command) in cell.kind.messages:
        raise NotTaken(f"{type(command).__name__} starts nothing at {address}; ask it or tell it")
    if cell.crowded:
        cell = await node.room(cell, command, due)
    promise = node.promises.make(address, command)
    cell.put(Envelope(command, None, OnlyStart(promise), origin, due=due))
    await promise.wait(due)


async def say(node: Node, address: Address[Any], verb: Verb, due: int, origin: Origin | None = None) -> None:
    """Tell a saga what to do; it is done then, and durable."""
    promise = node.promises.make(address, verb)
    node.directory.cell(address).post(Envelope(verb, None, promise, origin, due=due))
    await promise.wait(due)
