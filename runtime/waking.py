"""Waking: brings back those whose work is unfinished, whose time has come, or who have a place now."""

from collections.abc import Callable
from typing import Any

from actors import Address, NotTaken, UnknownActor
from persistence import Journal, Stream
from runtime.cells import Cell, Phase
from runtime.log import log
from runtime.mailbox import Envelope
from runtime.saga_cell import SagaCell
from runtime.saga_mail import Begin
from runtime.service_cell import ServiceCell


class Waking:
    """Wakes the cells of a node by what the journal says."""

    def __init__(self, cell: Callable[[Address[Any]], Cell]) -> None:
        self._cell = cell

    async def unfinished(self, journal: Journal, found: Callable[[Address[Any]], None]) -> int:
        """Bring back all whose work is unfinished; return how many. ``found`` is told of each before it goes on.

        Raises:
            JournalError: the journal can't be read.
        """
        woken = 0
        for actor, key in await journal.unfinished():
            try:
                cell = self._cell(Address(actor, key))
            except (UnknownActor, NotTaken) as error:
                log.error("unfinished work of an unknown actor", actor=f"{actor}/{key}", error=str(error))
                continue
            if cell.kind.remote:
                log.error("unfinished work of a class that lives on other nodes now", actor=f"{actor}/{key}")
                continue
            woken += 1
            found(cell.address)
            if cell.phase is Phase.STOPPED:
                cell.summon() if isinstance(cell, SagaCell) else cell.revive()
        return woken

    def ring(self, stream: Stream) -> bool:
        """Wake a service or a saga, for a time of its own has come; return whether it is there."""
        address = Address[Any](*stream)
        try:
            cell = self._cell(address)
        except (UnknownActor, NotTaken) as error:
            log.error("a time of an unknown actor has come", actor=str(address), error=str(error))
            return False
        if not isinstance(cell, (ServiceCell, SagaCell)):
            log.error("reminders of an actor that is no service or saga any more", actor=str(address))
            return False
        cell.ring()
        return True

    def begin(self, address: Address[Any]) -> None:
        """Have a saga begin that has waited for its place."""
        self._cell(address).post(Envelope(Begin()))
