"""Requests from other nodes: each is put into its actor's mailbox, and answered when the reply is durable here.

A request that comes again while it is under way, or not long after its end, is known by its sender's life and number,
and is not begun once more. Whatever is longer ago is known by the id of the command (P3).
"""

import asyncio
from collections import OrderedDict, deque
from functools import partial
from typing import Any

import msgspec

from actors import (
    Address,
    MailboxFull,
    NotTaken,
    OutcomeUnknown,
    RuntimeClosed,
    Subscriber,
    UnderstudyError,
    UnknownActor,
    Unreachable,
)
from actors.request_context import checked
from persistence import NotDecodable
from runtime import queries
from runtime.cells import Cell
from runtime.cluster import frames
from runtime.cluster.network import Link
from runtime.cluster.payloads import ReadModelQuery, read, reply_written
from runtime.cluster.subjects import life_subject
from runtime.cluster.told_errors import told
from runtime.failures import failure
from runtime.kinds import Kind
from runtime.lock_mail import Unlock
from runtime.mailbox import Envelope
from runtime.node import Node
from runtime.origin import origin_of
from runtime.promises import Promise
from runtime.saga_mail import OnlyStart
from runtime.timers import Timer

MOST_UNDER_WAY = 10_000
"""How many requests of other nodes one node takes in at once; more are told to ask again later."""
MOST_ANSWERS, MOST_ANSWERS_BYTES = 10_000, 16_777_216
"""How many answers are kept in case they are lost on their way, and how many bytes: 16 MiB."""
SOON = 0.1
"""Seconds after which a request that is under way is said to be."""
LONGEST_WAIT = 10 * 365 * 86_400_000_000
"""How long an asker may wait, in microseconds: ten years."""
SILENCE = 60.0
"""Seconds after which a request is let go whose asker has not been heard of: it asks every few seconds."""


class Served:
    """A request of another node that is under way here."""

    __slots__ = ("frame", "heard", "kind", "message", "promise", "timer")

    def __init__(self, frame: frames.Ask, heard: int) -> None:
        self.frame = frame
        self.heard = heard
        """When its asker was last heard of, in microseconds of steady time."""
        self.kind: Kind | None = None
        self.message: Any = None
        self.promise: Promise | None = None
        self.timer: Timer | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from all others."""
        return (self.frame.life, self.frame.number)


class Incoming:
    """All requests of other nodes that are under way on this one."""

    def __init__(self, node: Node, link: Link, life: str) -> None:
        self._node = node
        self._link = link
        self._life = life
        self.closed = False
        """Whether it takes no more of them."""
        self._served: dict[tuple[str, int], Served] = {}
        self._new: deque[Served] = deque()
        """Those whose askers have not been told that they are under way."""
        self._answers: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._bytes = 0
        self._tick: Timer | None = None

    def __len__(self) -> int:
        return len(self._served)

    # -- what comes ---------------------------------------------------------------------------------------------

    def ask(self, frame: frames.Ask) -> None:
        """Take in a request."""
        key = (frame.life, frame.number)
        if self._known(key):
            return
        if self.closed:
            self._lost(frame)
            return
        served = Served(frame, self._node.clock.steady())
        if len(self._served) >= MOST_UNDER_WAY:
            self._send(frame.life, told(frame.life, frame.number, _full()))
            return
        self._served[key] = served
        self._new.append(served)
        if self._tick is None:
            self._tick = self._node.delays.after(SOON, self._say)
        try:
            self._begin(served)
        except Exception as error:  # noqa: BLE001 (whatever it is, it goes to the asker, and harms nobody else)
            self._refuse(served, error)

    def still(self, frame: frames.Still) -> None:
        """Say what has become of a request."""
        if not self._known((frame.life, frame.number)):
            self._lost(frame)

    def _lost(self, frame: frames.Frame) -> None:
        self._send(frame.life, frames.Lost(frames.VERSION, frame.life, frame.number, self._life))

    def _known(self, key: tuple[str, int]) -> bool:
        """Say that a request is under way, or its answer again, if it is known; whether it is."""
        answer = self._answers.get(key)
        if answer is not None:
            self._link.send(life_subject(key[0]), answer)
            return True
        served = self._served.get(key)
        if served is None:
            return False
        served.heard = self._node.clock.steady()
        self._say_under_way(served)
        return True

    def _begin(self, served: Served) -> None:
        node, frame = self._node, served.frame
        address = frame.to
        served.kind = kind = node.kind(address.actor)
        if kind.remote or "." in kind.name or issubclass(kind.cls, Subscriber):
            raise UnknownActor(f"{address.actor} is not served by the node that was asked")
        try:
            served.message = message = read(kind, frame)
        except NotDecodable as error:
            raise NotTaken(f"{address} was sent what it can't read: {error}") from error
        wait = min(frame.wait, LONGEST_WAIT)
        due = node.clock.steady() + wait if wait else 0
        served.promise = promise = node.promises.make(address, message)
        promise.future.add_done_callback(partial(self._over, served))
        if due:
            served.timer = node.delays.at(due, lambda: promise.lose("no reply came in time"))
        if isinstance(message, ReadModelQuery):
            node.spawn(self._see(promise, address, message, wait / 1e6 if due else None))
            return
        reply = OnlyStart(promise) if kind.is_saga and (frame.start or frame.told) else promise
        origin = origin_of(frame.correlation, None if frame.context is None else checked(frame.context))
        data = bytes(frame.message) if frame.written else None
        envelope = Envelope(
            message, frame.id, reply, origin, frame.sender, due, frame.path, frame.undoes, data, frame.trace, frame.lock
        )
        promise.hops = frame.hops
        self._put(served, envelope)

    def _put(self, served: Served, envelope: Envelope) -> None:
        node, frame, message = self._node, served.frame, envelope.message
        if isinstance(message, Unlock):
            node.cell(frame.to).post(envelope)
            return
        cell = node.cell(frame.to) if frame.what == "compensate" else node.answerer(frame.to, message)
        cell = cell.target(message, frame.path)
        error = cell.circle(frame.path, message) if frame.path else None
        if error is not None:
            raise error
        if not cell.crowded:
            cell.put(envelope)
        elif cell.kind.mailbox.overflow != "wait":
            raise cell.full_error()
        else:
            sender = cell.line_up(node.delays, envelope.due)  # at once, so that the order is kept
            node.spawn(self._wait(served, cell, sender, envelope))

    async def _wait(self, served: Served, cell: Cell, sender: "asyncio.Future[None]", envelope: Envelope) -> None:
        """Put a message into a mailbox when there is room."""
        try:
            await cell.room(sender)
        except MailboxFull as error:
            self._refuse(served, error)
        except asyncio.CancelledError:
            self._refuse(served, Unreachable("the node was closed before there was room; nothing was done"))
            raise
        else:
            self._node.cell(cell.address).put(envelope)  # another cell, if the journal was lost meanwhile

    async def _see(self, promise: Promise, address: Address[Any], query: ReadModelQuery, wait: float | None) -> None:
        """Have a read model answer."""
        try:
            answer = await queries.ask(
                self._node, address, query.query, timeout=wait, consistent=query.consistent, after=query.after
            )
        except Exception as error:  # noqa: BLE001 (the author's answer may raise anything; it goes to the asker)
            promise.failed(error if isinstance(error, UnderstudyError) else failure(address, query.query, error))
        else:
            promise.done(answer)

    # -- answers ------------------------------------------------------------------------------------------------

    def _refuse(self, served: Served, error: Exception) -> None:
        """Answer by an error that is no actor's; it rests on nothing that is not durable."""
        promise = served.promise
        if promise is None:
            self._answer(served, told(*served.key, error))
        elif not promise.future.done():
            promise.future.set_exception(error)

    def _over(self, served: Served, future: "asyncio.Future[Any]") -> None:
        """Answer: the outcome is durable, or unknown."""
        promise, kind = served.promise, served.kind
        assert promise is not None
        assert kind is not None
        promise.forget()
        if served.timer is not None:
            served.timer.cancel()
        frame = served.frame
        if future.cancelled():
            answer: frames.Done | frames.Failed = told(*served.key, RuntimeClosed("the node was closed"))
        elif (error := future.exception()) is not None:
            answer = told(*served.key, error, uncertain=promise.uncertain)
            promise.let_go()
        elif frame.told or frame.start:
            answer = frames.Done(frames.VERSION, *served.key)
        else:
            try:
                data = reply_written(kind, served.message, frame.undoes, future.result())
                answer = frames.Done(frames.VERSION, *served.key, msgspec.Raw(data))
            except Exception as unsent:  # noqa: BLE001 (whatever is wrong with it, the asker must hear of it)
                what = f"{frame.to} has handled it, but its reply can't be sent: {unsent}"
                answer = told(*served.key, OutcomeUnknown(what))
        self._answer(served, answer)

    def _answer(self, served: Served, answer: frames.Done | frames.Failed) -> None:
        self._served.pop(served.key, None)
        data = frames.pack(answer)
        if len(data) > self._link.largest:
            large = f"{served.frame.to} has handled it, but its reply of {len(data):,} bytes is more than the network "
            data = frames.pack(told(*served.key, OutcomeUnknown(f"{large}carries ({self._link.largest:,}); send less")))
        self._answers[served.key] = data
        self._bytes += len(data)
        while len(self._answers) > MOST_ANSWERS or self._bytes > MOST_ANSWERS_BYTES:
            _, oldest = self._answers.popitem(last=False)
            self._bytes -= len(oldest)
        self._link.send(life_subject(served.frame.life), data)

    def _send(self, life: str, frame: frames.Frame) -> None:
        self._link.send(life_subject(life), frames.pack(frame))

    # -- signs of life ------------------------------------------------------------------------------------------

    def _say_under_way(self, served: Served) -> None:
        self._send(served.frame.life, frames.Underway(frames.VERSION, *served.key, self._life))

    def _say(self) -> None:
        """Tell the askers of what takes longer that it is under way, and let go of those who ask no more."""
        now = self._node.clock.steady()
        while self._new and now - self._new[0].heard >= SOON * 1e6 / 2:
            served = self._new.popleft()
            if served.key in self._served:
                self._say_under_way(served)
        self._tick = self._node.delays.after(SOON, self._say) if self._new else None

    def let_go(self) -> None:
        """Let go of those whose askers are not heard of any more."""
        silent = self._node.clock.steady() - SILENCE * 1e6
        for served in [one for one in self._served.values() if one.heard < silent]:
            if served.promise is not None:
                served.promise.lose("the node that asked is not heard of any more")


def _full() -> MailboxFull:
    return MailboxFull(f"the node has {MOST_UNDER_WAY:,} requests of other nodes under way already; ask again later")
