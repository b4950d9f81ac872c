"""The dispatcher: one run queue of cells that have mail, and one callback of the event loop that empties it.

Nothing in the loop's own machinery is spent on an actor's turn: no task, no future, no wake-up of its own. A cell
gets a bounded number of turns and goes to the back; after a bounded slice the loop gets its turn.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable

from actors import OutcomeUnknown
from actors.request_context import TURN, scope
from persistence.writer import HIGH_WATER, Writer
from runtime.cells import Cell
from runtime.clock import Clock
from runtime.mailbox import NO_MAIL, Envelope, recycle
from runtime.slow_turns import SlowTurns

TURNS_PER_CELL = 64
"""Turns that one cell may take before it goes to the back of the queue."""
TURNS_PER_SLICE = 128
"""Turns that are taken before the event loop gets its turn."""


class Dispatcher:
    """Runs turns, one after the other, on the event loop on which it is made."""

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        settle: Callable[[], None],
        slow_turns: SlowTurns | None = None,
    ) -> None:
        """Run turns, and let ``slow_turns`` know of those that took long."""
        self._writer = writer
        self._clock = clock
        self.now = clock.steady()
        """When the last slice was due to begin; cells keep it as when they were last used."""
        self._slow = slow_turns or SlowTurns(clock, None)
        self._mark = 0.0
        """When the last turn ended, by the stopwatch for slow ones."""
        self._settle = settle
        self._queue: deque[Cell] = deque()
        self._loop = asyncio.get_running_loop()
        self._armed = False
        # A callback runs in the context of whoever scheduled it; turns must not see a sender's context variables.
        self._context = contextvars.Context()
        self._context.run(scope.set, TURN)
        self.turns = 0
        """Turns taken since the start."""

    @property
    def idle(self) -> bool:
        """Whether no cell waits for its turn."""
        return not self._queue

    def ready(self, cell: Cell) -> None:
        """Put a cell whose first mail has just come into the run queue."""
        cell.queued = True
        self._queue.append(cell)
        if not self._armed:
            self.arm()
        cell.since = self.now

    def arm(self) -> None:
        """Let the event loop call the next slice."""
        if not self._armed:
            # Always later than the last slice, whatever the clock does: who was used in between must be told apart.
            self.now = max(self._clock.steady(), self.now + 1)
            self._loop.call_soon(self._slice, context=self._context)
            self._armed = True  # not before: in debug mode the loop refuses what comes from another thread

    def _slice(self) -> None:
        self._armed = False
        budget = TURNS_PER_SLICE
        queue, writer = self._queue, self._writer
        self._mark = self._slow.stopwatch()
        while queue and budget > 0:
            if writer.pending >= HIGH_WATER:  # it is full
                # The disk is behind: turns, and with them all senders, wait until it has caught up.
                self._writer.hold(self._resume)
                break
            cell = queue.popleft()
            budget -= self._turns(cell, TURNS_PER_CELL if budget > TURNS_PER_CELL else budget)
            if (cell.mail or cell.control) and cell.runnable:
                queue.append(cell)
                if not cell.mail:
                    cell.since = self.now
            else:
                cell.queued = False
        else:
            if queue:
                self.arm()
        self.turns += TURNS_PER_SLICE - budget
        self._settle()

    def _turns(self, cell: Cell, most: int) -> int:
        """Give a cell its turns: first what is in the control lane, then the mail, as long as nothing comes there.

        Return how many there were.
        """
        cell.used = self.now
        taken = controls = self._control_turns(cell, most) if cell.control else 0
        mail = cell.mail
        if mail:
            slow = self._slow
            turn, stopwatch, limit, began = cell.turn, slow.stopwatch, slow.limit, self._mark
            while mail and taken < most and cell.runnable and not cell.control:
                taken += 1
                envelope = mail.popleft()
                reply = envelope.reply
                if reply is not None and (reply.gone or envelope.due) and cell.expired(envelope, self._clock.steady()):
                    continue
                try:
                    turn(envelope)
                except BaseException as error:  # noqa: BLE001 (whatever it is, it must not stop the others' turns)
                    self._escaped(cell, envelope, error)
                ended = stopwatch()
                if ended - began > limit:
                    slow.took(cell.address, envelope.message, ended - began)
                began = ended
            self._mark = began
            if mail:
                cell.left_behind(taken - controls, self.now)
            elif mail is cell.mail:
                cell.mail = recycle(mail)
            else:
                cell.since = self.now  # it has come meanwhile
        elif mail is not NO_MAIL:
            cell.mail = recycle(mail)
        cell.kind.counts.turns += taken
        if cell.gate:
            cell.let_in()
        return taken

    def _control_turns(self, cell: Cell, most: int) -> int:
        taken = 0
        while cell.control and taken < most and cell.runnable:
            taken += 1
            envelope = cell.control.popleft()
            if envelope.reply is None or not envelope.reply.gone:
                try:
                    cell.control_turn(envelope)
                except BaseException as error:  # noqa: BLE001 (as above)
                    self._escaped(cell, envelope, error)
            ended = self._slow.stopwatch()
            if ended - self._mark > self._slow.limit:
                self._slow.took(cell.address, envelope.message, ended - self._mark)
            self._mark = ended
        if not cell.control:
            cell.control = recycle(cell.control)
        return taken

    def _escaped(self, cell: Cell, envelope: Envelope, error: BaseException) -> None:
        """Let a cell crash for what its turn should not have raised; it must not stop the others' turns."""
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            cell.queued = False
            self.arm()
            raise error
        cell.crashed(error)
        cell.give_back(envelope, OutcomeUnknown(f"{cell.name} crashed: {error!r}"))

    def _resume(self, _durable: bool) -> None:
        self.arm()
