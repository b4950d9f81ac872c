"""The cell of an actor that lives on another node: what comes to it is sent there, when it may leave this one."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from actors import Address, Failed
from persistence import Record
from runtime.cells import Cell, Phase, World
from runtime.kinds import Kind
from runtime.mailbox import Envelope


class Sends(Protocol):
    """Sends a message to another node, and calls ``over`` when its outcome is told, or nobody waits for it any more."""

    def __call__(self, cell: Cell, envelope: Envelope, over: Callable[[], None], /) -> None:
        """Send it."""
        ...


class RemoteCell(Cell):
    """An actor of another node, as this one sees it.

    Like mail for an actor that does I/O, its mail waits until all that was enqueued before it is durable. What is under
    way takes its place in the mailbox until its outcome is told, so that senders wait as they do for an actor that is
    here.
    """

    __slots__ = ("_send",)

    def __init__(self, world: World, address: Address[Any], kind: Kind, send: Sends) -> None:
        super().__init__(world, address, kind)
        self._send = send
        self.phase = Phase.RUNNING  # as far as anybody here can tell

    def put(self, envelope: Envelope) -> None:
        """Send a message on, once it may leave this node."""
        observer = self.world.observer
        if observer.on:
            envelope.trace = envelope.trace or observer.tracing.here()
            observer.sent(self.address, type(envelope.message).__name__)
        self.limit -= 1
        self.world.writer.hold(partial(self._release, envelope))

    def post(self, envelope: Envelope) -> None:
        """Send on what the runtime itself has to say."""
        self.put(envelope)

    def _release(self, envelope: Envelope, durable: bool) -> None:
        if durable:
            self._send(self, envelope, self._over)
        else:
            self.give_back(envelope, not_sent(self))
            self._over()

    def _over(self) -> None:
        self.limit += 1
        if self.gate is not None:
            self.let_in()
        elif not self.unfinished:
            self.world.release(self)

    @property
    def unfinished(self) -> bool:
        """Whether something is under way to it."""
        return self.limit < self.kind.mailbox.limit or super().unfinished

    # -- a life that is not its own -----------------------------------------------------------------------------

    def revive(self) -> None:
        """Do nothing: it lives elsewhere."""

    def begin(self) -> None:
        """Do nothing: its stream is elsewhere."""

    def replay(self, record: Record) -> None:
        """Do nothing: its stream is elsewhere."""

    def forget(self) -> None:
        """Do nothing: nothing of it is here."""


def not_sent(cell: Cell) -> Failed:
    """Return the error for a message that can't leave this node, for what led to it may be lost."""
    return Failed(f"{cell.address} was not sent it: the journal could not be written")
