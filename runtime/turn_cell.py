"""The cell of a plain actor whose ``receive`` isn't async: it works in turns, without a task."""

import inspect
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
        if self.world.closing:
            return
        self.phase = Phase.RECOVERING
        self.runnable = True
        since = self.since
        self.post(Envelope(BEGIN))
        if self.mail:
            self.since = since

    def _begin(self) -> None:
        try:
            self.actor = actor = self.kind.cls(self.address.key)
            self._receive = actor.receive
            actor.attach(self)
            actor.started()
        except Exception as error:  # noqa: BLE001 (the author's code; one that can't even begin is parked in the end)
            self.crashed(error)
        else:
            self.phase = Phase.RUNNING

    def turn(self, envelope: Envelope) -> None:
        """Handle one message to its end."""
        message: Any = envelope.message
        reply_to = envelope.reply
        self._envelope, self._sent = envelope, 0
        try:
            reply = self._receive(message)
            if self._stashing:
                self._stashing = False
            elif reply_to is not None:
                self.kind.check_reply(message.__class__, reply)
                reply_to.done(reply)
            elif reply is not None and inspect.iscoroutine(reply):
                raise ActorMisuse("receive returned a coroutine")
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
        self._stashing = False
        self.give_back(envelope, error)
        if error is not raised:
            self.crashed(error)  # the failure may have left the object in disorder

    def stash(self) -> None:
        """Put the message that is being handled aside."""
        super().stash()
        self._stashing = True

    def finish(self) -> None:
        """End in order, after this message."""
        self._finishing = True

    def _finish(self) -> None:
        self.stop("finished")
        if self.unfinished:
            self.revive()
        else:
            self.world.release(self)

    def stop(self, reason: Reason | None, error: BaseException | None = None) -> None:
        """End the incarnation, leaving the mail."""
        actor = self.actor
        self._finishing = False
        if actor is not None and reason != "killed":
            try:
                actor.stopped()
            except Exception as raised:  # noqa: BLE001 (the author's code; it has ended all the same)
                log.warning("actor failed at its end", actor=self.name, error=repr(raised))
        self._receive = None
        super().stop(reason, error)
        owner = self.world.owners.get(self.address)
        if reason == "finished" and owner is not None:
            owner.finished(self.address)
