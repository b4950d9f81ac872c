"""Plain actors: the ones that talk to the outside world."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol, Self, TypeVar

from actors.address import Address
from actors.definition import annotated, by_name
from actors.errors import RuntimeClosed
from actors.messages import Command, Request
from actors.policies import RestartPolicy
from actors.reminders import Remind

A = TypeVar("A")
R = TypeVar("R")


class Asker(Protocol):
    """What an actor needs of its runtime to talk to others."""

    async def ask(self, address: Address[A], request: Request[A, R], /, *, id: str | None = None) -> R:  # noqa: A002
        """Send a request and wait for its reply."""
        ...


class Host(Asker, Protocol):
    """What runs an actor: lets it talk to others, and keeps its reminders."""

    async def remind(self, reminder: Remind, /) -> None:
        """Set a reminder for the actor."""
        ...

    async def forget_reminder(self, name: str, /) -> None:
        """Drop a reminder of the actor."""
        ...


class Actor:
    """An async actor that may do I/O and keeps nothing across crashes.

    It gets its mail when everything that caused it is durable, at least once: ``self.message_id`` is the same
    each time one message comes, and is the idempotency key to hand to the outside world. What ``receive``
    returns is the reply; raising :class:`Refused` is a business 'no', any other exception a failure, after which
    the actor is started anew.
    """

    restart: ClassVar[RestartPolicy] = RestartPolicy()
    commands: ClassVar[Mapping[str, type[Request[Any, Any]]]] = {}
    """The message classes that it takes, by stable name; read from the annotation of ``receive``."""
    message_id: str = ""

    def __init__(self, key: str) -> None:
        self.key = key
        self._host: Host | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "receive" in cls.__dict__:
            cls.commands = by_name(cls, annotated(cls, "receive", "message: A | B"), Request)

    @classmethod
    def at(cls, key: str = "") -> Address[Self]:
        """Return the address of the actor of this class with this key."""
        return Address(cls.__name__, key)

    async def receive(self, message: Any) -> Any:
        """Handle one message; the return value is the reply."""
        raise NotImplementedError(f"{type(self).__name__} needs an async receive(self, message)")

    async def ask(self, address: Address[A], request: Request[A, R], *, id: str | None = None) -> R:  # noqa: A002
        """Ask another actor and wait for its reply.

        The id, where none is given, follows from the id of the message that is being handled and from how many asks it
        has made so far: when the message comes again, what it asks for takes effect once.

        Raises:
            Refused: a business 'no'.
            Failed: the other could not handle it.
            OutcomeUnknown: it may or may not have taken effect.
        """
        return await self._attached(f"ask {address}").ask(address, request, id=id)

    async def remind(
        self,
        name: str,
        command: Command[Self, Any],
        *,
        after: timedelta | None = None,
        at: datetime | None = None,
        every: timedelta | None = None,
    ) -> None:
        """Have a command sent to this actor later; durable when this returns.

        Once, ``after`` a time from now or ``at`` a time; again and again with ``every``. The same name again replaces
        the reminder. It never comes early; after a crash it may come again, with the same ``message_id``.

        Raises:
            ValueError: the name is empty, or the times can't be meant; see :class:`actors.reminders.Remind`.
            NotTaken: this actor doesn't take the command.
            Failed: it can't be stored, or 1,000 are pending already.
            OutcomeUnknown: it may or may not have been set; set it again.
        """
        reminder = Remind(name, command, after, at, every, self.at(self.key))
        await self._attached("be reminded").remind(reminder)

    async def forget(self, name: str) -> None:
        """Drop a reminder of this actor, if there is one; that is durable when this returns.

        Raises:
            OutcomeUnknown: it may or may not have been dropped; drop it again.
        """
        await self._attached("forget").forget_reminder(name)

    def attach(self, host: Host) -> None:
        """Give the actor its runtime; called once, by the runtime."""
        self._host = host

    def _attached(self, what: str) -> Host:
        if self._host is None:
            raise RuntimeClosed(f"{type(self).__name__} is not run by a runtime, so it can't {what}")
        return self._host
