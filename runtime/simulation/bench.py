"""A workbench for one actor: the runtime's own cell, and around it nothing that happens by itself.

There is no event loop, no thread and no disk. The journal is in memory and written at once, time stands still until it
is moved, and what the actor sends lies there until it is answered.
"""

import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, TypeVar

import msgspec

from actors import Address, Request
from actors.reminders import EPOCH
from persistence import Journal, JournalError, MemoryJournal, Record, Written
from persistence.journal import Batch
from persistence.writer import Writer
from runtime import queries
from runtime.asking import Asks, AsksQuery
from runtime.cells import Cell
from runtime.clock import Clock, ManualClock
from runtime.flow import Flow
from runtime.kinds import Kind
from runtime.lock_waits import LockWaits
from runtime.mailbox import Envelope
from runtime.observer import Observer
from runtime.origin import Origin
from runtime.owner import Owner
from runtime.projector import Projector
from runtime.saga_alerts import SagaAlert
from runtime.simulation.company import Company
from runtime.slow_turns import SlowTurns
from runtime.suspects import Suspects
from runtime.timers import Timers
from runtime.watches import Watches

A = TypeVar("A")
R = TypeVar("R")

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""What the time is where a test doesn't say."""
MOST_TURNS = 100_000
"""So many turns may follow from one thing that happens; with more, the actor seems to loop."""


def driven(work: Coroutine[Any, Any, R]) -> R:
    """Return what a coroutine comes to that waits for nothing from outside.

    Raises:
        RuntimeError: it waits.
    """
    try:
        work.send(None)
    except StopIteration as done:
        value: R = done.value
        return value
    work.close()
    raise RuntimeError(f"{work} waits for what only an event loop brings; test this with a Runtime")


class Answer:
    """Where the reply goes to what a test asks."""

    gone = False

    def __init__(self) -> None:
        self.known = False
        self.value: Any = None
        self.error: Exception | None = None

    def done(self, value: Any) -> None:
        """Take the reply."""
        self.known, self.value = True, value

    def failed(self, error: Exception) -> None:
        """Take the error."""
        self.known, self.error = True, error


class Mail(msgspec.Struct, eq=False):
    """Something that was sent to another actor, and how far the test has come with it."""

    to: Address[Any]
    envelope: Envelope
    seen: bool = False
    """Whether it was expected."""
    answered: bool = False


class Other(Cell):
    """The place of an actor that isn't there: what it is sent is put down."""

    __slots__ = ("_mail",)

    def __init__(self, bench: "Bench", address: Address[Any], kind: Kind) -> None:
        super().__init__(bench, address, kind)
        self._mail = bench.mail

    def put_from_inside(self, envelope: Envelope) -> None:
        """Put a message down."""
        self._mail.append(Mail(self.address, envelope))

    def post(self, envelope: Envelope) -> None:
        """Do at once what the runtime itself has to say: give locks back."""
        if envelope.reply is not None:
            envelope.reply.done(None)


class HandTimers(Timers):
    """Timers that go off when they are told to."""

    def _arm(self) -> None:
        """Do nothing: nobody wakes them by himself."""

    def next(self) -> int | None:
        """Return when the next one is due; None: there is none."""
        while self._heap and self._heap[0].fire is None:
            heapq.heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0].due if self._heap else None

    def ring(self) -> None:
        """Let those go off that are due."""
        self._wake()


class _Known(msgspec.Struct):
    """The outcome of a write, which is known at once."""

    outcome: Written | JournalError

    def __await__(self) -> Generator[None, None, Written | JournalError]:
        yield from ()
        return self.outcome


async def _lost(error: BaseException) -> None:
    raise error


class HandWriter(Writer):
    """Writes at once: all that was enqueued is durable."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal, lambda _batches, _first: None, _lost)

    def enqueue(self, batch: Batch) -> None:
        """Write a batch; see :meth:`Writer.enqueue`."""
        driven(self._journal.append([batch]))

    def submit(self, batch: Batch) -> Any:
        """Write a batch if the journal takes it; see :meth:`Writer.submit`."""
        (outcome,) = driven(self._journal.append_each([batch]))
        return _Known(outcome)


class _NoJitter(Random):
    """Makes pauses as long as they may be."""

    def random(self) -> float:
        """Return 0."""
        return 0.0


class Bench:
    """All that a cell knows of its node; see :class:`runtime.cells.World`."""

    def __init__(self, company: Company, own: Kind, now: datetime | None) -> None:
        self.memory = MemoryJournal()
        self.journal: Journal = self.memory
        self.manual = ManualClock(((now or START) - EPOCH) // timedelta(microseconds=1))
        self.clock: Clock = self.manual
        self.wall, self.steady = HandTimers(self.manual), HandTimers(self.manual, self.manual.steady)
        self.timers: Timers = self.wall
        self.delays: Timers = self.steady
        self.writer: Writer = HandWriter(self.memory)
        self.random: Random = _NoJitter()
        self.watches = Watches(lambda _watcher, _stopped: None)
        self.slow = SlowTurns(self.manual, None)
        self.suspects = Suspects(self.memory, self.manual, self.steady)
        self.flow = Flow(self.memory, self.steady, self.spawn, [own], lambda _: None)
        driven(self.flow.lines.open())
        self.lock_waits = LockWaits()
        self.observer = Observer(self.manual)
        self.closing = False
        self.ask_inside: Asks = self.ask
        self.query_inside: AsksQuery = partial(queries.ask, self)
        self.projectors: dict[str, Projector] = {}
        self.owners: dict[Address[Any], Owner] = {}
        self.kind, self.check, self.check_answers = company.kind, company.check, company.check_answers
        self.mail: list[Mail] = []
        """What was sent to others, in order."""
        self.own: Cell | None = None
        """The actor that is tested."""
        self._queue: deque[Cell] = deque()
        self._running = False
        self._ids = 0

    # -- what a cell asks of its node ---------------------------------------------------------------------------

    def ready(self, cell: Cell) -> None:
        """Give a cell its turns, now, or when the one that has a turn has ended it."""
        cell.queued = True
        self._queue.append(cell)
        if not self._running:
            self._while_running(self._run)

    def _while_running(self, work: Callable[[], None]) -> None:
        """Do something in the middle of which nobody gets a turn of his own."""
        before, self._running = self._running, True
        try:
            work()
        finally:
            self._running = before

    def _run(self) -> None:
        turns = 0
        while self._queue:
            cell = self._queue.popleft()
            cell.queued = False
            while cell.runnable and (lane := cell.control or cell.mail):
                turns += 1
                if turns > MOST_TURNS:
                    raise RuntimeError(f"{cell.address} takes more than {MOST_TURNS:,} turns; it seems to loop")
                turn = cell.control_turn if lane is cell.control else cell.turn
                turn(lane.popleft())

    def recover(self, cell: Cell) -> None:
        """Replay a cell's stream to it."""

        def replay() -> None:
            cell.begin()
            for record in self.stored(cell.address):
                cell.replay(record)
            cell.recovered()

        self._while_running(replay)
        if not self._running:
            self._while_running(self._run)

    def release(self, cell: Cell) -> None:
        """Keep the cell: there is but one."""

    def find(self, address: Address[Any]) -> Cell | None:
        """Return the cell of the actor that is tested."""
        return self.own if self.own is not None and self.own.address == address else None

    def cell(self, address: Address[Any]) -> Cell:
        """Return the cell of the actor that is tested, or the place of another."""
        return self.find(address) or Other(self, address, self.kind(address.actor))

    def taker(self, address: Address[Any], message: object) -> Cell:
        """Return the cell of an address, having made sure that its actor takes the message."""
        self.check(address, message)
        return self.cell(address)

    def new_id(self) -> str:
        """Return an id for a message that came without one."""
        self._ids += 1
        return f"given-{self._ids}"

    def spawn(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something at once that a node would do as a task."""
        return driven(work)

    def alert(self, alert: SagaAlert) -> None:
        """Tell nobody: a test looks for itself."""

    def dead_letter(self, address: Address[Any], message: object, error: Exception) -> None:
        """Note nothing: all that a test sends has an answer."""

    async def ask(
        self,
        address: Address[A],
        request: Request[A, R],
        *,
        request_id: str | None = None,  # noqa: ARG002 (as in World)
        origin: Origin | None = None,  # noqa: ARG002
        timeout: float | None = None,  # noqa: ARG002
    ) -> R:
        """Refuse: nobody is there to answer."""
        raise RuntimeError(f"{address} isn't there to be asked {type(request).__name__}")

    # -- what a test asks ---------------------------------------------------------------------------------------

    def stored(self, address: Address[Any], after: int = 0) -> list[Record]:
        """Return the records of a stream as a journal on a disk would: with nothing but what is stored."""
        found = self.memory.records
        stream = (address.actor, address.key)
        return [
            msgspec.structs.replace(one, value=None) for one in found if one.stream == stream and one.version > after
        ]

    def write(self, batch: Batch) -> None:
        """Have something in the journal that the tested actor didn't write."""
        driven(self.memory.append([batch]))

    def head(self, address: Address[Any]) -> int:
        """Return the version of a stream."""
        stream = (address.actor, address.key)
        return driven(self.memory.heads([stream])).get(stream, 0)

    def advance(self, duration: timedelta) -> None:
        """Move time on; what becomes due meanwhile happens in its order, each at its time."""
        end = self.manual.steady() + duration // timedelta(microseconds=1)
        while (due := self._next_due()) is not None and due <= end:
            self._move_to(due)
            self.wall.ring()
            self.steady.ring()
        self._move_to(end)

    def _next_due(self) -> int | None:
        ahead = self.manual.now() - self.manual.steady()
        wall, steady = self.wall.next(), self.steady.next()
        return min([due for due in (None if wall is None else wall - ahead, steady) if due is not None], default=None)

    def _move_to(self, steady: int) -> None:
        self.manual.advance(max(0, steady - self.manual.steady()) / 1e6)
