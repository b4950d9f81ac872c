"""What lies in a mailbox: messages in their envelopes, and the gate at which senders wait when it is full."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import msgspec

from actors import Address
from runtime.origin import Origin


class ReplyTo(Protocol):
    """Where the reply to a message goes. One of ``done`` and ``failed`` is called, once."""

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the reply any more."""
        ...

    def done(self, value: Any, /) -> None:
        """Give the reply."""
        ...

    def failed(self, error: Exception, /) -> None:
        """Say that there is none: a refusal, a failure, or an unknown outcome."""
        ...


class Envelope(msgspec.Struct, gc=False):
    """A message on its way.

    ``id`` names the request, so that it can be asked again; None: its sender never will. ``origin`` says in
    whose name it is sent; None: in its own. ``sender`` is the plain actor that sent it. ``due`` is when its asker
    stops waiting, in microseconds of steady time; 0: never. ``path`` names the actors that wait for the reply, the
    first asker first. ``undoes`` is the id of the command that this one undoes. ``data`` is the message as JSON, where
    its sender has written it down already. ``trace`` is the trace context that it is sent in (W3C ``traceparent``),
    where the runtime is traced. ``lock``: it is a step of a saga, the last in ``path``, that takes the lock it needs.
    """

    message: Any
    id: str | None = None
    reply: ReplyTo | None = None
    origin: Origin | None = None
    sender: Address[Any] | None = None
    due: int = 0
    path: tuple[Address[Any], ...] = ()
    undoes: str | None = None
    data: bytes | None = None
    trace: str = ""
    lock: bool = False


class Mail(Protocol):
    """The messages of one lane, next one first: a deque, or several by priority."""

    def append(self, envelope: Envelope, /) -> None:
        """Put a message behind all others of its priority."""
        ...

    def popleft(self) -> Envelope:
        """Take the next message."""
        ...

    def extendleft(self, envelopes: Iterable[Envelope], /) -> None:
        """Put messages back, each before all others of its priority."""
        ...

    def insert(self, index: int, envelope: Envelope, /) -> None:
        """Put a message at this place."""
        ...

    def clear(self) -> None:
        """Drop all messages."""
        ...

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Envelope]: ...


_nothing: deque[Envelope] = deque()
NO_MAIL: Mail = _nothing
"""Shared by all cells without mail; an empty deque of one's own takes 760 bytes."""


class PriorityMail:
    """Messages by the priority of their class, high ones first; each priority in the order of its coming."""

    __slots__ = ("_lanes", "_priority")

    def __init__(self, priority: Mapping[type[Any], int]) -> None:
        self._priority = priority
        levels = sorted({0, *priority.values()}, reverse=True)
        self._lanes: dict[int, deque[Envelope]] = {level: deque() for level in levels}

    def _lane(self, envelope: Envelope) -> deque[Envelope]:
        return self._lanes[self._priority.get(envelope.message.__class__, 0)]

    def append(self, envelope: Envelope, /) -> None:
        """Put a message behind all others of its priority."""
        self._lane(envelope).append(envelope)

    def popleft(self) -> Envelope:
        """Take the next message.

        Raises:
            IndexError: there is none.
        """
        for lane in self._lanes.values():
            if lane:
                return lane.popleft()
        raise IndexError("no mail")

    def extendleft(self, envelopes: Iterable[Envelope], /) -> None:
        """Put messages back, each before all others of its priority."""
        for envelope in envelopes:
            self._lane(envelope).appendleft(envelope)

    def insert(self, index: int, envelope: Envelope, /) -> None:
        """Put a message at the place ``index``, whatever its priority."""
        *before, last = self._lanes.values()
        for lane in before:
            if index <= len(lane):
                lane.insert(index, envelope)
                return
            index -= len(lane)
        last.insert(index, envelope)

    def clear(self) -> None:
        """Drop all messages."""
        for lane in self._lanes.values():
            lane.clear()

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def __iter__(self) -> Iterator[Envelope]:
        for lane in self._lanes.values():
            yield from lane


new_lane: type[deque[Envelope]] = deque
"""What makes a lane. ``deque[Envelope]()`` would note its type on what it makes, or try to, which takes longer."""
SPARE: list[Mail] = []
"""Empty deques, for the next cells that get mail: to make one costs more than to keep a few."""
MOST_SPARE = 256


def recycle(mail: Mail) -> Mail:
    """Keep an empty lane for others, if it is one of those that cells take and give back; return what is there now."""
    if mail.__class__ is PriorityMail:
        return mail
    if mail is not NO_MAIL and len(SPARE) < MOST_SPARE:
        SPARE.append(mail)
    return NO_MAIL


MOST_WAITING = 10_000
"""How many senders may wait for room in one mailbox, also by a tell that nobody awaits; more are refused at once."""


class Gate:
    """Senders from outside who wait for room in a mailbox, first come, first served."""

    __slots__ = ("_let_in", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._let_in = 0
        """How many have been let in and have not put their message yet."""

    @property
    def open(self) -> bool:
        """Whether nobody waits here, or is on the way in."""
        return not self._waiting and not self._let_in

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether so many wait that no more may."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting = deque(sender for sender in self._waiting if not sender.done())
        return len(self._waiting) >= MOST_WAITING

    def line_up(self) -> asyncio.Future[None]:
        """Join those who wait, at once; to be awaited by :meth:`pass_through`."""
        sender: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(sender)
        return sender

    async def pass_through(self, sender: asyncio.Future[None]) -> None:
        """Wait until there is room for one who has lined up; what the future was given is raised."""
        try:
            await sender
        finally:
            if not sender.cancelled() and sender.exception() is None:
                self._let_in -= 1

    def let_in(self, room: int) -> None:
        """Let as many go on as there is room for, less those who are on the way in."""
        while self._waiting and self._let_in < room:
            sender = self._waiting.popleft()
            if not sender.done():  # one who went away takes no room
                sender.set_result(None)
                self._let_in += 1

    def let_all_in(self) -> None:
        """Let all go on."""
        self.let_in(self._let_in + len(self._waiting))
