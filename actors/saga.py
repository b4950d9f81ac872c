"""Sagas: a story of steps across actors, each with its undo; told forward, or undone in reverse.

``run`` is a coroutine that awaits only its own steps. The runtime drives it by hand and keeps every step's
intent and outcome in the saga's journal, so after a crash it is called again and fed what the journal holds.
The idea of compensating transactions: Garcia-Molina and Salem, "Sagas", SIGMOD 1987.
"""

import uuid
from collections.abc import Generator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, get_args, get_origin, overload

from actors.address import Address
from actors.definition import by_name, check_no_undo_after_pivot, check_takes_commands
from actors.errors import SagaMisuse
from actors.evolution import Upcast, steps_of
from actors.messages import Command, Event
from actors.policies import UNDO_RETRY, Mailbox, Passivation, RetryPolicy

A = TypeVar("A")
C = TypeVar("C", bound=Command[Any, Any])
R_co = TypeVar("R_co", covariant=True)
R1 = TypeVar("R1")
R2 = TypeVar("R2")
R3 = TypeVar("R3")
R4 = TypeVar("R4")
R5 = TypeVar("R5")

NAME_LIMIT = 200
"""The longest name of a step, in characters: it is part of the ids of its commands."""

StepKind = Literal["ask", "pivot", "sleep"]


class Step(Generic[R_co]):
    """One step of a saga, to be awaited at once or handed to ``parallel``; await gives the reply."""

    __slots__ = ("command", "duration", "kind", "name", "target", "undo")

    def __init__(
        self,
        kind: StepKind,
        name: str,
        target: Address[Any] | None = None,
        command: Command[Any, Any] | None = None,
        undo: Command[Any, Any] | None = None,
        duration: timedelta = timedelta(0),
    ) -> None:
        if not 0 < len(name) <= NAME_LIMIT or "#" in name or "!" in name:
            # These two mark a step and its undo in command ids; without the rule two ids could be one.
            raise SagaMisuse(
                f"a step can't be called {name!r:.250}; use a name without # and !, like 'flight', of {NAME_LIMIT} "
                "characters at the most"
            )
        self.kind: StepKind = kind
        self.name = name
        self.target = target
        self.command = command
        self.undo = undo
        self.duration = duration

    def __await__(self) -> "Generator[tuple[Step[Any], ...], tuple[Any, ...], R_co]":
        replies = yield (self,)
        reply: R_co = replies[0]
        return reply


class Parallel(Generic[R_co]):
    """Several steps that run at once; await gives the tuple of their replies."""

    __slots__ = ("steps",)

    def __init__(self, steps: tuple[Step[Any], ...]) -> None:
        self.steps = steps

    def __await__(self) -> Generator[tuple[Step[Any], ...], tuple[Any, ...], R_co]:
        replies: Any = (yield self.steps) if self.steps else ()  # none to wait for: go on at once
        return replies  # type: ignore[no-any-return]


class Saga(Generic[C, R_co]):
    """An actor that leads a story of steps to one of three ends: completed, compensated, or visibly parked.

    ``Saga[BookTrip, TripBooked]`` is started by the command ``BookTrip`` and ends in a ``TripBooked``. Where the
    result is an :class:`Event`, it also becomes an event of the saga's stream, for read models to follow.
    When a step is refused, the deadline passes, or ``run`` raises :class:`Refused`, the steps that were done, or
    whose outcome is unknown, are undone in reverse order of completion, and the asker gets the ``Refused``.
    """

    deadline: ClassVar[timedelta | None] = None
    """How long the saga may take before its pivot; then it is compensated. None: no deadline."""
    retry: ClassVar[RetryPolicy] = RetryPolicy()
    undo_retry: ClassVar[RetryPolicy] = UNDO_RETRY
    mailbox: ClassVar[Mailbox] = Mailbox()
    passivation: ClassVar[Passivation] = Passivation()
    commands: ClassVar[Mapping[str, type[Command[Any, Any]]]] = {}
    result: ClassVar[Any] = None
    events: ClassVar[Mapping[str, type[Event]]] = {}
    upcasts: ClassVar[Sequence[Upcast]] = ()
    """What becomes of results that were stored as events in another form; see :mod:`actors.evolution`."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._calls = 0
        self._now: int | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for base in getattr(cls, "__orig_bases__", ()):
            if get_origin(base) is Saga:
                command, cls.result = get_args(base)
                cls.commands = by_name(cls, command, Command)
                if isinstance(cls.result, type) and issubclass(cls.result, Event):
                    cls.events = by_name(cls, cls.result, Event)
        check_takes_commands(cls, cls.commands, f"class {cls.__name__}(Saga[Command, Result])")
        steps_of(cls)
        if "run" in cls.__dict__:
            check_no_undo_after_pivot(cls)

    @classmethod
    def at(cls, key: str = "") -> Address[Self]:
        """Return the address of the saga of this class with this key."""
        return Address(cls.__name__, key)

    async def run(self, command: C) -> R_co:
        """Tell the story: await steps, return the result, or raise :class:`Refused`."""
        raise NotImplementedError(f"{type(self).__name__} needs an async run(self, command)")

    def ask(
        self, name: str, to: Address[A], command: Command[A, R1], *, undo: Command[A, Any] | None = None
    ) -> Step[R1]:
        """Send a command; the undo is written to the journal with it, before it can have any effect."""
        return Step("ask", name, to, command, undo)

    def pivot(self, name: str, to: Address[A], command: Command[A, R1]) -> Step[R1]:
        """Send the last command that may be refused; once it is done the saga only goes forward."""
        return Step("pivot", name, to, command)

    def sleep(self, name: str, duration: timedelta) -> Step[None]:
        """Wait; durable, so a crash doesn't shorten or restart it, and never early."""
        return Step("sleep", name, duration=duration)

    @overload
    def parallel(self, a: Step[R1], /) -> Parallel[tuple[R1]]: ...
    @overload
    def parallel(self, a: Step[R1], b: Step[R2], /) -> Parallel[tuple[R1, R2]]: ...
    @overload
    def parallel(self, a: Step[R1], b: Step[R2], c: Step[R3], /) -> Parallel[tuple[R1, R2, R3]]: ...
    @overload
    def parallel(self, a: Step[R1], b: Step[R2], c: Step[R3], d: Step[R4], /) -> Parallel[tuple[R1, R2, R3, R4]]: ...
    @overload
    def parallel(
        self, a: Step[R1], b: Step[R2], c: Step[R3], d: Step[R4], e: Step[R5], /
    ) -> Parallel[tuple[R1, R2, R3, R4, R5]]: ...
    @overload
    def parallel(self, *steps: Step[R1]) -> Parallel[tuple[R1, ...]]: ...

    def parallel(self, *steps: Step[Any]) -> Parallel[Any]:
        """Run steps at once. A refusal waits for the others' outcomes, then all that was done is undone."""
        return Parallel(steps)

    def now(self) -> datetime:
        """Return the time (UTC) of the event that brought the saga here; the same at every replay."""
        if self._now is None:
            raise SagaMisuse(f"{type(self).__name__}.now() is only there while run() is being run")
        return datetime.fromtimestamp(self._now / 1e6, UTC)

    def random(self) -> float:
        """Return a number in [0, 1) that is the same at every replay; not for secrets."""
        return Random(self.uuid().int).random()

    def uuid(self) -> uuid.UUID:
        """Return a new id that is the same at every replay: it is derived from the address and a count."""
        self._calls += 1
        return uuid.uuid5(uuid.NAMESPACE_URL, f"understudy:{type(self).at(self.key)}#{self._calls}")

    def at_time(self, now: int) -> None:
        """Set what :meth:`now` returns; called by the runtime before each resumption."""
        self._now = now
