"""What a saga's turn does to the world: events, messages and timers, which all take effect at its end."""

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import msgspec

from actors import Address, Request, Saga
from actors.messages import is_query
from actors.verbs import Compensate
from persistence import AT_ONCE, BURIED, NEVER, Append, NewEvent, Record
from persistence.codec import encode, encode_sound
from persistence.limits import MAX_PAYLOAD
from runtime import saga_events as events
from runtime.cells import Cell, World
from runtime.kinds import EventMeta, Kind, meta_of
from runtime.lock_mail import Unlock
from runtime.log import log
from runtime.mailbox import Envelope, ReplyTo
from runtime.origin import Origin
from runtime.saga_alerts import SagaAlert
from runtime.saga_events import NAMES
from runtime.saga_locks import AGAIN, GivenBack, ReleaseReturn, steps_by_service
from runtime.saga_mail import Held, StepReturn, Wake
from runtime.saga_places import wake_of
from runtime.saga_reading import take_in
from runtime.saga_run import SagaRun
from runtime.saga_story import COMPENSATE, StepStory, Story
from runtime.throttle import Throttle
from runtime.timers import Timers

UNTOLD = Story()
"""Shared by all sagas that are not awake; never changed."""
NOTHING_HELD: dict[str, Held] = {}
"""Shared by all sagas that hold nothing back; never changed."""
NO_SERVICES = frozenset[Address[Any]]()
NO_EVENTS: list[NewEvent] = []
NO_LETTERS: list[tuple[Address[Any], Envelope]] = []
"""Shared by all sagas between their turns, and never changed: what is not there, no collector has to look at."""

OWN_EVENT = "an event of the saga"
"""What can't be stored, where one can't."""

_attempts = count(1)
"""Tells the attempts at steps and undos of this process from each other."""


class SagaStage(Cell):
    """Where a saga is played: its story so far, what it has under way, and what the turn adds to both."""

    __slots__ = (
        "_alerts",
        "_asked_back",
        "_cause",
        "_context",
        "_correlation",
        "_held",
        "_new",
        "_origin",
        "_outbox",
        "_position",
        "_run",
        "_starters",
        "_summoned",
        "_timers",
        "_under_way",
        "_unlocking",
        "_version",
        "_wakes",
        "now",
        "story",
    )

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self._under_way: dict[str, int] = {}
        """Steps, and with a mark undos, that were sent and whose outcome has not been taken in; and the last attempt.

        Like mail they outlive the incarnation: the next one waits for the same outcome, and sends no second copy."""
        self._held: dict[str, Held] = NOTHING_HELD
        """Those of them that wait until they may be sent."""
        self._unlocking = NO_SERVICES
        """Services that were told to take their locks back, and have not answered; outlives the incarnation, too."""
        self._timers: dict[str, Wake] = {}
        """What is set for each step, and under no name for the deadline."""
        self._run: SagaRun | None = None
        self.story = UNTOLD
        self._summoned = False
        """Whether the journal wants it to be awake at once."""

    def summon(self) -> None:
        """Come back: the journal wants it to be awake at once."""
        self._summoned = True
        self.revive()

    # -- the story ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start from an empty story."""
        self.story = Story()
        self.now = self._version = self._position = 0
        self._go_on_for(Origin(self.name))
        self._cause = ""
        self._new: list[NewEvent] = NO_EVENTS
        self._alerts: tuple[SagaAlert, ...] = ()
        """What is told of the turn, when that is durable; so it is said behind its events."""
        self._outbox = NO_LETTERS
        self._starters: tuple[ReplyTo, ...] = ()
        """Who only wants to hear that it was started, at the end of the turn: it is not enqueued before."""
        self._wakes: int | None = AT_ONCE if self._summoned else None
        """When the journal says that the saga has to wake; None: not known."""
        self._asked_back = False
        """Whether the locks were given back, as far as that is up to the saga."""

    def replay(self, record: Record) -> None:
        """Take in one event of the stream; the result as an event of the author's is passed over."""
        event = take_in(self.story, record)
        if type(event) is events.Started or type(event) is events.Queued:
            meta = meta_of(record)
            self._go_on_for(Origin(meta.correlation or self.name, meta.context))
        elif record.type == BURIED:
            self.story = Story(ended=True, buried=True)
        self._version, self._position = record.version, record.position

    def _go_on_for(self, origin: Origin) -> None:
        """Do everything from here on in this name."""
        self._origin = origin
        """What goes with its messages."""
        self._correlation, self._context = origin.correlation, origin.context
        """What stands in the metadata of its events."""

    def _turn_for(self, envelope: Envelope, cause: str, handle: Callable[[Any], None], message: Any) -> None:
        """Take a turn whose events happen in the context of who has sent a message, be it that of nobody."""
        own, origin = self._context, envelope.origin
        self._context = None if origin is None else origin.context
        try:
            self._turn(cause, handle, message)
        finally:
            self._context = own

    def _turn(self, cause: str, handle: Callable[[Any], None], message: Any) -> None:
        """Take a turn."""
        raise NotImplementedError

    @property
    def code(self) -> type[Saga[Any, Any]]:
        """The class by which the story goes on: the one of its version, as long as that is there."""
        cls: type[Saga[Any, Any]] = self.kind.cls
        if not cls.older:
            return cls
        version = cls.version if self.story.started is None else self.story.started.version
        return next((older for older in cls.older if older.version == version), cls)

    def emit(self, event: events.SagaEvent) -> None:
        """Add an event to the story; it is enqueued at the end of the turn."""
        try:
            data = encode_sound(event)
        except Exception:  # noqa: BLE001 (told in words: a step's name, say, that is no text)
            data = encode(event, OWN_EVENT)
        if len(data) > MAX_PAYLOAD:  # as the reason of a refusal may be
            encode(event, OWN_EVENT)
        self.story.apply(event, self.now)
        new = NewEvent(NAMES[type(event)], data, b"")
        if self._new:
            self._new.append(new)
        else:
            self._new = [new]

    def _end_turn(self) -> None:
        """Enqueue what is new, then send what it announces: decide, evolve, enqueue, reply."""
        if self._held:
            self._drop_held()
        story = self.story
        if self._new:
            new, self._new = self._new, NO_EVENTS
            self._enqueue(new)
        elif self._summoned and (wake := self._next_wake()) is not None:
            # An import wakes everybody, and so does what an older release has written: the alarm would know nothing of
            # one that goes back to sleep.
            self.world.writer.enqueue((Append(self.stream, self._version, [], self.now, None, wake),))
            self.written = True
        ended = story.ended
        if self._summoned:
            self._summoned = story.asleep_until() is None and not ended
        if self._alerts:
            alerts, self._alerts = self._alerts, ()
            for alert in alerts:
                self.world.alert(alert)
        if self._outbox:
            outbox, self._outbox = self._outbox, NO_LETTERS
            for address, envelope in outbox:
                self.world.cell(address).put_from_inside(envelope)
        if ended or story.error is not None:
            if ended and story.locks:
                self._give_back_locks()  # before anybody hears of the end, and comes to where they are
            self._over()
        if self.world.flow.lines:
            self._keep_place()
        if self._starters:
            starters, self._starters = self._starters, ()
            for reply in starters:
                reply.done(None)

    def _enqueue(self, new: list[NewEvent]) -> None:
        meta = encode_sound(EventMeta(self._cause, self._correlation, context=self._context))
        for event in new:
            event.meta = meta
        if self.kind.revised:
            self.kind.stamp(new)
        address, version = self.address, self._version
        cause = None if version else self._cause
        stream = (address.actor, address.key)
        append = Append(stream, version, new, self.now, cause, self._next_wake(), sound=True)
        self.world.writer.enqueue((append,))
        self._version = version + len(new)
        self.written = True

    def _drop_held(self) -> None:
        """Hold nothing back that is not to be sent any more."""
        raise NotImplementedError

    def _keep_place(self) -> None:
        """Tell the line of the class, if there is one, where the saga is."""
        raise NotImplementedError

    def _next_wake(self) -> int | None:
        """Return when the saga has to wake, for the journal; None: as it says already."""
        story = self.story
        if story.busy and self._wakes == AT_ONCE and not story.ended:
            return None  # the shortest way, for most turns end here
        if story.ended:
            wakes = AT_ONCE if story.lockers else NEVER
        elif story.queued is not None and story.status == "queued":
            wakes = wake_of(self.kind.name, story.priority)
        else:
            until = story.asleep_until()
            wakes = AT_ONCE if until is None else max(until, 1)
        if wakes == self._wakes:
            return None
        self._wakes = wakes
        return wakes

    # -- locks --------------------------------------------------------------------------------------------------

    def _give_back_locks(self) -> None:
        """Tell each service at which the saga holds locks, or may do so yet, to take them back; once."""
        if self._asked_back:
            return
        self._asked_back = True
        for to, steps in steps_by_service(self.story).items():
            if to not in self._unlocking:
                self._unlocking |= {to}
                self._unlock(to, steps)

    def _unlock(self, to: Address[Any], steps: list[StepStory]) -> None:
        message = Unlock(self.address, unsettled=tuple([self.request(step) for step in steps]))
        back = ReleaseReturn(self.world.find, self.address, to)
        try:
            self.world.cell(to).post(Envelope(message, None, back, self._origin))
        except Exception as error:  # noqa: BLE001 (its class is gone, say; the next process tries again)
            log.error("locks can't be given back", saga=self.name, service=str(to), error=repr(error))

    def _unlock_again(self, to: Address[Any]) -> None:
        steps = steps_by_service(self.story).get(to)
        if steps is None:
            self._unlocking -= {to}  # it was killed meanwhile, and the next incarnation says it again
        else:
            self._unlock(to, steps)

    def _given_back(self, message: GivenBack) -> None:
        """Take in that a service has taken its locks back, or could not; when all have, that is the end."""
        if message.error is not None:
            log.warning("locks were not given back", saga=self.name, service=str(message.to), error=repr(message.error))
            self.world.delays.after(AGAIN, lambda: self._unlock_again(message.to))
            return
        self._unlocking -= {message.to}
        if not self._unlocking and self.story.lockers:
            self.emit(events.Released())

    def _over(self) -> None:
        """Do what is to be done when the saga has ended, or is parked."""
        raise NotImplementedError

    # -- sending and waiting ------------------------------------------------------------------------------------

    def request(self, step: StepStory, *, undo: bool = False) -> str:
        """Return the id of a step's command, or of its undo.

        It is derived from the step's name, so whatever the saga goes through, it is the same each time.
        """
        name = step.asked.step
        if step.copy > 1:
            name = f"{name}#{step.copy}#"  # no step's name is empty, so what ends in # is a copy's for sure
        return f"{self.name}!{name}" if undo else f"{self.name}#{name}"

    def send(self, step: StepStory, to: Address[Any], command: Request[Any, Any]) -> bool:
        """Send a step's command at the end of the turn, unless it is under way already; return whether it is sent."""
        asked, run = step.asked, self._run
        own = None if run is None else run.step(asked.step)
        timeout = None if own is None else own.timeout
        return self._send(step, to, command, self.request(step), asked.command, timeout) is not None

    def send_undo(self, step: StepStory) -> bool:
        """Send a step's undo, as it stands in the story; another saga is told to compensate."""
        to, undo = step.asked.to, step.undo
        assert to is not None
        kind = self.world.kind(to.actor)
        if bytes(undo) == bytes(COMPENSATE):
            message: Any = Compensate(self.name, self.story.reason or "the saga that asked for it has given it up")
        else:
            message = kind.command(undo)
        request = self.request(step, undo=True)
        return self._send(step, to, message, request, undo, None, self.request(step)) is not None

    def _send(
        self,
        step: StepStory,
        to: Address[Any],
        message: Any,
        request: str,
        data: msgspec.Raw,
        timeout: timedelta | None,
        undoes: str | None = None,
    ) -> Envelope | None:
        """Send something at the end of the turn, or hold it back until it may go; None: it is under way already."""
        story, world = self.story, self.world
        key, undo = story.key_of(step), undoes is not None
        if self._held and request in self._held:
            return None
        limit = timeout or (self.code if self.kind.cls.older else self.kind.cls).timeout
        under_way = request in self._under_way
        throttle = world.flow.throttles.get(to.actor) if world.flow.throttles else None
        now = under_way or throttle is None or throttle.take()
        due = self._begin_timeout(limit, key, undo=undo) if limit is not None and now else 0
        if under_way:
            return None
        attempt = self._under_way[request] = next(_attempts)
        back = StepReturn(world.find, self.address, key, undo, request, attempt)
        path = (self.address,) if story.started is None else (*story.started.path, self.address)
        message_id = None if is_query(message) else request  # a query has no effect to be told from another
        envelope = Envelope(message, message_id, back, self._origin, None, due, path, undoes, bytes(data))
        if step.asked.lock and not undo:
            envelope.lock = True
        if now or throttle is None:
            self._mail(to, envelope)
        else:
            self._hold_back(throttle, request, to, envelope, key, limit)
        return envelope

    def _mail(self, to: Address[Any], envelope: Envelope) -> None:
        if self._outbox:
            self._outbox.append((to, envelope))
        else:
            self._outbox = [(to, envelope)]

    def _begin_timeout(self, limit: timedelta, key: str, *, undo: bool) -> int:
        """Let an attempt fail after a time; return when, in microseconds of steady time."""
        delays = self.world.delays
        due = delays.now() + round(limit / timedelta(microseconds=1)) + 1
        self._set_timer(delays, due, key, undo=undo)
        return due

    def _hold_back(
        self,
        throttle: Throttle,
        request: str,
        to: Address[Any],
        envelope: Envelope,
        key: str,
        timeout: timedelta | None,
    ) -> None:
        """Send something when the rate of whom it is for allows it."""
        raise NotImplementedError

    def sleep(self, step: str, due: int) -> None:
        """Have the step answered when the time has come."""
        self._set_timer(self.world.timers, due, step)

    def _arm_deadline(self, due: int) -> None:
        if due:
            self._set_timer(self.world.timers, due, None)

    def _set_timer(self, timers: Timers, due: int, step: str | None, *, undo: bool = False) -> None:
        self._cancel_timer(step or "")
        wake = self._timers[step or ""] = Wake(step, due, undo)
        if due <= timers.now():
            self.post(Envelope(wake))
        else:
            wake.timer = timers.at(due, lambda: self.post(Envelope(wake)))

    def _cancel_timer(self, key: str) -> None:
        wake = self._timers.pop(key, None)
        if wake is not None:
            wake.cancel()
