"""A node among others: what it serves, whom it asks, and how it joins and leaves them."""

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio

from actors import DefinitionError, ReadModel, Subscriber
from persistence.connection import shielded
from runtime.cells import Cell
from runtime.cluster import frames
from runtime.cluster.incoming import Incoming
from runtime.cluster.network import Network
from runtime.cluster.outgoing import Outgoing
from runtime.cluster.payloads import ReadModelQuery, may_be_sent
from runtime.cluster.remote_cell import RemoteCell, not_sent
from runtime.cluster.rivals import Rivals
from runtime.cluster.subjects import class_subject, group_of, life_subject, owner_subject
from runtime.log import log
from runtime.mailbox import Envelope, Mail
from runtime.node import Node
from runtime.promises import Promise
from runtime.saga_mail import OnlyStart
from runtime.stats import NetworkStats
from runtime.throttle import Throttle
from runtime.timers import Timer

LATEST = 2.0
"""Seconds for which it is listened to who serves our classes, too, when we serve them."""
SETTLE = 5.0
"""Seconds for which a node that closes waits for the replies to what it has asked others."""
ROUND = 10.0
"""Seconds between looks for requests whose askers are not heard of any more."""
MOST_HOPS = 3
"""How often a request is passed on between the owners of a journal, whose streams have just moved."""


class Cluster:
    """The part of a node that speaks with others; made before the node begins its work."""

    def __init__(self, node: Node, network: Network, remote: Sequence[type]) -> None:
        """Let a node be asked by others, and ask those where ``remote`` classes live.

        Raises:
            DefinitionError: a class is here already, or can't be asked from elsewhere.
        """
        self.life = uuid.uuid4().hex
        """Names this node from its start to its end."""
        self._node = node
        self._link = network.link(self.life, self)
        self._outgoing = Outgoing(node, self._link, self.life)
        self._incoming = Incoming(node, self._link, self.life)
        self._rivals = Rivals(node.journal, self._link, self.life, node.trouble.rivalled)
        self._shared: list[str] = []
        self._round: Timer | None = None
        for cls in remote:
            kind = node.directory.add_remote(cls, self._remote_cell)
            if issubclass(kind.cls, Subscriber):
                raise DefinitionError(f"{kind.name} takes no requests, so it has no place in remote=; leave it out")
            if issubclass(kind.cls, ReadModel):
                kind.queries = frozenset[type]([ReadModelQuery])
            if kind.rate is not None:
                node.flow.throttles[kind.name] = Throttle(kind.rate, node.delays)
        node.recovery.pass_on, node.directory.clustered = self.pass_on, True

    def _remote_cell(self, address: Any, kind: Any) -> RemoteCell:
        return RemoteCell(self._node, address, kind, self._send)

    def _send(self, cell: Cell, envelope: Envelope, over: Any) -> None:
        self._outgoing.send(cell.address, cell.kind, envelope, over)

    # -- joining and leaving ------------------------------------------------------------------------------------

    async def join(self, stack: AsyncExitStack) -> None:
        """Join the network, so that others can be asked; leave it with the stack.

        Raises:
            NetworkUnusable: it can't be reached, or a node with another journal serves one of our classes.
        """
        await self._link.open()
        stack.push_async_callback(self._close)
        await self._link.listen(life_subject(self.life))
        await self._rivals.look(self._served)

    async def serve(self) -> None:
        """Let others ask.

        Raises:
            NetworkUnusable: a node with another journal has begun to serve one of our classes, too.
        """
        node, link = self._node, self._link
        if node.journal.owner:
            owner = owner_subject(node.journal.identity, node.journal.owner)
            await link.listen(owner)
            self._shared.append(owner)
        for name in self._served:
            await link.share(class_subject(name), group_of(node.journal.identity))
            self._shared.append(class_subject(name))
        await self._rivals.look(self._served)
        node.delays.after(LATEST, self._rivals.close)
        self._next_round()
        node.trouble.taken.add_done_callback(self._out)

    def _out(self, taken: "asyncio.Future[Any]") -> None:
        """Let others ask no more: another process has taken this one's place at the journal, or on the network."""
        if not taken.cancelled():
            self._node.spawn(self.leave())

    @property
    def _served(self) -> list[str]:
        """The classes that are here and can be asked."""
        kinds = self._node.directory.all_kinds
        return [kind.name for kind in kinds if "." not in kind.name and not issubclass(kind.cls, Subscriber)]

    async def leave(self) -> None:
        """Let others ask no more; what they have asked goes on, and is answered."""
        self._incoming.closed = True
        if self._round is not None:
            self._round.cancel()
        shared, self._shared = self._shared, []
        for subject in shared:
            await self._link.leave(subject)

    async def settle(self) -> None:
        """Wait for the replies to what was asked of others, and to what that leads to, but not for long."""
        with anyio.move_on_after(SETTLE):
            while len(self._outgoing):
                over = anyio.Event()
                self._outgoing.on_none = over.set
                await over.wait()
                await self._node.drain()

    async def _close(self) -> None:
        self._incoming.closed = True
        self._outgoing.close()
        await shielded(self._link.close())

    def _next_round(self) -> None:
        self._incoming.let_go()
        self._round = self._node.delays.after(ROUND, self._next_round)

    def stats(self) -> NetworkStats:
        """Return what is under way."""
        return NetworkStats(len(self._outgoing), len(self._incoming))

    # -- what comes over the network ----------------------------------------------------------------------------

    def arrived(self, data: bytes) -> None:
        """Take a message in. One that can't be read is named in the log, and harms nobody."""
        try:
            self._take(frames.unpack(data))
        except frames.BadFrame as error:
            log.warning("a message of another node was not read", error=str(error))
        except Exception as error:  # noqa: BLE001 (whatever it is, others' messages must come through)
            log.error("a message of another node could not be taken in", error=repr(error))

    def _take(self, frame: frames.AnyFrame) -> None:
        outgoing, incoming = self._outgoing, self._incoming
        match frame:
            case frames.Ask():
                incoming.ask(frame)
            case frames.Done():
                outgoing.done(frame)
            case frames.Failed():
                outgoing.failed(frame)
            case frames.Underway():
                outgoing.underway(frame)
            case frames.Still():
                incoming.still(frame)
            case frames.Lost():
                outgoing.lost(frame)
            case frames.Here():
                (self._rivals if frame.number < 0 else self._outgoing).here(frame)
            case frames.Who() if not incoming.closed:
                here = frames.Here(frames.VERSION, frame.life, frame.number, self._node.journal.identity, self.life)
                self._link.send(life_subject(frame.life), frames.pack(here))
            case frames.Who():
                pass  # who asks looks for another one

    def nobody(self, number: int) -> None:
        """Take note that nobody was there to whom something was sent."""
        (self._rivals if number < 0 else self._outgoing).nobody(number)

    # -- between the owners of one journal ----------------------------------------------------------------------

    def pass_on(self, cell: Cell, owner: str) -> None:
        """Pass on what has come for an actor whose stream belongs to another owner, as far as it can be."""
        subject = owner_subject(self._node.journal.identity, owner)
        self._pass_on(cell, cell.mail, subject)
        self._pass_on(cell, cell.control, subject)

    def _pass_on(self, cell: Cell, mail: Mail, subject: str) -> None:
        kept: list[Envelope] = []
        while mail:
            envelope = mail.popleft()
            hops = _hops(envelope)
            if hops >= MOST_HOPS or not may_be_sent(cell.kind, envelope.message):
                kept.append(envelope)
            else:
                self._node.writer.hold(partial(self._pass, cell, envelope, subject, hops + 1))
        for envelope in kept:
            mail.append(envelope)

    def _pass(self, cell: Cell, envelope: Envelope, subject: str, hops: int, durable: bool) -> None:
        if durable:
            self._outgoing.send(cell.address, cell.kind, envelope, _nothing, subject, hops)
        else:
            cell.give_back(envelope, not_sent(cell))


def _hops(envelope: Envelope) -> int:
    reply = envelope.reply.reply if isinstance(envelope.reply, OnlyStart) else envelope.reply
    return reply.hops if isinstance(reply, Promise) else 0


def _nothing() -> None:
    """Be told that it is over; it took no place in a mailbox."""
