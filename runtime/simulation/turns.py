"""The simulated dispatcher: one turn at a time, of the cell that the schedule wants, with what goes wrong at it."""

from collections.abc import Callable
from typing import Any

from persistence.writer import Writer
from runtime.cells import Cell
from runtime.clock import Clock
from runtime.dispatcher import TURNS_PER_SLICE, Dispatcher
from runtime.mailbox import Envelope
from runtime.promises import Promise
from runtime.saga_mail import StepReturn
from runtime.simulation.acks import Acks
from runtime.simulation.labels import sender_of, what_of
from runtime.simulation.late import LateReply, TwiceReply
from runtime.simulation.machine import Machine


class SimulatedDispatcher(Dispatcher):
    """Runs turns as the schedule wants."""

    def __init__(self, machine: Machine, acks: Acks, writer: Writer, clock: Clock, settle: Callable[[], None]) -> None:
        """No turn is slow here: in virtual time each takes none at all."""
        super().__init__(writer, clock, settle)
        self._machine, self._acks = machine, acks

    def _slice(self) -> None:
        self._armed = False
        machine, queue, turns = self._machine, self._queue, 0
        while queue and turns < TURNS_PER_SLICE:
            if self._writer.full:
                self._writer.hold(self._resume)
                break
            schedule = machine.schedule
            if schedule is not None and len(queue) > 1:
                queue.rotate(-schedule.choose([cell.name for cell in queue]))
            cell = queue.popleft()
            turns += 1
            self._one_turn(cell)
            if (cell.mail or cell.control) and cell.runnable:
                queue.append(cell)
                if not cell.mail:
                    cell.since = self.now
            else:
                cell.queued = False
        else:
            if queue:
                self.arm()
        self.turns += turns
        self._settle()

    def _one_turn(self, cell: Cell) -> None:
        if not cell.runnable:
            return
        envelope = next(iter(cell.control or cell.mail), None)
        if envelope is None:
            return
        what = what_of(envelope)
        late = not cell.control and isinstance(envelope.reply, StepReturn | Promise)
        label = f"{cell.name} handles {what}"
        faults = self._machine.at("turn", label, f"{cell.kind.name}: {type(envelope.message).__name__}", 0, late)
        after = False
        for fault in faults:
            if fault.what == "kill" and fault.how == "before":
                cell.kill()
                return
            after = after or fault.what == "kill"
            if late:
                self._delay(envelope, fault.what, fault.how)
        self._machine.note("message", sender_of(envelope), cell.name, what)
        with self._acks.turn(self._writer):
            self._turns(cell, 1)
        if after:
            cell.kill()

    def _delay(self, envelope: Envelope, what: str, how: str) -> None:
        reply: Any = envelope.reply
        if what == "late":
            envelope.reply = LateReply(reply, self._loop, float(how))
        elif what == "twice":
            envelope.reply = TwiceReply(reply)
