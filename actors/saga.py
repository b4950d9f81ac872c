"""Sagas: a story of steps across actors, each with its undo; told forward, or undone in reverse.

``run`` is a coroutine that awaits only its own steps. The runtime drives it by hand and keeps every step's
intent and outcome in the saga's journal, so after a crash it is called again and fed what the journal holds.
The idea of compensating transactions: Garcia-Molina and Salem, "Sagas", SIGMOD 1987.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, ClassVar, Generic, Self, TypeVar, get_args, get_origin, overload

import msgspec

from actors.actor import Actor
from actors.address import Address
from actors.definition import (
    by_name,
    check_init,
    check_messages,
    check_places,
    check_settings,
    check_takes_commands,
    check_versions,
    queries_of,
)
from actors.errors import Refused, SagaMisuse
from actors.evolution import Upcast, steps_of
from actors.interceptors import Interceptor, check_interceptors
from actors.messages import Command, Event, Query, Request
from actors.policies import UNDO_RETRY, Mailbox, Passivation, Rate, RetryPolicy
from actors.saga_code import check_run
from actors.service import Service
from actors.steps import Parallel, Select, Step

A = TypeVar("A")
Answers = TypeVar("Answers", bound="Actor | Service[Any, Any, Any] | Saga[Any, Any]")
"""Who can be asked a query by a step: all but read models, whose answers come from a database, and late."""
C = TypeVar("C", bound=Command[Any, Any])
M = TypeVar("M", bound=Command[Any, None])
R_co = TypeVar("R_co", covariant=True)
R1 = TypeVar("R1")
R2 = TypeVar("R2")
R3 = TypeVar("R3")
R4 = TypeVar("R4")
R5 = TypeVar("R5")

Revise = Callable[[str, Command[Any, Any]], None]
"""Takes in another undo for a step that was done."""


class Saga(Generic[C, R_co]):
    """An actor that leads a story of steps to one of three ends: completed, compensated, or visibly parked.

    ``Saga[BookTrip, TripBooked]`` is started by the command ``BookTrip`` and ends in a ``TripBooked``. Where the
    result is an :class:`Event`, it also becomes an event of the saga's stream, for read models to follow.
    When a step is refused, the deadline passes, or ``run`` raises :class:`Refused`, the steps that were done, or
    whose outcome is unknown, are undone in reverse order of completion, and the asker gets the ``Refused``.

    While it is under way it takes the messages that ``receives`` names, and awaits them by :meth:`receive`. An
    ``answer(self, query)`` answers queries from what ``run`` has kept in ``self``, at any time and without waiting.
    """

    deadline: ClassVar[timedelta | None] = None
    """How long the saga may take before its pivot; then it is compensated. None: no deadline.

    It counts from when the saga begins, also where that had to wait for its place (see ``at_once``)."""
    at_once: ClassVar[int | None] = None
    """How many sagas of the class may be under way at once; those started beyond it wait for their place, durably, and
    begin by :meth:`priority_of`, then in the order of their coming. None: as many as there are.

    One is under way from its beginning to its end, also while it sleeps, waits for a message, or goes back; one that is
    parked is not. One that is asked by a saga of its own class, or that could make others wait in a circle, begins at
    once."""
    rate: ClassVar[Rate | None] = None
    """How fast sagas may start sagas of this class as their steps; None: as they come."""
    timeout: ClassVar[timedelta | None] = None
    """How long one attempt at a step, or at its undo, may take; then it has failed, what became of it is unknown, and
    it is tried again with the same id. None: as long as it takes."""
    retry: ClassVar[RetryPolicy] = RetryPolicy()
    undo_retry: ClassVar[RetryPolicy] = UNDO_RETRY
    mailbox: ClassVar[Mailbox] = Mailbox()
    passivation: ClassVar[Passivation] = Passivation()
    receives: ClassVar[Any] = ()
    """The messages that it takes while it is under way: ``Approve | Reject``. Each is a command answered by None."""
    version: ClassVar[int] = 1
    """To be changed when ``run`` changes so that it doesn't fit sagas that are under way; see ``older``."""
    older: ClassVar[Sequence[type["Saga[Any, Any]"]]] = ()
    """The classes by which sagas of older versions are brought to their end, each with its ``version``."""
    commands: ClassVar[Mapping[str, type[Command[Any, Any]]]] = {}
    """All commands that it takes, by stable name: those that start it and those that it receives."""
    messages: ClassVar[Mapping[str, type[Command[Any, Any]]]] = {}
    """The commands that it receives while it is under way, by stable name."""
    queries: ClassVar[Mapping[str, type[Query[Any, Any]]]] = {}
    """The queries that it answers, by stable name; read from the annotation of ``answer``."""
    result: ClassVar[Any] = None
    events: ClassVar[Mapping[str, type[Event]]] = {}
    upcasts: ClassVar[Sequence[Upcast]] = ()
    """What becomes of results that were stored as events in another form; see :mod:`actors.evolution`."""
    interceptors: ClassVar[Sequence[Interceptor]] = ()
    """What stands around requests to actors of this class, inside the runtime's own; see :mod:`actors.interceptors`."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._address: Address[Any] = type(self).at(key)
        self._calls = 0
        self._now: int | None = None
        self._revise: Revise | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        check_interceptors(cls.__name__, cls.interceptors)
        for base in getattr(cls, "__orig_bases__", ()):
            if get_origin(base) is Saga:
                command, cls.result = get_args(base)
                cls.commands = by_name(cls, command, Command)
                if isinstance(cls.result, type) and issubclass(cls.result, Event):
                    cls.events = by_name(cls, cls.result, Event)
        check_takes_commands(cls, cls.commands, f"class {cls.__name__}(Saga[Command, Result])")
        if "receives" in cls.__dict__ and cls.receives != ():
            cls.commands = {name: one for name, one in cls.commands.items() if name not in cls.messages}  # of a base
            cls.messages = by_name(cls, cls.receives, Command)
            check_messages(cls, cls.messages)
            cls.commands = {**cls.commands, **cls.messages}
        if "answer" in cls.__dict__:
            cls.queries = queries_of(cls, "query: A | B")
        check_init(cls)
        check_versions(cls)
        check_places(cls)
        check_settings(cls)
        steps_of(cls)
        if "run" in cls.__dict__:
            check_run(cls)

    @classmethod
    def at(cls, key: str = "") -> Address[Self]:
        """Return the address of the saga of this class with this key."""
        return Address(cls.__name__, key)

    @classmethod
    def priority_of(cls, command: C) -> int:  # noqa: ARG003 (it is for subclasses)
        """Return the priority of the saga that a command starts: from -9 to 9, higher ones go first; pure.

        By it sagas of the class begin that wait for their place (``at_once``), and steps of theirs are sent that wait
        for a :class:`Rate`. Each tenth turn is that of a lower priority, so that none waits for ever.
        """
        return 0

    async def run(self, command: C) -> R_co:
        """Tell the story: await steps, return the result, or raise :class:`Refused`."""
        raise NotImplementedError(f"{type(self).__name__} needs an async run(self, command)")

    def answer(self, query: Any) -> Any:
        """Answer a query from what ``run`` has kept in ``self``; pure, and it changes nothing.

        It is asked of a saga that was run again from its story, so it may come at any time, also when all is over.
        """
        raise NotImplementedError(f"{type(self).__name__} needs an answer(self, query)")

    # -- steps --------------------------------------------------------------------------------------------------

    @overload
    def ask(
        self,
        name: str,
        to: Address[Answers],
        command: Query[Answers, R1],
        *,
        timeout: timedelta | None = None,
        retry: RetryPolicy | None = None,
    ) -> Step[R1]: ...
    @overload
    def ask(
        self,
        name: str,
        to: Address[A],
        command: Command[A, R1],
        *,
        undo: Command[A, Any] | msgspec.UnsetType | None = msgspec.UNSET,
        timeout: timedelta | None = None,
        retry: RetryPolicy | None = None,
        undo_retry: RetryPolicy | None = None,
        lock: bool = False,
    ) -> Step[R1]: ...

    def ask(
        self,
        name: str,
        to: Address[A],
        command: Request[A, R1],
        *,
        undo: Command[A, Any] | msgspec.UnsetType | None = msgspec.UNSET,
        timeout: timedelta | None = None,
        retry: RetryPolicy | None = None,
        undo_retry: RetryPolicy | None = None,
        lock: bool = False,
    ) -> Step[R1]:
        """Send a command; the undo is written to the journal with it, before it can have any effect.

        Another saga that is asked is compensated by going back, also when it has completed; ``undo=None`` leaves it as
        it is. ``timeout``, ``retry`` and ``undo_retry`` are for this step, instead of the saga's own. ``lock`` takes
        the service's lock that the command needs, until the saga has ended.

        A query's answer, of a service, a saga or a plain actor, is kept like any reply; there is nothing to undo.
        """
        return Step("ask", name, to, command, undo, None, None, None, timeout, retry, undo_retry, lock)

    def optional(self, step: Step[R1]) -> Step[R1 | Refused]:
        """Make a refusal of this step a value, ``Refused``, by which the story goes on.

        Where an attempt before had an unknown outcome, the step is undone all the same.
        """
        return step.made_optional()

    def pivot(
        self,
        name: str,
        to: Address[A],
        command: Command[A, R1],
        *,
        timeout: timedelta | None = None,
        retry: RetryPolicy | None = None,
        lock: bool = False,
    ) -> Step[R1]:
        """Send the last command that may be refused; once it is done the saga only goes forward."""
        return Step("pivot", name, to, command, timeout=timeout, retry=retry, lock=lock)

    def sleep(self, name: str, duration: timedelta) -> Step[None]:
        """Wait; durable, so a crash doesn't shorten or restart it, and never early."""
        return Step("sleep", name, duration=duration)

    def sleep_until(self, name: str, until: datetime) -> Step[None]:
        """Wait until a time; as durable as :meth:`sleep`. One that has passed is over at once."""
        if until.tzinfo is None:
            raise SagaMisuse(f"step {name!r} sleeps until {until}, in any time zone; write datetime(..., tzinfo=UTC)")
        return Step("sleep", name, until=until)

    @overload
    def receive(self, message: type[M], /, *, name: str | None = None) -> Step[M]: ...
    @overload
    def receive(self, message: type[M], /, *, name: str | None = None, timeout: timedelta) -> Step[M | None]: ...

    def receive(self, message: type[M], /, *, name: str | None = None, timeout: timedelta | None = None) -> Step[Any]:
        """Wait for a message to the saga, of a class that ``receives`` names; with a timeout, None when it has passed.

        Messages that came before wait for it, in order; each is taken once. The step's name is that of the class, or
        ``name`` where the class is awaited more than once.
        """
        if message not in self.messages.values():
            raise SagaMisuse(
                f"{type(self).__name__} awaits {message.__name__}, which nobody could send it; write "
                f"receives = {message.__name__} in the class"
            )
        return Step("receive", message.__name__ if name is None else name, awaits=message, duration=timeout)

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

    @overload
    def select(self, a: Step[R1], /) -> Select[R1]: ...
    @overload
    def select(self, a: Step[R1], b: Step[R2], /) -> Select[R1 | R2]: ...
    @overload
    def select(self, a: Step[R1], b: Step[R2], c: Step[R3], /) -> Select[R1 | R2 | R3]: ...
    @overload
    def select(self, a: Step[R1], b: Step[R2], c: Step[R3], d: Step[R4], /) -> Select[R1 | R2 | R3 | R4]: ...
    @overload
    def select(self, *steps: Step[R1]) -> Select[R1]: ...

    def select(self, *steps: Step[Any]) -> Select[Any]:
        """Run steps at once, and go on with the first that is done: ``Chosen(name, reply)``.

        The others are given up: those with an undo are undone, whatever becomes of them, before the saga completes;
        sleeps and receives are dropped. One that is refused is out of the race; when all are, the last refusal counts.
        """
        return Select(steps)

    def revise_undo(self, step: str, undo: Command[Any, Any]) -> None:
        """Have a step that was done undone in another way, by what its reply says: ``Refund(receipt.number)``.

        It is durable with the outcome that brought the saga here, so there is no moment in which it is forgotten.

        Raises:
            SagaMisuse: the step isn't done, or the saga is past its pivot.
        """
        if self._revise is None:
            raise SagaMisuse(f"{type(self).__name__}.revise_undo() is only there while run() is being run")
        self._revise(step, undo)

    # -- what is the same at every replay -----------------------------------------------------------------------

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
        return uuid.uuid5(uuid.NAMESPACE_URL, f"understudy:{self._address}#{self._calls}")

    # -- for who drives it --------------------------------------------------------------------------------------

    def play_as(self, address: Address[Any], revise: Revise) -> None:
        """Say whose story it is (that of a newer class, where this one is an older one), and what takes new undos."""
        self._address, self._revise = address, revise

    def at_time(self, now: int) -> None:
        """Set what :meth:`now` returns; called by the runtime before each resumption."""
        self._now = now
