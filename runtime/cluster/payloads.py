"""What a request holds: a command or a query, or what the runtimes of two nodes have to say to each other's actors."""

from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from actors import Address, DefinitionError, NotTaken, Query, ReadModel, Service
from actors.definition import annotated, by_name
from actors.messages import reply_type
from actors.verbs import Compensate
from persistence import NotDecodable, NotEncodable
from persistence.codec import WRAPPING, Decoder, encode
from runtime.cluster.frames import Ask
from runtime.kinds import Kind
from runtime.lock_mail import Unlock
from runtime.mailbox import Envelope
from runtime.personal import holds_personal


class ReadModelQuery(Query[Any, Any], tag="read-model.query"):
    """A query to a read model of another node, and how much it must have seen."""

    query: Any
    consistent: bool = False
    after: int | None = None


class Read(msgspec.Struct, omit_defaults=True):
    """The same as it is sent."""

    query: msgspec.Raw
    consistent: bool = False
    after: int | None = None


class Back(msgspec.Struct, omit_defaults=True):
    """The verb by which a saga undoes another one."""

    by: str
    reason: str


class Release(msgspec.Struct, omit_defaults=True):
    """A saga that has ended gives back its locks."""

    holder: Address[Any]
    unsettled: tuple[str, ...] = ()


_read, _back, _release = Decoder(Read, WRAPPING), Decoder(Back, WRAPPING), Decoder(Release, WRAPPING)
_number = Decoder(int)


def may_be_sent(kind: Kind, message: object) -> bool:
    """Whether a message is one that other nodes take."""
    if isinstance(message, Unlock):
        return message.holder is not None and message.lock is None
    return isinstance(message, (Compensate, ReadModelQuery)) or type(message) in kind.takes | kind.queries


def written(kind: Kind, envelope: Envelope) -> tuple[str, bytes]:
    """Return what a message is, and the message as JSON.

    Raises:
        NotEncodable: it can't be sent.
    """
    message = envelope.message
    match message:
        case Unlock(holder=holder, unsettled=unsettled) if holder is not None:
            return "unlock", encode(Release(holder, unsettled))
        case Compensate(by=by, reason=reason):
            return "compensate", encode(Back(by, reason))
        case ReadModelQuery(query=query, consistent=consistent, after=after):
            _check_impersonal(type(query))
            data = kind.codec.encode(query, type(query).__name__)
            return "read", encode(Read(msgspec.Raw(data), consistent, after))
        case _:
            _check_impersonal(type(message))
            return "request", kind.command_data(message) if envelope.data is None else envelope.data


def _check_impersonal(cls: Any) -> None:
    """Make sure that values of a type hold nothing personal: the keys that would open it are this node's alone.

    Raises:
        NotEncodable: they may.
    """
    if holds_personal(cls):
        raise NotEncodable(
            f"{getattr(cls, '__name__', cls)} holds personal data, which only the node that has sealed it can open; "
            "send the subject's name, and let the other node ask its own actors"
        )


def read(kind: Kind, frame: Ask) -> Any:
    """Return the message of a request, for an actor of this kind.

    Raises:
        NotDecodable: it doesn't fit.
        NotTaken: nobody here takes what it is.
    """
    match frame.what:
        case "request":
            return kind.command(frame.message)
        case "compensate" if kind.is_saga:
            back: Back = _back.decode(frame.message)
            return Compensate(back.by, back.reason)
        case "unlock" if issubclass(kind.cls, Service):
            release: Release = _release.decode(frame.message)
            return Unlock(release.holder, unsettled=release.unsettled)
        case "read" if issubclass(kind.cls, ReadModel):
            asked: Read = _read.decode(frame.message)
            return ReadModelQuery(_query(kind, asked.query), asked.consistent, asked.after)
        case _:
            raise NotTaken(f"{frame.to} takes no {frame.what:.40} from other nodes")


class _Tagged(msgspec.Struct):
    type: str = ""


_tag = Decoder(_Tagged, WRAPPING)


def _query(kind: Kind, data: msgspec.Raw) -> Any:
    """Return a query to a read model, by the annotation of its ``answer``."""
    decoders = _queries.get(kind)
    if decoders is None:
        how = "db, query: A | B"
        owner = next(cls for cls in kind.cls.__mro__ if "answer" in cls.__dict__)
        try:
            queries = by_name(kind.cls, annotated(owner, "answer", how, 2), Query)
        except DefinitionError as error:
            raise NotTaken(f"{kind.name} can't be asked from other nodes: {error}") from error
        decoders = _queries[kind] = {name: Decoder(query, kind.codec) for name, query in queries.items()}
    name: str = _tag.decode(data).type
    if name not in decoders:
        raise NotDecodable(f"{kind.name} answers no {name:.200}")
    return decoders[name].decode(data)


_queries = WeakKeyDictionary[Kind, dict[str, Decoder]]()
"""What reads the queries to each class of read models that was asked from another node."""


def reply_written(kind: Kind, message: Any, undoes: str | None, value: Any) -> bytes:
    """Return a reply as JSON.

    Raises:
        NotEncodable: it is not what the request declares.
    """
    if isinstance(message, Unlock):
        return _number.encode(value, "the reply")
    if undoes is not None or isinstance(message, Compensate):
        return b"null"  # that it is undone is all that it says
    request = _request(message)
    _check_impersonal(reply_type(request))
    return kind.reply(request).encode(value, f"the reply to {request.__name__}")


def reply_read(kind: Kind, message: Any, undoes: str | None, data: msgspec.Raw) -> Any:
    """Return the reply to a message.

    Raises:
        NotDecodable: it is not what the request declares.
    """
    if isinstance(message, Unlock):
        return _number.decode(data)
    if undoes is not None or isinstance(message, Compensate):
        return None
    return kind.reply(_request(message)).decode(data)


def _request(message: Any) -> Any:
    """Return the class of requests that declares the reply."""
    asked: Any = message.query if isinstance(message, ReadModelQuery) else message
    return asked.__class__
