"""Seeing to read models and subscribers: how far they are, and what they have set aside."""

from typing import Any

import anyio

from actors import Address, NotTaken, ReadModel, Subscriber
from runtime.answering import behind, head
from runtime.follower import Follower
from runtime.inspection import Inspection
from runtime.read_models import Keeper
from runtime.set_aside import ParkedEvent, SkippedEvent, parked, skipped

FollowerAddress = Address[ReadModel] | Address[Subscriber]


class Projecting(Inspection):
    """The part of a runtime that sees to its read models and subscribers."""

    _keepers: dict[str, Keeper]

    async def caught_up(self, address: FollowerAddress, /, *, timeout: float | None = None) -> None:
        """Wait until a read model or a subscriber has taken, or set aside, all that was committed before this call.

        Raises:
            NotTaken: it is neither.
            ReadModelBehind: it has not come that far within ``timeout`` seconds; it goes on.
            Parked: it won't by itself.
            RuntimeClosed: it was closed before.
        """
        follower = self._follower(address)
        position = await head(self._open_node().journal)
        with anyio.move_on_after(timeout):
            return await follower.reached(position)
        raise behind(follower.kind.name, follower.position, position)

    async def parked_events(self, address: FollowerAddress, /) -> list[ParkedEvent]:
        """Return the events that a read model or a subscriber has set aside, in order: they are not in its tables, or
        not handled.

        The first of each key says what is wrong; the later ones wait for it.

        Raises:
            NotTaken: it is neither.
            JournalUnusable: its database can't be read.
        """
        return parked(await self._follower(address).view.parked())

    async def skipped_events(self, address: FollowerAddress, /) -> list[SkippedEvent]:
        """Return the events that were left out with :meth:`skip_parked`, in order.

        Raises:
            NotTaken: it is no read model and no subscriber.
            JournalUnusable: its database can't be read.
        """
        return skipped(await self._follower(address).view.skipped())

    async def retry_parked(self, address: FollowerAddress, key: str | None = None, /) -> int:
        """Take what is set aside, of one key or of all, as far as that goes; return how many events were.

        Read models and subscribers do so by themselves when they are opened, killed or unparked.

        Raises:
            NotTaken: it is no read model and no subscriber.
            Elsewhere: another process is at work.
            JournalError: the journal or its database can't be used now.
        """
        follower = self._follower(address)
        return await follower.see_to(lambda: follower.tries.retry(key))

    async def skip_parked(self, address: FollowerAddress, key: str, /, *, reason: str, by: str) -> int:
        """Leave out the first event that is set aside of a key, and take those behind it; return its position.

        ``reason``, and ``by`` whom it was decided, are kept with it. A read model that is built anew comes to the event
        again.

        Raises:
            NotTaken: it is no read model and no subscriber.
            LookupError: nothing of the key is set aside.
            ValueError: it isn't said why, or by whom.
            Elsewhere: another process is at work.
            JournalError: the journal or its database can't be used now.
        """
        if not reason.strip() or not by.strip():
            raise ValueError("an event is skipped for a reason and by somebody; write reason='...', by='...'")
        follower = self._follower(address)
        return await follower.see_to(lambda: follower.tries.skip(key, reason, by))

    async def rebuild(self, address: Address[ReadModel], /, *, strict: bool = True) -> None:
        """Build a read model's tables anew, beside those that are there; these answer until the new ones take over.

        Return when they have. ``strict``: stop at an event that can't be projected, and keep the old tables; else it is
        set aside, as ever. Progress is in :meth:`stats`.

        Raises:
            NotTaken: it is no read model.
            Parked: an event, which the message names, can't be projected; the old tables stay.
            ReadModelBehind: it is being built anew already.
            Elsewhere: another process projects it.
            JournalUnusable: the new tables can't be made.
        """
        self._follower(address)
        keeper = self._keepers.get(address.actor)
        if keeper is None:
            raise NotTaken(f"{address} is no read model; effects are not repeated from the beginning")
        await keeper.rebuild(strict=strict)

    def _follower(self, address: Address[Any]) -> Follower:
        node, name = self._open_node(), address.actor
        node.directory.own_kind(address)
        follower = node.projectors.get(name) or node.deliverers.get(name)
        if follower is None:
            raise NotTaken(f"{address} is no read model and no subscriber, and sets no events aside")
        return follower
