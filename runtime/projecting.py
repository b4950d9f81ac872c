"""Seeing to read models: what they have set aside."""

from typing import Any

from actors import Address, NotTaken, ReadModel
from runtime.inspection import Inspection
from runtime.projector import Projector
from runtime.read_models import Keeper
from runtime.set_aside import ParkedEvent, SkippedEvent, parked, skipped


class Projecting(Inspection):
    """The part of a runtime that sees to its read models."""

    _keepers: dict[str, Keeper]

    async def parked_events(self, address: Address[ReadModel], /) -> list[ParkedEvent]:
        """Return the events that a read model has set aside, in order: they are not in its tables.

        The first of each key says what is wrong; the later ones wait for it.

        Raises:
            NotTaken: it is no read model.
            JournalUnusable: its database can't be read.
        """
        return parked(await self._projector(address).view.parked())

    async def skipped_events(self, address: Address[ReadModel], /) -> list[SkippedEvent]:
        """Return the events that were left out of a read model's tables with :meth:`skip_parked`, in order.

        Raises:
            NotTaken: it is no read model.
            JournalUnusable: its database can't be read.
        """
        return skipped(await self._projector(address).view.skipped())

    async def retry_parked(self, address: Address[ReadModel], key: str | None = None, /) -> int:
        """Project what a read model has set aside, of one key or of all, as far as that goes; return how many events.

        It does so by itself when it is opened, killed or unparked.

        Raises:
            NotTaken: it is no read model.
            JournalError: the journal or its database can't be used now.
        """
        projector = self._projector(address)
        return await projector.orders.give(lambda: projector.tries.retry(key))

    async def skip_parked(self, address: Address[ReadModel], key: str, /, *, reason: str, by: str) -> int:
        """Leave the first event that is set aside of a key out of the tables, and project those behind it.

        Return its position. ``reason``, and ``by`` whom it was decided, are kept with it. A read model that is built
        anew comes to the event again.

        Raises:
            NotTaken: it is no read model.
            LookupError: nothing of the key is set aside.
            ValueError: it isn't said why, or by whom.
            JournalError: the journal or its database can't be used now.
        """
        if not reason.strip() or not by.strip():
            raise ValueError("an event is skipped for a reason and by somebody; write reason='...', by='...'")
        projector = self._projector(address)
        return await projector.orders.give(lambda: projector.tries.skip(key, reason, by))

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
        self._projector(address)
        await self._keepers[address.actor].rebuild(strict=strict)

    def _projector(self, address: Address[Any]) -> Projector:
        node = self._open_node()
        node.directory.kind(address.actor)
        projector = node.projectors.get(address.actor)
        if projector is None:
            raise NotTaken(f"{address} is no read model, and sets no events aside")
        return projector
