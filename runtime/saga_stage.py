"""What a saga's turn does to the world: events, messages and timers, which all take effect at its end."""

from typing import Any

from actors import Address, Command
from persistence import AT_ONCE, BURIED, NEVER, Append, NewEvent, Record
from persistence.codec import encode
from runtime import saga_events as events
from runtime.cells import Cell, World
from runtime.kinds import EventMeta, Kind, decoded, meta_of
from runtime.mailbox import Envelope
from runtime.saga_mail import StepReturn, Wake
from runtime.saga_story import Story
from runtime.timers import Timer, Timers


class SagaStage(Cell):
    """Where a saga is played: its story so far, what it has under way, and what the turn adds to both."""

    __slots__ = (
        "_cause",
        "_correlation",
        "_new",
        "_outbox",
        "_position",
        "_timers",
        "_under_way",
        "_version",
        "now",
        "story",
    )

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self._under_way: set[str] = set()
        """Steps, and with a mark undos, that were sent and whose outcome has not been taken in.

        Like mail they outlive the incarnation: the next one waits for the same outcome, and sends no second copy."""
        self._timers: dict[str, Timer] = {}
        self.story = Story()

    # -- the story ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start from an empty story."""
        self.story = Story()
        self.now = self._version = self._position = 0
        self._correlation = self.name
        self._cause = ""
        self._new: list[NewEvent] = []
        self._outbox: list[tuple[Address[Any], Envelope]] = []

    def replay(self, record: Record) -> None:
        """Take in one event of the stream; the result as an event of the author's is passed over."""
        decoder = events.DECODERS.get(record.type)
        if decoder is not None:
            event: events.SagaEvent = decoded(decoder, record, record.data)
            self.story.apply(event, record.time)
            if isinstance(event, events.Started):
                self._correlation = meta_of(record).correlation or self._correlation
        elif record.type == BURIED:
            self.story = Story(buried=True)
        self._version, self._position = record.version, record.position

    def emit(self, event: events.SagaEvent) -> None:
        """Add an event to the story; it is enqueued at the end of the turn."""
        data = encode(event, "an event of the saga")
        self.story.apply(event, self.now)
        self._new.append(NewEvent(events.NAMES[type(event)], data, b"", event))

    def _end_turn(self) -> None:
        """Enqueue what is new, then send what it announces: decide, evolve, enqueue, reply."""
        story = self.story
        if self._new:
            meta = encode(EventMeta(self._cause, self._correlation))
            for event in self._new:
                event.meta = meta
            if self.kind.revised:
                self.kind.stamp(self._new)
            first = self._version == 0
            wake = NEVER if story.ended else AT_ONCE if first else None
            cause = self._cause if first else None
            append = Append(self.stream, self._version, self._new, self.now, cause, wake, sound=True)
            self.world.writer.enqueue((append,))
            self._version += len(self._new)
            self.written = True
            self._new = []
        if self._outbox:
            outbox, self._outbox = self._outbox, []
            for address, envelope in outbox:
                self.world.cell(address).put_from_inside(envelope)
        if story.ended or story.error is not None:
            self._over()

    def _over(self) -> None:
        """Do what is to be done when the saga has ended, or is parked."""
        raise NotImplementedError

    # -- sending and waiting ------------------------------------------------------------------------------------

    def send(self, step: str, to: Address[Any], command: Command[Any, Any], *, undo: bool = False) -> bool:
        """Send a step's command, or its undo, at the end of the turn, unless it is under way already.

        Its id is derived from the step's name, so whatever the saga goes through, it is the same each time.
        """
        step_id = f"{self.name}#{step}"
        request = f"{self.name}!{step}" if undo else step_id
        if request in self._under_way:
            return False
        self._under_way.add(request)
        envelope = Envelope(command, request, StepReturn(self.world.find, self.address, step, undo), self._correlation)
        asked, started = self.story.steps[step].asked, self.story.started
        envelope.path = (*started.path, self.address) if started is not None else (self.address,)
        envelope.undoes, envelope.data = (step_id, bytes(asked.undo)) if undo else (None, bytes(asked.command))
        self._outbox.append((to, envelope))
        return True

    def sleep(self, step: str, due: int) -> None:
        """Have the step answered when the time has come."""
        self._set_timer(self.world.timers, due, step)

    def _arm_deadline(self, due: int) -> None:
        if due:
            self._set_timer(self.world.timers, due, None)

    def _set_timer(self, timers: Timers, due: int, step: str | None, *, undo: bool = False) -> None:
        wake = Envelope(Wake(self.incarnation, step, undo))
        if (old := self._timers.get(step or "")) is not None:
            old.cancel()
        self._timers[step or ""] = timers.at(due, lambda: self.post(wake))
