"""Messages: immutable, tagged values that actors send each other and journals keep.

An **event** says that something happened, a **command** asks for a change, a **query** asks to be told.
A class becomes one by its base, and is frozen without saying so::

    class SeatHeld(Event):
        trip: str
        seat: int

    class HoldSeat(Command["Flight", Held]):  # a command to Flight, answered by Held
        trip: str

The name under which a message is stored is its class's name; ``class SeatHeld(Event, tag="seat-held")`` pins
another one, so that the class can be renamed later. ``class SeatHeld(Event, aliases=("SeatTaken",))`` reads what was
stored under a name that it had before, and ``class SeatHeld(Event, revision=2)`` says that its fields are not those of
the first one any more; see :mod:`actors.evolution`.
"""

import sys
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Generic, TypeGuard, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

import msgspec

from actors.address import Address
from actors.errors import DefinitionError
from actors.reminders import Forget, Remind

A = TypeVar("A")
R = TypeVar("R")

A_contra = TypeVar("A_contra", contravariant=True)
"""The actor that takes a request. Contravariant, so that a wrong address has no common type to hide behind."""
R_co = TypeVar("R_co", covariant=True)
"""The reply. Covariant, so that a reply may go where something wider is taken: mypy infers the reply from there,
and would refuse ``print(await ask(...))``. Narrowing it, ``x: int = await ask(...)``, stays an error."""


class MessageMeta(msgspec.StructMeta):
    """Sees to it that a class that can't be a message fails where it is written."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> "MessageMeta":
        """Make the class, then check that its values can be shared and stored."""
        namespace["__aliases__"] = aliases = options.pop("aliases", ())
        namespace["__revision__"] = revision = options.pop("revision", 1)
        cls = super().__new__(mcls, name, bases, namespace, **options)
        config = cls.__struct_config__
        if not config.frozen:
            raise DefinitionError(f"{name} must stay frozen, for others hold the same value; leave out frozen=False")
        tagged = [base for base in bases if isinstance(base, MessageMeta) and base.__struct_config__.tag is not None]
        if tagged and not isinstance(config.tag, str):
            raise DefinitionError(f'{name} needs a text as its stable name, not {config.tag!r}; write tag="{name}"')
        if tagged and (config.tag_field != "type" or config.array_like):
            raise DefinitionError(
                f"{name} must be stored as an object with its name in 'type'; leave out tag_field= and array_like="
            )
        for base in tagged:
            if config.tag == base.__struct_config__.tag:
                # msgspec hands a tag that was written out down to subclasses: two classes would share one name.
                raise DefinitionError(
                    f"{name} would be stored as {config.tag!r}, like its base {base.__name__}; give it a tag of its "
                    f'own: class {name}({base.__name__}, tag="...")'
                )
        if aliases != () or (type(revision), revision) != (int, 1):
            _check_past(cls, aliases, revision)
        return cls


def _check_past(cls: MessageMeta, aliases: Any, revision: Any) -> None:
    """Check what a class says of the names and forms that it had before."""
    name, tag = cls.__name__, cls.__struct_config__.tag
    if not isinstance(aliases, tuple) or not all(isinstance(alias, str) and alias for alias in aliases):  # pyright: ignore[reportUnknownVariableType]
        raise DefinitionError(f'{name}: the names that it had before must be texts; write aliases=("OldName",)')
    if tag in aliases:
        raise DefinitionError(f"{name}: {tag!r} is its name today, and no alias; leave it out of aliases=")
    if len(set(aliases)) < len(aliases):  # pyright: ignore[reportUnknownArgumentType]
        raise DefinitionError(f"{name} has an alias twice; leave one out")
    if aliases and not issubclass(cls, (Event, Request)):
        raise DefinitionError(
            f"{name} has aliases, but only events, commands and queries are looked for by name; write "
            f'tag="{aliases[0]}" to keep the name that it had'
        )
    if type(revision) is not int or revision < 1:
        raise DefinitionError(f"{name}: a revision is a number from 1, not {revision!r}")
    if revision > 1 and not issubclass(cls, Event):
        raise DefinitionError(f"{name} has a revision, but only events have one; leave out revision=")


# On the base classes, for mypy asks them before the metaclass, and msgspec's own base says that nothing is frozen.
@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Message(msgspec.Struct, metaclass=MessageMeta, frozen=True, tag=True):
    """An immutable value with a stable name; the base of events, commands, queries and replies."""


class Event(Message):
    """Something that happened. Named in the past tense, never changed, never deleted."""


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class State(msgspec.Struct, metaclass=MessageMeta, frozen=True):
    """What a service knows, folded from its events. Replaced, never changed: use ``msgspec.structs.replace``."""


class Request(Message, Generic[A_contra, R_co]):
    """A message that names the actor that takes it and the reply that it gives; base of commands and queries."""


class Command(Request[A_contra, R_co]):
    """Please change: ``Command["Flight", Held]`` is taken by ``Flight`` and answered by ``Held``."""

    # A covariant parameter is unsound only for who holds the command as one with a wider reply; its service doesn't.
    def reply(self, reply: R_co, /, *events: Event) -> "Decision":  # type: ignore[misc] # pyright: ignore[reportGeneralTypeIssues]
        """Decide: answer with ``reply``, and let ``events`` have happened (none: nothing changed)."""
        return Decision(reply, events)


class Query(Request[A_contra, R_co]):
    """Please tell: changes nothing."""


def is_query(request: Request[A, R]) -> TypeGuard[Query[A, R]]:
    """Whether a request is a query; for where each message passes.

    ``isinstance`` asks a class's metaclass first where that is not ``type``, which takes ten times as long.
    """
    return Query in type(request).__mro__


class Condition(msgspec.Struct, frozen=True):
    """What a decision rests on beside its service's own state; made by :meth:`Decision.unless`."""

    because: str
    events: tuple[type[Event], ...]
    tags: tuple[str, ...]
    after: int


class Decision(msgspec.Struct, frozen=True):
    """What a service answers to a command, and the events that make it so; made by ``command.reply``.

    Reminders are set and dropped with it, in the order in which they are named here, and are written with its events
    or not at all::

        return command.reply(Held(seat), SeatHeld(trip)).remind("expire", ExpireHold(trip), after=timedelta(minutes=10))
        return command.reply(None, SeatPaid(trip)).forget("expire")

    A rule that other services' events can break is a condition of the decision, and is looked at in the journal, in
    the same moment in which the events are written::

        return command.reply(None, Registered(mail)).unless("the address is taken", Registered, tags=[f"mail:{mail}"])
    """

    reply: object
    events: tuple[Event, ...]
    reminders: tuple[Remind | Forget, ...] = ()
    conditions: tuple[Condition, ...] = ()

    def remind(
        self,
        name: str,
        command: Command[A, Any],
        *,
        after: timedelta | None = None,
        at: datetime | None = None,
        every: timedelta | None = None,
        to: Address[A] | None = None,
    ) -> "Decision":
        """Return this decision, and have a command sent later: to the service itself, or to another actor.

        ``after`` counts from the service's turn, so that ``decide`` needs no clock; ``every`` repeats it, for the
        first time at that time or, with ``every`` alone, after one interval. Setting a name again replaces its
        reminder. It comes when the time has come and never before, also after a crash; a time that was missed, once.
        A service takes each into account once; a plain actor may get one again, with the same ``message_id``.

        Raises:
            ValueError: the name is empty, or the times can't be meant; see :class:`actors.reminders.Remind`.
        """
        reminder = Remind(name, command, after, at, every, to)
        return Decision(self.reply, self.events, (*self.reminders, reminder), self.conditions)

    def forget(self, name: str) -> "Decision":
        """Return this decision, and drop a reminder of the service's own; does nothing where there is none."""
        return Decision(self.reply, self.events, (*self.reminders, Forget(name)), self.conditions)

    def unless(self, because: str, *events: type[Event], tags: Iterable[str], after: int = 0) -> "Decision":
        """Return this decision, on condition that no event of any service stands against it.

        Such an event is of any of these classes (without any: of every class) and has all of these tags, which its
        service gave it by :meth:`Service.tags`. One at or before the position ``after`` is known already, and does not
        count. Where there is one, the command is refused for the reason ``because``, and nothing has happened. So a
        rule holds across all services, and on PostgreSQL across all processes, without a saga. Prior art: dynamic
        consistency boundaries (https://dcb.events).

        The service takes no other mail until the journal has answered: about as long as one group takes to write.

        Raises:
            ValueError: no tag is named, and all of the journal would have to be looked through.
        """
        condition = Condition(because, events, tuple(tags), after)
        if not condition.tags:
            raise ValueError(f'unless({because!r}) names no tags; write tags=["mail:ana@example.org"], say')
        return Decision(self.reply, self.events, self.reminders, (*self.conditions, condition))


class Meta(msgspec.Struct, frozen=True):
    """Where an event stands and where it came from.

    ``position`` counts from 1 through the whole journal without gaps, ``version`` from 1 through one stream.
    ``causation`` is the id of the message that caused the event, ``correlation`` the id of the request or saga
    in whose name all of it happened. ``context`` is the request context in which that was asked for; see
    :class:`actors.request_context.context`.
    """

    actor: str
    key: str
    version: int
    position: int
    time: datetime
    causation: str
    correlation: str
    tags: tuple[str, ...] = ()
    context: Mapping[str, str] = {}

    @property
    def event_id(self) -> str:
        """A unique and stable id: the stream and the event's version in it."""
        return f"{self.actor}/{self.key}@{self.version}"


def name_of(message: type[Message]) -> str:
    """Return the stable name under which values of this message class are stored."""
    return str(message.__struct_config__.tag)


def aliases_of(message: type[Message]) -> tuple[str, ...]:
    """Return the names under which values of this message class were stored before."""
    aliases: tuple[str, ...] = message.__dict__["__aliases__"]
    return aliases


def revision_of(event: type[Event]) -> int:
    """Return the revision of this event class: 1, or what it says."""
    revision: int = event.__dict__["__revision__"]
    return revision


@lru_cache(maxsize=4096)
def reply_type(request: type[Request[Any, Any]]) -> Any:
    """Return the type of the reply that a request class declares, with names in quotes looked up.

    Raises:
        DefinitionError: the class doesn't say what answers it, or the name can't be found in its module.
    """
    for cls in request.__mro__:
        for base in cls.__dict__.get("__orig_bases__", ()):
            origin, arguments = get_origin(base), get_args(base)
            if not (isinstance(origin, type) and issubclass(origin, Request) and len(arguments) == 2):
                continue
            if isinstance(arguments[1], TypeVar):
                continue  # a base for other requests; it leaves the reply open
            try:
                return look_up(arguments[1], cls.__module__)
            except (NameError, AttributeError) as error:
                raise DefinitionError(
                    f"the reply type of {cls.__name__} names {error.name!r}, which is not defined in "
                    f"{cls.__module__}; define or import it there"
                ) from error
    raise DefinitionError(
        f"{request.__name__} doesn't say who takes it and what answers it; "
        f'write class {request.__name__}(Command["Actor", Reply])'
    )


def look_up(annotation: Any, module: str) -> Any:
    """Return an annotation with the names in quotes, at any depth, replaced by what they name in their module.

    Raises:
        NameError, AttributeError: a name isn't there.
    """

    def bearer() -> None: ...

    bearer.__annotations__ = {"it": annotation}
    return get_type_hints(bearer, globalns=vars(sys.modules[module]))["it"]
