"""The dispatcher of a runtime with chaos: what the other does, and things go wrong at it. No other runtime has one."""

from collections.abc import Callable
from typing import Any

import msgspec

from actors import OutcomeUnknown
from actors.verbs import Verb
from persistence.writer import Writer
from runtime.cells import Cell
from runtime.chaos import Chaos
from runtime.clock import Clock
from runtime.dispatcher import Dispatcher
from runtime.log import log
from runtime.mailbox import ReplyTo
from runtime.promises import Promise
from runtime.saga_mail import StepReturn
from runtime.slow_turns import SlowTurns


class LostReply(msgspec.Struct, gc=False):
    """Where a reply goes that is lost: whoever asked hears that the outcome is unknown, good or bad."""

    to: ReplyTo

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the reply any more."""
        return self.to.gone

    def done(self, _value: Any) -> None:
        """Lose the reply."""
        self.to.failed(OutcomeUnknown("the reply was lost, by chaos; ask again with the same id"))

    def failed(self, _error: Exception) -> None:
        """Lose the error."""
        self.done(None)


class DisturbedDispatcher(Dispatcher):
    """Runs turns as chaos lets them."""

    def __init__(
        self,
        chaos: Chaos,
        writer: Writer,
        clock: Clock,
        settle: Callable[[], None],
        slow_turns: SlowTurns | None = None,
    ) -> None:
        super().__init__(writer, clock, settle, slow_turns)
        self._chaos = chaos
        self._waiting = 0
        """Cells with mail that wait for longer than usual."""

    @property
    def idle(self) -> bool:
        """Whether no cell waits for its turn."""
        return not self._waiting and super().idle

    def ready(self, cell: Cell) -> None:
        """Put a cell whose first mail has just come into the run queue, sometimes only after a while."""
        seconds = self._chaos.delays_by(cell.kind.cls)
        if not seconds:
            super().ready(cell)
            return
        cell.queued = True  # so that more mail doesn't put it into the queue either
        cell.since = self.now
        self._waiting += 1
        # By the loop, not by the runtime's clock: where tests drive that, it must go on all the same.
        self._loop.call_later(seconds, self._let_on, cell)

    def _let_on(self, cell: Cell) -> None:
        self._waiting -= 1
        self._queue.append(cell)  # if it was killed meanwhile, that is found out when it is its turn
        self.arm()

    def _turns(self, cell: Cell, most: int) -> int:
        """Give a cell its turns, one by one."""
        taken = 0
        while taken < most and cell.runnable and (cell.mail or cell.control):
            if self._chaos.strikes():
                cell.kill()
                break
            if not cell.control:
                self._lose_reply(cell)
            taken += super()._turns(cell, 1)
        return taken

    def _lose_reply(self, cell: Cell) -> None:
        envelope = next(iter(cell.mail))
        reply: Any = envelope.reply
        if type(reply) not in (StepReturn, Promise) or envelope.id is None or isinstance(envelope.message, Verb):
            return  # it would not be asked for again
        if self._chaos.loses_reply(cell.kind.cls):
            envelope.reply = LostReply(reply)


def new_dispatcher(
    chaos: Chaos | None, writer: Writer, clock: Clock, settle: Callable[[], None], slow_turns: SlowTurns
) -> Dispatcher:
    """Return the dispatcher of a node."""
    if chaos is None:
        return Dispatcher(writer, clock, settle, slow_turns)
    log.warning("chaos is on: actors are disturbed on purpose, which is for staging and tests", chaos=str(chaos))
    return DisturbedDispatcher(chaos, writer, clock, settle, slow_turns)
