"""A request under way to another node, the way that those to one class go, and what is told of one in doubt."""

from collections.abc import Callable
from typing import Any

from actors import Actor, Address, Command, CommandIdReused, DeletedForGood, OutcomeUnknown, Refused, Unreachable
from actors.errors import UnderstudyError
from runtime.cluster.subjects import class_subject, life_subject
from runtime.kinds import Kind
from runtime.mailbox import Envelope
from runtime.timers import Timer

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
"""Seconds before a request of which nothing was heard is looked after; each pause is twice as long as the last one."""
RESTLESS, PATIENCE = 7.0, 15.0
"""Seconds without a sign of life after which another node is looked for, and after which a request is given up."""


class Request:
    """A request under way to another node."""

    __slots__ = (
        "address",
        "copies",
        "ends",
        "envelope",
        "heard",
        "hesitates",
        "hops",
        "kind",
        "lost_with",
        "number",
        "over",
        "owned",
        "pause",
        "reached",
        "rerouted",
        "sent_at",
        "sent_to",
        "server",
        "subject",
        "timer",
        "what",
    )

    def __init__(
        self, number: int, address: Address[Any], kind: Kind, envelope: Envelope, over: Callable[[], None], heard: int
    ) -> None:
        self.number = number
        self.address = address
        self.kind = kind
        self.envelope = envelope
        self.over = over
        self.heard = heard
        """When there was a sign of life, or it was begun, in microseconds of steady time."""
        self.what: tuple[str, bytes] = "", b""
        self.subject = class_subject(address.actor)
        """Where those are reached who may take it: who serve the class, or the owner of a journal."""
        self.owned = False
        """Whether it goes to an owner."""
        self.hops = 0
        self.reached = 0
        """How many copies may have reached somebody."""
        self.sent_to = ""
        """The subject that the last copy was sent to."""
        self.server = ""
        """The life that has said that it has it."""
        self.sent_at = heard
        """When the first of the copies went there, in microseconds of steady time."""
        self.copies = 0
        """How many went to that subject, one after the other."""
        self.lost_with = ""
        """The subject of a life that may have had it, and is gone."""
        self.ends = 0
        """At how many ends of nodes in a row it was under way."""
        self.hesitates = False
        """Whether it is to hesitate before it is sent again."""
        self.rerouted = 0
        """How often it has found nobody since it was looked after."""
        self.pause = FIRST_PAUSE
        self.timer: Timer | None = None

    @property
    def whom(self) -> str:
        """To whom it goes, for people."""
        return f"the node where {self.address} lives" if self.owned else f"a node that serves {self.address.actor}"

    @property
    def what_for_people(self) -> str:
        """What it is, for people."""
        return f"{type(self.envelope.message).__name__} for {self.address}"

    @property
    def had_by(self) -> str:
        """The subject of the life that may have it now; "": none."""
        return life_subject(self.server) if self.server else self.sent_to

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the reply any more."""
        reply = self.envelope.reply
        return reply is not None and reply.gone


class Route:
    """The way to those who are reached at a subject: one of them, for as long as it lives, so that order is kept."""

    __slots__ = ("asked", "number", "server", "subject", "waiting")

    def __init__(self, subject: str, number: int) -> None:
        self.subject = subject
        self.number = number
        self.server = ""
        """The life that serves us."""
        self.asked: int | None = None
        """When it was asked for, in microseconds of steady time; None: not since the last one was there."""
        self.waiting: dict[int, Request] = {}
        """What is to be sent when it is known, in order."""


def given_up(request: Request) -> UnderstudyError:
    """Return what is told of a request of which nothing was heard for too long."""
    if request.reached or request.server:
        return _unknown(request, f"no node has answered for {PATIENCE:.0f} seconds")
    whom = f"{request.whom} could not be reached for {PATIENCE:.0f} seconds"
    return Unreachable(f"{whom}; nothing was done, ask again later")


def closed(request: Request) -> OutcomeUnknown:
    """Return what is told of a request that is under way when its node closes."""
    return _unknown(request, "the runtime was closed")


def in_doubt(request: Request, error: Exception) -> Exception:
    """Return what is told of a request whose last copy has met an error, and of whose others nothing is known.

    A service or a saga that refuses would know the command's id, if it had taken another copy; unless it was
    deleted for good since, and its ids with it.
    """
    refused = isinstance(error, (Refused, CommandIdReused)) and not isinstance(error, DeletedForGood)
    knows = refused and not issubclass(request.kind.cls, Actor)
    if knows or isinstance(error, OutcomeUnknown) or not issubclass(type(request.envelope.message), Command):
        return error
    return _unknown(request, f"it was sent again when nothing was heard of it, and met {type(error).__name__}: {error}")


def _unknown(request: Request, why: str) -> OutcomeUnknown:
    what = f"{request.address} has handled {type(request.envelope.message).__name__}"
    return OutcomeUnknown(f"whether {what} is unknown: {why}; ask again with the same id to learn it")
