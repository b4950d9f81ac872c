"""Kinds: what the runtime knows about a class of actors, worked out once, when the runtime is made."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, cast

import msgspec

from actors import (
    Actor,
    Command,
    DefinitionError,
    Event,
    JournalMismatch,
    Mailbox,
    Passivation,
    Pool,
    Query,
    Rate,
    ReadModel,
    RestartPolicy,
    Saga,
    Service,
    ServiceLocked,
    ServiceUnlocked,
    Subscriber,
)
from actors.endings import ENDINGS
from actors.errors import in_words
from actors.evolution import names_by_alias
from actors.messages import name_of, reply_type
from actors.request_context import Texts
from persistence import BURIED, DELETED, JournalDamaged, KeyMissing, NewEvent, NotDecodable, NotEncodable, Record
from persistence.codec import PLAIN, WRAPPING, Codec, Decoder, encode
from persistence.intake import check_text
from persistence.limits import NAME_LENGTH
from runtime.evolution import Evolution, Several, renamed
from runtime.reply_check import ReplyCheck
from runtime.state_form import state_form_for

FENCED = "service.fenced"
"""In a service's stream: an undo came before its step, which is refused from here on."""
HANDLED = "service.handled"
"""In a service's stream: a command with an id was answered without an event; kept so that a repeat gets the reply."""

REMINDER = "service.reminder"
"""In a service's stream: a reminder was set."""
REMINDED = "service.reminded"
"""In a service's stream: a reminder's command has taken effect, or was refused, at one of its times."""
RESENT = "service.resent"
"""In a service's stream: a reminder is sent again after a crash of the process, at which it may have been under way."""
FORGOTTEN = "service.forgotten"
"""In a service's stream: a reminder was dropped."""
LOCKED, UNLOCKED = name_of(ServiceLocked), name_of(ServiceUnlocked)
"""In a service's stream: a saga has taken a lock, and it was given back. Read models can follow them."""
LOCK_EVENTS: dict[str, type[Event]] = {LOCKED: ServiceLocked, UNLOCKED: ServiceUnlocked}
SAGA_TOLD: dict[str, type[Event]] = {name_of(event): event for event in ENDINGS}
"""In a saga's stream, and read models can follow them: that it was started, and how it has ended."""
INTERNAL = frozenset({FENCED, HANDLED, REMINDER, REMINDED, RESENT, FORGOTTEN, LOCKED, UNLOCKED, DELETED, BURIED})
"""What the runtime writes into a service's stream; ``evolve`` never sees it."""


class EventMeta(msgspec.Struct, omit_defaults=True, gc=False):
    """The metadata that is stored with an event.

    ``fingerprint`` and ``reply`` stand on the first event of a command that has an id of its sender's. ``trace`` is
    the trace context in which the event happened, where the runtime was traced. ``revision`` is that of its class,
    stored where it is not the first. ``context`` is the request context in which the event happened.
    """

    causation: str = ""
    correlation: str = ""
    fingerprint: str | None = None
    reply: msgspec.Raw = msgspec.Raw(b"null")
    trace: str = ""
    revision: int = 1
    context: Texts | None = None


def deletion(cause: str, context: Texts | None = None, *, for_good: bool) -> NewEvent:
    """Return the event by which a stream is deleted."""
    return NewEvent(BURIED if for_good else DELETED, b"{}", encode(EventMeta(cause, cause, context=context)))


REVISED = b'{"revision":'
"""How metadata begins that says a revision: :meth:`Kind.stamp` puts it first, so that a glance tells."""

_meta = Decoder(EventMeta, WRAPPING)


class Decodes(Protocol):
    """What reads stored JSON."""

    def decode(self, data: bytes, /) -> Any:
        """Return what it says; raises NotDecodable."""
        ...


def meta_of(record: Record) -> EventMeta:
    """Return a record's metadata."""
    meta: EventMeta = decoded(_meta, record, record.meta)
    return meta


def decoded(decoder: Decodes, record: Record, data: bytes) -> Any:
    """Decode part of a record.

    Raises:
        JournalMismatch: it doesn't fit today's type; names stream, version and position.
        JournalDamaged: a personal value in it is not what was written.
    """
    try:
        return decoder.decode(data)
    except JournalDamaged as error:
        raise JournalDamaged(f"{where(record)}: {error}") from error
    except NotDecodable as error:
        why = "can't be opened" if isinstance(error, KeyMissing) else "doesn't fit today's class"
        raise JournalMismatch(f"{where(record)} {why}: {error}") from error


def out_of_place(record: Record, why: str) -> JournalMismatch:
    """Return the error for an event that can't follow what stands before it in its stream."""
    return JournalMismatch(f"{where(record)} does not follow what stands before it: {why}")


def where(record: Record) -> str:
    """Return which event a record holds, and where it stands."""
    category, key = record.stream
    return f"event {record.type} at version {record.version} of stream {category}/{key} (position {record.position})"


class Counts:
    """What has happened to the actors of one class, since the runtime was made."""

    __slots__ = ("active", "expired", "failures", "restarts", "turns")

    def __init__(self) -> None:
        self.active = 0
        """How many are in memory."""
        self.turns = 0
        self.failures = 0
        """Crashes: what was raised, and was no refusal."""
        self.restarts = 0
        self.expired = 0
        """Messages that were not begun, because nobody waited for the reply any more."""


class Kind:
    """What the runtime knows about one class of actors."""

    def __init__(self, cls: type, codec: Codec = PLAIN) -> None:
        self.cls: Any = cls
        self.is_saga: bool = issubclass(cls, Saga)
        self.codec = codec
        """Writes and reads what its actors say, be it personal or not."""
        self.name = cls.__name__
        self.remote = False
        """Whether its actors live on other nodes."""
        self.commands: dict[str, type[Command[Any, Any]]] = dict(getattr(cls, "commands", {}))
        queries: dict[str, type[Query[Any, Any]]] = dict(getattr(cls, "queries", {}))
        received = [one for one in self.commands.values() if issubclass(one, Query)]
        self.queries = frozenset[type]([*queries.values(), *received])
        """The classes of queries that it answers by itself, in a turn."""
        self.messages = frozenset[type](getattr(cls, "messages", {}).values())
        """The classes of commands that a saga takes while it is under way."""
        self.takes = frozenset[type](self.commands.values())
        """The classes of commands that it takes; a plain actor's queries come like those."""
        self.events: dict[str, type[Event]] = dict(getattr(cls, "events", {}))
        decoders = {name: Decoder(event, codec) for name, event in self.events.items()}
        self.internal = _internal(self.cls)
        """What the runtime writes into its streams and read models can follow, by name."""
        self.names = {event: name for name, event in self.events.items()}
        self._by_class = {event: decoders[name] for name, event in self.events.items()}
        self.evolution = Evolution(cls, decoders)
        """How older events become today's."""
        self.revised = {name: at for name, at in self.evolution.revisions.items() if at > 1}
        """The events whose class is not at its first revision, which is stored with them."""
        self._unchanged = {name: decoder for name, decoder in decoders.items() if name not in self.revised}
        self.plain = dict(self._unchanged)
        """What reads the events that are what they were at their first revision, none of which is the runtime's."""
        self._unchanged.update({name: Decoder(event) for name, event in self.internal.items()})
        requests = {**self.commands, **queries}
        self._command_decoders = {name: Decoder(request, codec) for name, request in requests.items()}
        self._command_names = names_by_alias(cls, requests)
        self.restart: RestartPolicy = getattr(cls, "restart", RestartPolicy())
        """How an actor of this class is started again after a crash."""
        self.mailbox: Mailbox = getattr(cls, "mailbox", Mailbox())
        self.passivation: Passivation = getattr(cls, "passivation", Passivation())
        self.pool: Pool | None = getattr(cls, "pool", None)
        self.at_once: int = 1 if self.is_saga else getattr(self.cls, "at_once", 1)
        """How many messages one actor may handle at the same time."""
        self.places: int | None = getattr(self.cls, "at_once", None) if self.is_saga else None
        """How many of a class of sagas may be under way at once."""
        self.rate: Rate | None = getattr(cls, "rate", None)
        """How fast sagas may send it their steps."""
        self.counts = Counts()
        self.first: type = type(getattr(cls, "initial", None))
        """The class of a service's first state, which is mostly that of all."""
        self.tagged = _has_tags(self.cls)
        """Whether its events have tags."""
        self.state = state_form_for(self.cls, codec)
        """Reads and writes the state of a service or a fold."""
        self.result = Decoder(getattr(cls, "result", None), codec)
        """Reads and writes what a saga ends with."""
        self._replies: dict[type, Decoder] = {}
        self._reply_checks: dict[type, ReplyCheck] = {}

    def event(self, record: Record) -> Any:
        """Return a record's event, or :class:`Several`, where upcasts make more or less than one of it.

        Raises:
            JournalMismatch: today's class has no such event, or it doesn't fit.
        """
        if record.value is not None:
            return record.value
        decoder = self._unchanged.get(record.type)
        if decoder is not None and record.meta[:12] != REVISED:  # (12: its length)
            return decoded(decoder, record, record.data)
        revision = meta_of(record).revision
        form = self.evolution.form(record.type, revision)
        if form is None:
            raise self.unknown(record, revision)
        events: Several = decoded(form, record, record.data)
        return events[0] if len(events) == 1 else events

    def read(self, record: Record) -> tuple[Any, ...]:
        """Return a record's events: one, unless upcasts make several or none of it.

        Raises:
            JournalMismatch: today's class has no such event, or it doesn't fit.
        """
        event = self.event(record)
        return event if type(event) is Several else (event,)

    def unknown(self, record: Record, revision: int) -> JournalMismatch:
        """Return the error for an event that today's class doesn't have."""
        category, key = record.stream
        what = record.type if revision == 1 else f"{record.type} revision {revision}"
        why = f"{self.name} doesn't know; {self._help(record.type, revision)}"
        error = JournalMismatch(
            f"stream {category}/{key} holds an event {what} at version {record.version} (position {record.position}) "
            f"that {why}"
        )
        error.__cause__ = NotDecodable(f"an event that {why}")
        return error

    def _help(self, stored: str, revision: int) -> str:
        today = self.evolution.revisions.get(self.evolution.names.get(stored, stored))
        if today is not None:
            return f"today's class is at revision {today}; run the code that wrote it, or newer"
        return (
            f"add its class to {self.name}'s events, name it in aliases= of the class that it has become, or write "
            f'what becomes of it: @upcast("{stored}", {revision}, into={{...}})'
        )

    def new_events(self, events: Iterable[Event], meta: bytes) -> list[NewEvent]:
        """Return events ready to be appended, all with the same metadata.

        Raises:
            NotEncodable: one would not read back as it is.
            DefinitionError: one is not among those that the class names.
        """
        new: list[NewEvent] = []
        for event in events:
            decoder = self._by_class.get(type(event))
            if decoder is None:
                raise _unnamed(self.name, event)
            name = self.names[type(event)]
            new.append(NewEvent(name, decoder.encode(event, name), meta, event))
        return new

    def check_named(self, events: Iterable[object]) -> None:
        """Make sure that events are among those that the class names.

        Raises:
            DefinitionError: one is not.
        """
        for event in events:
            if type(event) not in self._by_class:
                raise _unnamed(self.name, event)

    def stamp(self, events: Iterable[NewEvent]) -> None:
        """Put the revision of their classes into the metadata of events to be appended, where it is not the first."""
        for event in events:
            revision = self.revised.get(event.type)
            if revision is not None:  # before what is there: a reply in it need not be read and written again
                rest = event.meta[1:]
                event.meta = b"%b%d%b%b" % (REVISED, revision, b"" if rest == b"}" else b",", rest)

    def command(self, data: msgspec.Raw) -> Command[Any, Any]:
        """Return a command, or a query, to this kind of actor from its JSON, by the name that it carries, or carried.

        Raises:
            NotDecodable: the actor takes no such command, or it doesn't fit.
        """
        name: str = _tag.decode(data).type
        today = self.today(name)
        decoder = self._command_decoders.get(today)
        if decoder is None:
            raise NotDecodable(f"{self.name} takes no command {name}")
        command: Command[Any, Any] = decoder.decode(data if today == name else renamed(data, today))
        return command

    def today(self, name: str) -> str:
        """Return today's name of a command that was stored under this one."""
        return self._command_names.get(name, name)

    def check_reply(self, request: type, reply: object) -> None:
        """Make sure that a reply is what the class of requests declares.

        Raises:
            TypeError: it is something else.
        """
        check = self._reply_checks.get(request)
        if check is None:
            check = self._reply_checks[request] = ReplyCheck(request)
        if type(reply) is not check.cls:
            check(reply)

    def command_data(self, command: Command[Any, Any]) -> bytes:
        """Return a command that it takes as JSON, from which :meth:`command` makes it again.

        Raises:
            NotEncodable: it would not read back as it is.
        """
        name = name_of(type(command))
        return self._command_decoders[name].encode(command, name)

    def reply(self, request: type) -> Decoder:
        """Return what reads and writes the replies to a class of requests."""
        decoder = self._replies.get(request)
        if decoder is None:
            decoder = self._replies[request] = Decoder(reply_type(request), self.codec)
        return decoder


class _Tagged(msgspec.Struct):
    type: str = ""


_tag = Decoder(_Tagged, WRAPPING)


def _unnamed(name: str, event: object) -> DefinitionError:
    """Return the error for what a service decided on, and can't write."""
    if not isinstance(event, Event):
        return DefinitionError(
            f"{name} decided on {in_words(event)}, which is no event; write command.reply(reply, Happened(...)), and a "
            "list of events as command.reply(reply, *events)"
        )
    event_name = type(event).__name__
    return DefinitionError(
        f"{name} doesn't name {event_name} among its events, so it could never be read back; add it to the annotation: "
        f"class {name}(Service[..., ... | {event_name}])"
    )


def _has_tags(cls: Any) -> bool:
    plain: Any = Service
    return issubclass(cls, plain) and cls.tags is not plain.tags


def _internal(cls: Any) -> dict[str, type[Event]]:
    return LOCK_EVENTS if issubclass(cls, Service) else SAGA_TOLD if issubclass(cls, Saga) else {}


def check_actors(actors: object) -> Sequence[type]:
    """Return the classes that a runtime is given, having made sure that they are some.

    Raises:
        DefinitionError: it is no list, or something in it is no class.
    """
    if not isinstance(actors, Sequence) or isinstance(actors, str):
        raise DefinitionError(f"actors= is a list of classes, not {actors!r:.80}; write actors=[Flight, TripSaga]")
    listed = cast("Sequence[object]", actors)
    for one in listed:
        if not isinstance(one, type):
            raise DefinitionError(f"actors= holds classes, not a {type(one).__name__}; write actors=[Flight, TripSaga]")
    return cast("Sequence[type]", listed)


def kind_of(cls: type, codec: Codec = PLAIN) -> Kind:
    """Return the kind of a class given to a runtime.

    Raises:
        DefinitionError: it is no class of actors, or a name is too long to be stored.
    """
    if issubclass(cls, (Service, Saga, ReadModel, Subscriber, Actor)):
        kind = Kind(cast(type, cls), codec)
        try:
            for name in (kind.name, *kind.events):
                check_text("a name that is stored", name, NAME_LENGTH)
        except NotEncodable as error:
            raise DefinitionError(f"{cls.__name__:.80}: {error}") from error
        return kind
    raise DefinitionError(
        f"{cls!r} is no actor; give actors= classes made from Service, Saga, ReadModel, Subscriber or Actor"
    )
