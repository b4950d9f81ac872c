"""Kinds: what the runtime knows about a class of actors, worked out once, when the runtime is made."""

from collections.abc import Iterable
from typing import Any, cast

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
    ReadModel,
    RestartPolicy,
    Saga,
    Service,
)
from actors.messages import name_of, reply_type
from persistence import NewEvent, NotDecodable, Record
from persistence.codec import Decoder

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
INTERNAL = frozenset({FENCED, HANDLED, REMINDER, REMINDED, RESENT, FORGOTTEN})
"""What the runtime writes into a service's stream; ``evolve`` never sees it."""


class EventMeta(msgspec.Struct, omit_defaults=True, gc=False):
    """The metadata that is stored with an event.

    ``fingerprint`` and ``reply`` stand on the first event of a command that has an id of its sender's. ``trace`` is
    the trace context in which the event happened, where the runtime was traced.
    """

    causation: str = ""
    correlation: str = ""
    fingerprint: str | None = None
    reply: msgspec.Raw = msgspec.Raw(b"null")
    trace: str = ""


_meta = Decoder(EventMeta)


def meta_of(record: Record) -> EventMeta:
    """Return a record's metadata."""
    meta: EventMeta = decoded(_meta, record, record.meta)
    return meta


def decoded(decoder: Decoder, record: Record, data: bytes) -> Any:
    """Decode part of a record.

    Raises:
        JournalMismatch: it doesn't fit today's type; names stream, version and position.
    """
    try:
        return decoder.decode(data)
    except NotDecodable as error:
        category, key = record.stream
        raise JournalMismatch(
            f"event {record.type} at version {record.version} of stream {category}/{key} "
            f"(position {record.position}) doesn't fit today's class: {error}"
        ) from error


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

    def __init__(self, cls: type) -> None:
        self.cls: Any = cls
        self.name = cls.__name__
        self.commands: dict[str, type[Command[Any, Any]]] = dict(getattr(cls, "commands", {}))
        self.takes = frozenset(self.commands.values())
        """The classes of commands that it takes."""
        self.events: dict[str, type[Event]] = dict(getattr(cls, "events", {}))
        self._event_decoders = {name: Decoder(event) for name, event in self.events.items()}
        self.names = {event: name for name, event in self.events.items()}
        self._by_class = {event: self._event_decoders[name] for name, event in self.events.items()}
        self._command_decoders = {name: Decoder(command) for name, command in self.commands.items()}
        self.restart: RestartPolicy = getattr(cls, "restart", RestartPolicy())
        """How an actor of this class is started again after a crash."""
        self.mailbox: Mailbox = getattr(cls, "mailbox", Mailbox())
        self.passivation: Passivation = getattr(cls, "passivation", Passivation())
        self.pool: Pool | None = getattr(cls, "pool", None)
        self.at_once: int = getattr(cls, "at_once", 1)
        """How many messages one actor may handle at the same time."""
        self.counts = Counts()
        self.result = Decoder(getattr(cls, "result", None))
        """Reads and writes what a saga ends with."""
        self._replies: dict[type, Decoder] = {}
        self._reply_checks: dict[type, ReplyCheck] = {}

    def event(self, record: Record) -> Any:
        """Return a record's event.

        Raises:
            JournalMismatch: today's class has no such event, or it doesn't fit.
        """
        if record.value is not None:
            return record.value
        decoder = self._event_decoders.get(record.type)
        if decoder is None:
            raise self.unknown(record)
        return decoded(decoder, record, record.data)

    def unknown(self, record: Record) -> JournalMismatch:
        """Return the error for an event that today's class doesn't have."""
        category, key = record.stream
        return JournalMismatch(
            f"stream {category}/{key} holds an event {record.type} at version {record.version} (position "
            f"{record.position}) that {self.name} doesn't know; add its class to {self.name}'s events"
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
                raise DefinitionError(
                    f"{self.name} doesn't name {type(event).__name__} among its events, so it could never be read "
                    f"back; add it to the annotation: class {self.name}(Service[..., ... | {type(event).__name__}])"
                )
            name = self.names[type(event)]
            new.append(NewEvent(name, decoder.encode(event, name), meta, event))
        return new

    def command(self, data: msgspec.Raw) -> Command[Any, Any]:
        """Return a command of this kind of actor from its JSON, by the name that it carries.

        Raises:
            NotDecodable: the actor takes no such command, or it doesn't fit.
        """
        name = _tag.decode(data).type
        decoder = self._command_decoders.get(name)
        if decoder is None:
            raise NotDecodable(f"{self.name} takes no command {name}")
        command: Command[Any, Any] = decoder.decode(data)
        return command

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
            decoder = self._replies[request] = Decoder(reply_type(request))
        return decoder


class ReplyCheck:
    """Tells a reply of the wrong type."""

    __slots__ = ("_declared", "_request", "cls")

    def __init__(self, request: type) -> None:
        self._request = request
        self._declared = reply_type(request)
        self.cls: Any = self._declared if isinstance(self._declared, type) else None
        """What most replies are made of, where one class says it; a reply of just this class needs no look."""

    def __call__(self, reply: object) -> None:
        """Look at a reply closely.

        Raises:
            TypeError: it isn't what is declared.
        """
        if self.cls is None:
            try:
                msgspec.convert(reply, self._declared)
            except msgspec.ValidationError as error:
                raise self._wrong(reply) from error
            except TypeError:
                return  # a type of the author's own, which msgspec doesn't know
        elif not isinstance(reply, self.cls) and not (self.cls is float and isinstance(reply, int)):
            raise self._wrong(reply)

    def _wrong(self, reply: object) -> TypeError:
        declared = getattr(self._declared, "__name__", self._declared) if self.cls is not None else self._declared
        given = "nothing was returned" if reply is None else f"it was a {type(reply).__name__}"
        return TypeError(f"{self._request.__name__} declares the reply {declared}, but {given}")


class _Tagged(msgspec.Struct):
    type: str = ""


_tag = Decoder(_Tagged)


def kind_of(cls: type) -> Kind:
    """Return the kind of a class given to a runtime.

    Raises:
        DefinitionError: it is no class of actors.
    """
    if issubclass(cls, (Service, Saga, ReadModel, Actor)):
        return Kind(cast(type, cls))
    raise DefinitionError(f"{cls!r} is no actor; give actors= classes made from Service, Saga, ReadModel or Actor")
