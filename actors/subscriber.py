"""Subscribers: effects from events. Mail, webhooks, and what the events of one actor set off in others."""

from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar

from actors.address import Address
from actors.definition import annotated, by_name, check_async, check_choices, check_settings
from actors.errors import ActorMisuse, DefinitionError
from actors.messages import Command, Event, Meta, Request
from actors.policies import RetryPolicy

A = TypeVar("A")
R = TypeVar("R")

HOW_TO_WRITE = "event: A | B, meta: Meta"
MOST_AT_ONCE = 1_000
"""The most events that one subscriber may handle at once."""


class Reaction(Protocol):
    """What a subscriber needs of its runtime while it handles an event."""

    @property
    def event_id(self) -> str:
        """The id of the event that is being handled."""
        ...

    def ask(
        self,
        address: Address[A],
        request: Request[A, R],
        /,
        *,
        id: str | None = None,  # noqa: A002
        timeout: float | None = None,
        consistent: bool = False,
        after: int | None = None,
    ) -> Coroutine[Any, Any, R]:
        """Send a request; await the reply."""
        ...

    def tell(self, address: Address[A], message: Command[A, Any], id: str | None = None, /) -> None:  # noqa: A002
        """Send a command; the event is handled when it has arrived."""
        ...


class Subscriber:
    """Follows the journal, and does something outside for each event, at least once.

    ``handle`` gets an event when it is durable, those of one :meth:`key` one after the other and in order, none left
    out. After a crash those come again that were handled and of which that was not noted yet: with the same
    ``self.event_id``, which is the idempotency key to hand to the outside world. The events that it follows are
    those in the annotation of ``handle``, or with ``Event`` all that there are; ``categories`` and ``tags`` choose
    among them.

    An event that can't be handled is tried again (``retry``), then it is set aside, and with it all later events of its
    key; others go on. How far it is is never begun anew by another version of the class. See ``docs/subscribers.md``.
    """

    since: ClassVar[Literal["now", "beginning"] | int | datetime] = "now"
    """Which events it gets when it is started for the first time: those from then on, or all that there are, or those
    behind a position, or from a time on. Afterwards it goes on where it was."""
    at_once: ClassVar[int] = 8
    """How many events it handles at once, each of another key."""
    retry: ClassVar[RetryPolicy] = RetryPolicy()
    """How an event that can't be handled is tried again, and for how long; an error of a ``final`` class sets it aside
    at once."""
    parked_limit: ClassVar[int] = 10_000
    """How many events may be set aside; at the next one the whole subscriber is parked. 0: at the first one."""
    time_limit: ClassVar[timedelta | None] = timedelta(minutes=5)
    """How long handling one event may take, and starting and stopping; then it is cancelled, and has failed. None: as
    long as it likes."""
    follows: ClassVar[Mapping[str, type[Event]]] = {}
    """The event classes that it follows, by stable name; read from the annotation of ``handle``. ``Event``: all."""
    categories: ClassVar[Sequence[str]] = ()
    """The classes of actors whose events it follows, by name; none: those of all."""
    tags: ClassVar[Sequence[str]] = ()
    """Only events that have all of these tags are followed; see ``Service.tags``."""

    def __init__(self) -> None:
        self._reaction: Reaction | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "handle" in cls.__dict__:
            check_async(cls, "handle", HOW_TO_WRITE)
            cls.follows = by_name(cls, annotated(cls, "handle", HOW_TO_WRITE), Event)
        check_choices(cls)
        check_settings(cls)
        _check(cls)

    @classmethod
    def at(cls, key: str = "") -> Address[Self]:
        """Return the address of the subscriber."""
        return Address(cls.__name__, key)

    # -- what a subclass writes ---------------------------------------------------------------------------------

    async def started(self) -> None:
        """Open what it needs, before the first event; again after each crash."""

    async def handle(self, event: Any, meta: Meta) -> None:
        """Do what an event is to set off. It may come again, with the same ``self.event_id``."""
        raise NotImplementedError(f"{type(self).__name__} needs an async handle(self, {HOW_TO_WRITE})")

    async def stopped(self) -> None:
        """Close what it has opened: when the runtime closes, and before it is started again."""

    def key(self, event: Any, meta: Meta) -> str:  # noqa: ARG002 (it is for subclasses)
        """Return whose an event is: those of one key are handled one after the other, in order. Pure.

        Where one can't be handled, the later ones of its key wait for it. By default each stream is for itself.
        """
        return f"{meta.actor}/{meta.key}"

    # -- what it can do while it handles an event ---------------------------------------------------------------

    @property
    def event_id(self) -> str:
        """The id of the event that is being handled: the same each time that it comes.

        It is ``meta.event_id``; where an upcast makes several events of a stored one, the second ends with ``#2``.
        """
        return self._here().event_id

    def ask(
        self,
        address: Address[A],
        request: Request[A, R],
        *,
        id: str | None = None,  # noqa: A002
        timeout: float | None = None,
        consistent: bool = False,
        after: int | None = None,
    ) -> Coroutine[Any, Any, R]:
        """Ask an actor and wait for its reply, for ``timeout`` seconds.

        The id, where none is given, follows from that of the event, from the subscriber's name and from how many
        requests the event has led to so far: when it comes again, what is asked for takes effect once. A query has
        none. A read model answers it with what is there now, which may be older than the event; with
        ``after=meta.position`` when it has seen the event, with ``consistent=True`` all that was committed before.

        Raises:
            Refused: a business 'no'.
            Failed: the actor could not handle it.
            OutcomeUnknown: it may or may not have taken effect.
            MailboxFull: the mailbox had no room in time.
            ReadModelBehind: a read model has not come so far in time.
            Parked: it won't, or has set aside what the query is about.
            NotTaken, UnknownActor: nobody here takes this.
        """
        return self._here().ask(address, request, id=id, timeout=timeout, consistent=consistent, after=after)

    def tell(self, address: Address[A], message: Command[A, Any], *, id: str | None = None) -> None:  # noqa: A002
        """Send a command without waiting for the reply. The event is handled only when that command is.

        What it has led to is durable then (a saga: that it was started). Where the command fails the event has failed,
        and is handled again; a refusal is a dead letter. The id is as for :meth:`ask`.

        Raises:
            NotTaken, UnknownActor: nobody here takes this.
            ActorMisuse: one event has led to 10,000 commands already.
        """
        self._here().tell(address, message, id)

    # -- for the runtime ----------------------------------------------------------------------------------------

    def attach(self, reaction: Reaction | None) -> None:
        """Give it its runtime, and take it away at its end; called by the runtime."""
        self._reaction = reaction

    def _here(self) -> Reaction:
        if self._reaction is None:
            raise ActorMisuse(f"{type(self).__name__} is not run by a runtime, or has ended")
        return self._reaction


def _check(cls: type[Subscriber]) -> None:
    since: Any = cls.since
    position = type(since) is int and since >= 0
    moment = isinstance(since, datetime) and since.tzinfo is not None
    if since not in ("now", "beginning") and not position and not moment:
        raise DefinitionError(
            f'{cls.__name__} has since = {since!r}; write "now", "beginning", a position of the journal, or a time '
            "with its zone: datetime(..., tzinfo=UTC)"
        )
    if type(cls.at_once) is not int or not 1 <= cls.at_once <= MOST_AT_ONCE:
        raise DefinitionError(f"{cls.__name__} needs at_once of 1 to {MOST_AT_ONCE:,} events, not {cls.at_once!r}")
