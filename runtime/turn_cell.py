"""The cell of a plain actor whose ``receive`` isn't async: it works in turns, without a task."""

from types import CoroutineType
from typing import Any

from actors import ActorMisuse, Address
from actors.actor import Reason
from runtime.cells import Phase, World
from runtime.failures import failure
from runtime.kinds import Kind
from runtime.log import log
from runtime.mailbox import Envelope
from runtime.plain_cell import PlainCell


class Begin:
    """A message of the runtime's own: make the actor."""


BEGIN = Begin()
"""In the control lane: make the actor. Not at once, for who sent the first message may be in the middle of a turn."""


class TurnCell(PlainCell):
    """A plain actor that works in turns."""

    __slots__ = ("_finishing", "_receive", "_stashing")

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self._receive: Any = None
        self._finishing = self._stashing = False

    def revive(self) -> None:
        """Begin a new incarnation, in a turn of its own."""
        if self.closed():
            return
        self.phase = Phase.RECOVERING
        self.runnable = True
        since = self.since
        self.post(Envelope(BEGIN))
        if self.mail:
            self.since = since

    def _begin(self) -> None:
        incarnation = self.incarnation
        try:
            self.actor = actor = self.kind.cls(self.address.key)
            self._receive = actor.receive
            actor.attach(self)
            no_coroutine(actor.started(), "started")
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 (the author's code; one that can't begin is parked in the end)
            if self.incarnation == incarnation:
                self.crashed(error)
        else:
            if self.incarnation == incarnation:  # a child that could not begin may have been its end
                self.phase = Phase.RUNNING

    def turn(self, envelope: Envelope) -> None:
        """Handle one message to its end."""
        message: Any = envelope.message
        reply_to = envelope.reply
        self._envelope, self._sent = envelope, 0
        try:
            reply = self._receive(message)
            if reply.__class__ is CoroutineType:
                no_coroutine(reply, "receive")
            if self._stashing:
                self._stashing = False
            elif reply_to is not None:
                self.kind.check_reply(message.__class__, reply)
                reply_to.done(reply)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as raised:  # noqa: BLE001 (the author's code may raise anything; it goes to the asker)
            self._failed(envelope, raised)
        self._envelope = None
        if self._finishing:
            self._finish()

    def control_turn(self, envelope: Envelope) -> None:
        """Begin, or handle a timer or the end of another."""
        if envelope.message is BEGIN:
            self._begin()
        else:
            self.turn(envelope)

    def _failed(self, envelope: Envelope, raised: BaseException) -> None:
        error = failure(self.address, envelope.message, raised)
        if self._stashing:
            self._stashing = False
            self.take_back(envelope)
        self.give_back(envelope, error)
        if error is not raised and self.actor is not None:  # a child may have been its end already
            self.crashed(error)  # the failure may have left the object in disorder

    def stash(self) -> None:
        """Put the message that is being handled aside."""
        if not self._stashing:
            super().stash()
            self._stashing = True

    def unstash(self) -> None:
        """Put all that was put aside back, before all other mail."""
        super().unstash()
        if self.runnable and self.mail and not self.queued:  # it was no turn of its own in which it did
            self.ready_again()

    def finish(self) -> None:
        """End in order, after this message."""
        super().finish()
        self._finishing = True

    def _finish(self) -> None:
        self.stop("finished")
        if self.unfinished:
            self.revive()
        else:
            self.gone()

    def stop(self, reason: Reason | None, error: BaseException | None = None) -> None:
        """End the incarnation, leaving the mail."""
        actor, self.actor = self.actor, None
        if actor is not None:
            if reason != "killed":
                try:
                    no_coroutine(actor.stopped(), "stopped")
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as raised:  # noqa: BLE001 (the author's code; it has ended all the same)
                    log.warning("actor failed at its end", actor=self.name, error=repr(raised))
            actor.attach(None)  # a task that it has left behind must not act as the next incarnation
        self._finishing = False
        self._receive = None
        super().stop(reason, error)


def no_coroutine(result: object, where: str) -> None:
    """Make sure that a method of the author's has done its work, and not only returned something to await.

    Raises:
        ActorMisuse: it has; the coroutine is closed.
    """
    if isinstance(result, CoroutineType):
        result.close()
        raise ActorMisuse(f"{where} returned a coroutine, which nobody awaits here; write async def receive")
