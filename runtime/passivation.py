"""Passivation: actors that rest leave the memory, after a while or when there are too many; mail brings them back."""

import asyncio
from functools import partial
from heapq import nsmallest

from runtime.cells import Cell
from runtime.directory import Directory
from runtime.kinds import Kind
from runtime.service_memory import ServiceMemory
from runtime.timers import Timer, Timers

ACTIVE = 1_000_000
"""How many actors a runtime keeps in memory, unless it is told otherwise."""
STRETCH = 1_000
"""How many cells are looked at before the event loop gets its turn."""
PATIENCE = 1.0
"""Seconds before a crowd in which too few were resting is looked at again."""
SHORTEST = 0.05
"""Seconds between two rounds, at the least."""


class Passivator:
    """Looks for actors that may leave."""

    def __init__(self, directory: Directory, timers: Timers, active: int = ACTIVE) -> None:
        self._directory = directory
        self._timers = timers
        self._active = active
        self._loop = asyncio.get_running_loop()
        self._crowds: dict[Kind | None, None] = {}
        """Classes of which there are too many; None: there are too many of all together."""
        self._patience: set[Kind | None] = set()
        """Classes of which the last look found too few that rest; they are looked at again in a moment."""
        idles = [kind.passivation.idle for kind in directory.all_kinds if kind.passivation.idle is not None]
        self._pause = max(min(idles).total_seconds() / 4, SHORTEST) if idles else None
        self._round: Timer | None = None
        """The next one; None: nobody is in memory."""
        self.stretch = 1
        """So many times longer is each pause than the last, while nobody is used; for time that passes in leaps."""
        self._longer, self._last = 1, 0

    # -- too many -----------------------------------------------------------------------------------------------

    def added(self, kind: Kind) -> None:
        """Take note of one more actor in memory."""
        if self._round is None or self._longer > 1:
            self._longer = 1
            self._next_round()
        self._count(kind, kind.counts.active, kind.passivation.active)
        self._count(None, len(self._directory), self._active)

    def _count(self, crowd: Kind | None, active: int, most: int) -> None:
        if active > most and crowd not in self._patience:
            if not self._crowds:
                self._loop.call_soon(self._make_room)
            self._crowds[crowd] = None

    def _make_room(self) -> None:
        crowds, self._crowds = self._crowds, {}
        for crowd in crowds:
            most = self._active if crowd is None else crowd.passivation.active
            cells = [cell for cell in self._directory if crowd is None or cell.kind is crowd]
            # A tenth below the limit, so that not every newcomer makes for another look at all.
            too_many = len(cells) - most + most // 10
            resting = [cell for cell in cells if cell.resting]
            for number, cell in enumerate(nsmallest(too_many, resting, key=_last_used)):
                self._let_go(cell, get_ready=number < STRETCH)
            if len(resting) < too_many:
                self._patience.add(crowd)
                self._timers.after(PATIENCE, partial(self._look_again, crowd))

    def _look_again(self, crowd: Kind | None) -> None:
        self._patience.discard(crowd)
        if crowd is None:
            self._count(None, len(self._directory), self._active)
        else:
            self._count(crowd, crowd.counts.active, crowd.passivation.active)

    # -- too long -----------------------------------------------------------------------------------------------

    def _next_round(self) -> None:
        if self._round is not None:
            self._round.cancel()
            self._round = None
        if self._pause is not None and len(self._directory):
            self._round = self._timers.after(self._pause * self._longer, self._look_at_all)

    def _look_at_all(self) -> None:
        cells = list(self._directory)
        if self.stretch > 1:
            used = max((cell.used for cell in cells), default=0)
            self._longer = self._longer * self.stretch if used <= self._last else 1
            self._last = used
        self._look_at(cells)

    def _look_at(self, cells: list[Cell]) -> None:
        now = self._timers.now()
        for cell in cells[:STRETCH]:
            idle = cell.kind.passivation.idle
            if idle is not None and now - cell.used >= idle.total_seconds() * 1e6 and cell.resting:
                self._let_go(cell)
        if len(cells) > STRETCH:
            self._loop.call_soon(self._look_at, cells[STRETCH:])
        else:
            self._next_round()

    def _let_go(self, cell: Cell, *, get_ready: bool = True) -> None:
        """Let an actor leave when all that it has written is durable, unless it has been used meanwhile."""
        used = cell.used
        if get_ready and isinstance(cell, ServiceMemory):
            cell.rest()

        def leave(durable: bool) -> None:
            if durable and cell.used == used and cell.resting:
                self._directory.release(cell)

        cell.world.writer.hold(leave)
        cell.world.writer.kick()


def _last_used(cell: Cell) -> int:
    return cell.used
