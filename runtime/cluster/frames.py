"""What nodes send each other: frames of JSON, each with its name in ``type`` and the version of the protocol.

``life`` names a node from its start to its end: one that is started again has another one. ``number`` is the sender's
own number for a request, by which the answer finds its way back.
"""

from typing import Annotated, Any

import msgspec

from actors import Address, UnderstudyError
from persistence import NotDecodable
from persistence.codec import WRAPPING, Decoder, encode

VERSION = 1
"""The version of the protocol. A frame of another one is not read; whoever sent it is not answered, and told of its
silence by its own patience."""

NOTHING = msgspec.Raw(b"null")
Life = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{0,64}\Z")]
"""The name of a node's life, which becomes part of the subject that it is answered at."""


class BadFrame(UnderstudyError):
    """What has come over the network is no frame of this protocol."""


class Frame(msgspec.Struct, omit_defaults=True, tag=str.lower):
    """The base of all frames."""

    version: int
    life: Life
    number: int


class Who(Frame):
    """Who is there? Sent to all who serve a class of actors, one of which answers, or to the owner of a journal."""


class Here(Frame):
    """I do: this life, from this journal."""

    journal: str = ""
    server: Life = ""


class Ask(Frame):
    """A request. All but ``what``, ``wait``, ``start``, ``told`` and ``hops`` is what its envelope holds."""

    to: Address[Any] = Address("")
    what: str = "command"
    """What the message is; see :mod:`runtime.cluster.payloads`."""
    message: msgspec.Raw = NOTHING
    id: str | None = None
    correlation: str = ""
    context: dict[str, str] | None = None
    sender: Address[Any] | None = None
    wait: int = 0
    """For how long its asker waits from now on, in microseconds; 0: for ever. No clock is compared with another."""
    path: tuple[Address[Any], ...] = ()
    undoes: str | None = None
    written: bool = False
    """Whether the message is as its sender has written it down, so that a repeat is known by these bytes."""
    trace: str = ""
    lock: bool = False
    start: bool = False
    """Whether it is answered when a saga was started, and not at its end."""
    told: bool = False
    """Whether nobody waits for the reply."""
    hops: int = 0
    """How often it was passed on."""


class Still(Frame):
    """Is my request still under way with you?"""


class Underway(Frame):
    """It is, with this life."""

    server: Life = ""


class Lost(Frame):
    """It isn't with this life, or was not let in: whatever was sent to it before comes to nothing. Send it again."""

    server: Life = ""


class Done(Frame):
    """The reply to a request."""

    reply: msgspec.Raw = NOTHING


class Failed(Frame):
    """There is none, but an error; see :mod:`runtime.cluster.told_errors`."""

    error: str = ""
    text: str = ""
    details: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    uncertain: bool = False
    """Whether a refusal does not say what became of other copies, which were passed on as well."""


AnyFrame = Who | Here | Ask | Still | Underway | Lost | Done | Failed


class _Versioned(msgspec.Struct):
    version: int = 0


_decoder = Decoder(AnyFrame, WRAPPING)
_versioned = Decoder(_Versioned, WRAPPING)


def pack(frame: Frame) -> bytes:
    """Return a frame as it is sent.

    Raises:
        NotEncodable: it is too large or too deep.
    """
    return encode(frame, "a message to another node")


def unpack(data: bytes) -> AnyFrame:
    """Return the frame that has come.

    Raises:
        BadFrame: it is none, or one of another version of the protocol; or it is too large or too deep.
    """
    try:
        version: int = _versioned.decode(data).version
        if version != VERSION:
            raise BadFrame(f"another node speaks version {version} of the protocol, this one speaks {VERSION}")
        frame: AnyFrame = _decoder.decode(data)
    except NotDecodable as error:
        raise BadFrame(f"what has come over the network is no frame: {error}") from error
    return frame
