"""An actor's mailbox: what has come and waits, and the rules for what comes when it is full."""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any

from actors import Address, AskCycle, MailboxFull
from runtime.kinds import Kind
from runtime.mailbox import NO_MAIL, SPARE, Envelope, Gate, Mail, PriorityMail, new_lane
from runtime.timers import Timers


class Inbox:
    """A bounded lane for mail, a lane for control messages, and a gate for those who wait for room."""

    __slots__ = ("_behind", "_marked", "address", "control", "gate", "kind", "limit", "mail", "since")

    def __init__(self, address: Address[Any], kind: Kind) -> None:
        self.kind = kind
        self.address = address
        priority = kind.mailbox.priority
        self.mail: Mail = PriorityMail(priority) if priority else NO_MAIL
        """What others have sent; bounded."""
        self.control: Mail = NO_MAIL
        """What the runtime itself has to say: outcomes, timers, ends of others. It never waits behind mail."""
        self.gate: Gate | None = None
        """Where callers outside wait for room; None while nobody ever had to."""
        self.limit: int = kind.mailbox.limit
        """How much mail there may be, less what is on its way and has its place already."""
        self.since = self._marked = 0
        """Nothing in the mailbox came before this, in microseconds of steady time; means nothing while it is empty."""
        self._behind = 0
        """How much mail must still be taken until all that was there at the last mark is gone."""

    def lane(self) -> Mail:
        """Return the lane for mail, ready to be put into."""
        if self.mail is NO_MAIL:
            self.mail = SPARE.pop() if SPARE else new_lane()
        return self.mail

    @property
    def crowded(self) -> bool:
        """Whether a sender from outside must line up: the mailbox is full, or others were here first."""
        return self.full or (self.gate is not None and not self.gate.open)

    @property
    def full(self) -> bool:
        """Whether there is as much mail as there may be."""
        return len(self.mail) >= self.limit

    def put_back(self, envelopes: Iterable[Envelope], now: int) -> None:
        """Put messages that were taken out back, the one that came last first: before all others."""
        if not self.mail:
            self.since = now
        self.lane().extendleft(envelopes)

    def left_behind(self, taken: int, now: int) -> None:
        """Note that so much mail was taken and some is left; ``since`` follows when all that was there is gone."""
        mail = self.mail
        if self._marked < self.since:
            self._marked, self._behind = max(now, self.since), len(mail)
            return
        self._behind -= taken
        if self._behind <= 0 and not isinstance(mail, PriorityMail):  # there, what comes later may be taken first
            self.since, self._marked, self._behind = self._marked, now, len(mail)

    def expired(self, envelope: Envelope, now: int) -> bool:
        """Whether nobody waits for the reply any more, so that the message need not be begun."""
        reply = envelope.reply
        if reply is None or not (reply.gone or 0 < envelope.due <= now):
            return False
        self.kind.counts.expired += 1
        return True

    def full_error(self) -> MailboxFull:
        """Return the error for senders that can't wait."""
        return MailboxFull(
            f"the mailbox of {self.address} is full ({self.kind.mailbox.limit:,} messages); ask again later"
        )

    def circle(self, path: tuple[Address[Any], ...], message: object = None) -> AskCycle | None:  # noqa: ARG002
        """Return the error for an asker whose asking would end where it began: all places here wait for it."""
        if path.count(self.address) < self.kind.at_once:
            return None
        names = " -> ".join(map(str, (*path[path.index(self.address) :], self.address)))
        return AskCycle(f"each would wait for the next for ever: {names}; let one of them tell instead of ask")

    def line_up(self, timers: Timers, due: int = 0) -> asyncio.Future[None]:
        """Join the senders who wait for room, at once; to be awaited by :meth:`room`.

        Raises:
            MailboxFull: too many wait already.
        """
        if self.gate is None:
            self.gate = Gate()
        elif self.gate.full:
            raise MailboxFull(
                f"too many senders wait for room in the mailbox of {self.address} already; await each tell, or ask "
                "again later"
            )
        sender = self.gate.line_up()
        if due:
            timer = timers.at(due, partial(self._turn_away, sender))
            sender.add_done_callback(lambda _: timer.cancel())
        return sender

    async def room(self, sender: asyncio.Future[None]) -> None:
        """Wait until there is room for one who has lined up.

        Raises:
            MailboxFull: it had none in time.
        """
        gate = self.gate
        if gate is None:
            return await sender  # it was cancelled before it could wait
        try:
            await gate.pass_through(sender)
        except BaseException:
            self.let_in()  # the next one, where this one had been let in before it went away
            raise
        finally:
            if gate:
                # Should this one not put its message here after all (a transaction that has to wait elsewhere, one that
                # is parked meanwhile), no turn would let in the next one.
                asyncio.get_running_loop().call_soon(self.let_in)
            elif gate.open and self.gate is gate:
                self.gate = None  # who comes next takes the short way again

    def _turn_away(self, sender: asyncio.Future[None]) -> None:
        if not sender.done():
            sender.set_exception(self.full_error())

    def let_all_in(self) -> None:
        """Let all waiting senders go on: what they send will not stay here."""
        if self.gate is not None:
            self.gate.let_all_in()

    def let_in(self) -> None:
        """Let waiting senders go on, when the mailbox is down to half."""
        if self.gate and len(self.mail) <= self.limit // 2:
            self.gate.let_in(self.limit - len(self.mail))
