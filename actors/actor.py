"""Plain actors: state in memory, timers, children, and, where they are async, the outside world."""

import inspect
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar

from actors.address import Address
from actors.definition import annotated, by_name, check_actor, check_init, check_settings
from actors.errors import ActorMisuse
from actors.interceptors import Interceptor, check_interceptors
from actors.messages import Command, Request
from actors.policies import Group, Mailbox, Passivation, Pool, Rate, RestartPolicy
from actors.reminders import Remind

A = TypeVar("A")
R = TypeVar("R")

Reason = Literal["finished", "crashed", "parked", "killed"]


class Stopped(Command[Any, None]):
    """Told to an actor about one that it watched: it has ended, and why.

    ``error`` says what went wrong, where something did. It comes after all that the watched actor had sent before.
    """

    address: Address[Any]
    reason: Reason
    error: str = ""


class Timer(Protocol):
    """A timer of a plain actor's."""

    def cancel(self) -> None:
        """Take the timer back; does nothing when it has fired."""
        ...


class Context(Protocol):
    """What a plain actor needs of its runtime."""

    @property
    def message_id(self) -> str:
        """The id of the message that is being handled."""
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
    ) -> Coroutine[Any, Any, R]:
        """Send a request; await the reply."""
        ...

    def tell(self, address: Address[A], message: Command[A, Any], id: str | None = None, /) -> None:  # noqa: A002
        """Send a command without waiting for a reply."""
        ...

    def watch(self, address: Address[Any], /) -> None:
        """Have the actor told when another one ends."""
        ...

    def unwatch(self, address: Address[Any], /) -> None:
        """Take a watch back."""
        ...

    def spawn(self, address: Address[Any], /) -> None:
        """Start a child."""
        ...

    def after(self, delay: timedelta, message: Command[Any, Any], every: timedelta | None, /) -> Timer:
        """Send the actor a message later."""
        ...

    async def remind(self, reminder: Remind, /) -> None:
        """Set a reminder for the actor."""
        ...

    async def forget_reminder(self, name: str, /) -> None:
        """Drop a reminder of the actor."""
        ...

    def stash(self) -> None:
        """Put the message that is being handled aside."""
        ...

    def unstash(self) -> None:
        """Put all that was put aside back."""
        ...

    def finish(self) -> None:
        """End in order, after this message."""
        ...


class Actor:
    """An actor that keeps nothing across crashes.

    With ``async def receive`` it may do I/O. It gets its mail when everything that caused it is durable, at least once:
    ``self.message_id`` is the same each time one message comes, and is the idempotency key to hand to the outside
    world. It handles one message at a time, or up to ``at_once``.

    With ``def receive`` it is handled like a service, in a turn of its own without a task, and much faster. It can't
    await, and must do nothing outside: what it is told may not be durable yet, and when the journal can't be written it
    is dropped with what was lost.

    What ``receive`` returns is the reply; raising :class:`Refused` is a business 'no', any other exception a failure,
    after which the actor is started anew.
    """

    restart: ClassVar[RestartPolicy] = RestartPolicy()
    mailbox: ClassVar[Mailbox] = Mailbox()
    passivation: ClassVar[Passivation] = Passivation()
    pool: ClassVar[Pool | None] = None
    """How many workers stand behind each address of the class; None: the actor itself."""
    rate: ClassVar[Rate | None] = None
    """How fast sagas may send steps to actors of this class, all together; None: as they come."""
    children: ClassVar[Group] = Group()
    """How its children are supervised; it has no ``members``, for children are started by :meth:`spawn`."""
    at_once: ClassVar[int] = 1
    """How many messages it handles at once; more than one only where ``receive`` is async."""
    time_limit: ClassVar[timedelta | None] = timedelta(minutes=5)
    """How long handling one message, starting or stopping may take, where they are async; then it is cancelled, and the
    actor has crashed. None: as long as it likes."""
    commands: ClassVar[Mapping[str, type[Request[Any, Any]]]] = {}
    """The message classes that it takes, by stable name; read from the annotation of ``receive``."""
    is_async: ClassVar[bool] = True
    """Whether ``receive`` is async; read from its definition."""
    interceptors: ClassVar[Sequence[Interceptor]] = ()
    """What stands around requests to actors of this class, inside the runtime's own; see :mod:`actors.interceptors`."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._context: Context | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        check_interceptors(cls.__name__, cls.interceptors)
        if "receive" in cls.__dict__:
            cls.commands = by_name(cls, annotated(cls, "receive", "message: A | B"), Request)
            cls.is_async = inspect.iscoroutinefunction(cls.__dict__["receive"])
        check_init(cls)
        check_actor(cls)
        check_settings(cls)

    @classmethod
    def at(cls, key: str = "") -> Address[Self]:
        """Return the address of the actor of this class with this key."""
        return Address(cls.__name__, key)

    # -- what a subclass writes ---------------------------------------------------------------------------------

    def started(self) -> Awaitable[None] | None:
        """Prepare for work, before the first message; mail waits meanwhile. May be async where ``receive`` is."""

    def receive(self, message: Any) -> Any:
        """Handle one message; the return value is the reply."""
        raise NotImplementedError(f"{type(self).__name__} needs a receive(self, message: A | B), async or not")

    def stopped(self) -> Awaitable[None] | None:
        """Clean up: it has finished, has crashed, or is leaving the memory. Not called when it is killed."""

    # -- what it can do while it handles a message --------------------------------------------------------------

    @property
    def message_id(self) -> str:
        """The id of the message that is being handled: the same each time that message comes."""
        return self._here().message_id

    def ask(
        self,
        address: Address[A],
        request: Request[A, R],
        *,
        id: str | None = None,  # noqa: A002
        timeout: float | None = None,
        consistent: bool = False,
    ) -> Coroutine[Any, Any, R]:
        """Ask another actor and wait for its reply, for ``timeout`` seconds, or until its own asker's deadline.

        The id, where none is given, follows from the id of the message that is being handled and from how many requests
        it has sent so far: when the message comes again, what it asks for takes effect once. A query has none; with
        ``consistent=True`` a read model answers it only when it has seen all that was committed before.

        Raises:
            Refused: a business 'no'.
            Failed: the other could not handle it.
            OutcomeUnknown: it may or may not have taken effect.
            AskCycle: the other waits, itself or through others, for this one.
            MailboxFull: the other's mailbox had no room in time.
            ReadModelBehind: a read model has not come so far in time.
            ActorMisuse: at once, where ``receive`` isn't async.
        """
        return self._here().ask(address, request, id=id, timeout=timeout, consistent=consistent)

    def tell(self, address: Address[A], message: Command[A, Any], *, id: str | None = None) -> None:  # noqa: A002
        """Send a command without waiting for a reply, or for room.

        Raises:
            MailboxFull: there is no room in the mailbox.
            NotTaken, UnknownActor: nobody here takes this.
        """
        context = self._context or self._here()
        context.tell(address, message, id)

    def watch(self, address: Address[Any]) -> None:
        """Have :class:`Stopped` sent here when another actor ends: at once, if it is not alive.

        A plain actor is alive while it is in memory. A service rests without ending; a saga ends when its story does.
        A watch is over when it has been told, and when the watching actor itself ends.

        Raises:
            NotTaken: this actor's ``receive`` doesn't take ``Stopped``.
            UnknownActor: there is no such class of actors here.
        """
        self._here().watch(address)

    def unwatch(self, address: Address[Any]) -> None:
        """Take a watch back; nothing is told any more."""
        self._here().unwatch(address)

    def spawn(self, address: Address[A]) -> Address[A]:
        """Make a plain actor a child, supervised as ``children`` says: start it, if need be; it ends with this one.

        Raises:
            NotTaken: the address is not a plain actor's, or a pool's.
            ActorMisuse: it has a parent or a group already, or is this one's own.
        """
        self._here().spawn(address)
        return address

    def after(self, delay: timedelta, message: Command[Self, Any]) -> Timer:
        """Send this actor a message later, never early. The timer ends with the actor."""
        return self._here().after(delay, message, None)

    def every(self, interval: timedelta, message: Command[Self, Any]) -> Timer:
        """Send this actor a message again and again, one interval apart; what was missed is sent once."""
        return self._here().after(interval, message, interval)

    async def remind(
        self,
        name: str,
        command: Command[Self, Any],
        *,
        after: timedelta | None = None,
        at: datetime | None = None,
        every: timedelta | None = None,
    ) -> None:
        """Have a command sent to this actor later; durable when this returns. Only where ``receive`` is async.

        Once, ``after`` a time from now or ``at`` a time; again and again with ``every``. The same name again replaces
        the reminder. It never comes early; after a crash it may come again, with the same ``message_id``.

        Raises:
            ValueError: the name is empty, or the times can't be meant; see :class:`actors.reminders.Remind`.
            NotTaken: this actor doesn't take the command.
            Failed: it can't be stored, or 1,000 are pending already.
            OutcomeUnknown: it may or may not have been set; set it again.
        """
        await self._here().remind(Remind(name, command, after, at, every, self.at(self.key)))

    async def forget(self, name: str) -> None:
        """Drop a reminder of this actor, if there is one; that is durable when this returns.

        Raises:
            OutcomeUnknown: it may or may not have been dropped; drop it again.
        """
        await self._here().forget_reminder(name)

    def stash(self) -> None:
        """Put the message that is being handled aside until :meth:`unstash`; its asker goes on waiting.

        Raises:
            MailboxFull: as much is stashed as the mailbox may hold.
        """
        self._here().stash()

    def unstash(self) -> None:
        """Put all that was stashed back, before all other mail, in the order in which it came."""
        self._here().unstash()

    def stop(self) -> None:
        """End in order when this message has been handled; mail that comes later starts the actor anew.

        Raises:
            ActorMisuse: no message is being handled, as in ``started`` and ``stopped``.
        """
        self._here().finish()

    # -- for the runtime ----------------------------------------------------------------------------------------

    def attach(self, context: Context | None) -> None:
        """Give the actor its runtime, and take it away at its end; called by the runtime."""
        self._context = context

    def _here(self) -> Context:
        if self._context is None:
            raise ActorMisuse(
                f"{type(self).__name__} is not run by a runtime (or only being made: see started(); or has ended)"
            )
        return self._context
