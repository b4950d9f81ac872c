"""The dispatcher: one run queue of cells that have mail, and one callback of the event loop that empties it.

Nothing in the loop's own machinery is spent on an actor's turn: no task, no future, no wake-up of its own. A cell
gets a bounded number of turns and goes to the back; after a bounded slice the loop gets its turn.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable

from actors import OutcomeUnknown
from persistence.writer import Writer
from runtime.cells import Cell
from runtime.chaos import Chaos

TURNS_PER_CELL = 64
"""Turns that one cell may take before it goes to the back of the queue."""
TURNS_PER_SLICE = 256
"""Turns that are taken before the event loop gets its turn."""


class Dispatcher:
    """Runs turns, one after the other, on the event loop on which it is made."""

    def __init__(self, writer: Writer, settle: Callable[[], None], chaos: Chaos | None = None) -> None:
        self._writer = writer
        self._settle = settle
        self._chaos = chaos
        self._queue: deque[Cell] = deque()
        self._loop = asyncio.get_running_loop()
        self._armed = False
        # A callback runs in the context of whoever scheduled it; turns must not see a sender's context variables.
        self._context = contextvars.Context()
        self.turns = 0
        """Turns taken since the start."""

    @property
    def idle(self) -> bool:
        """Whether no cell waits for its turn."""
        return not self._queue

    def ready(self, cell: Cell) -> None:
        """Put a cell that has mail into the run queue."""
        cell.queued = True
        self._queue.append(cell)
        if not self._armed:
            self.arm()

    def arm(self) -> None:
        """Let the event loop call the next slice."""
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self._slice, context=self._context)

    def _slice(self) -> None:
        self._armed = False
        budget = TURNS_PER_SLICE
        queue = self._queue
        while queue and budget > 0:
            if self._writer.full:
                # The disk is behind: turns, and with them all senders, wait until it has caught up.
                self._writer.hold(self._resume)
                break
            cell = queue.popleft()
            budget -= self._turns(cell, min(TURNS_PER_CELL, budget))
            if cell.mail and cell.runnable:
                queue.append(cell)
            else:
                cell.queued = False
        else:
            if queue:
                self.arm()
        self.turns += TURNS_PER_SLICE - budget
        self._settle()

    def _turns(self, cell: Cell, most: int) -> int:
        mail = cell.mail
        chaos = self._chaos
        turn = cell.turn
        taken = 0
        while mail and taken < most and cell.runnable:
            if chaos is not None and chaos.strikes():
                cell.kill()
                break
            taken += 1
            envelope = mail.popleft()
            try:
                turn(envelope)
            except (SystemExit, KeyboardInterrupt):
                cell.queued = False
                self.arm()
                raise
            except BaseException as error:  # noqa: BLE001 (whatever it is, it must not stop the others' turns)
                cell.crashed(error)
                if envelope.reply is not None:
                    envelope.reply.failed(OutcomeUnknown(f"{cell.name} crashed: {error!r}"))
        if cell.senders:
            cell.let_in()
        return taken

    def _resume(self, _durable: bool) -> None:
        self.arm()
