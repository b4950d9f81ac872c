"""Recovery: reads the streams of revived cells, many at a time, a page of each in turn.

One long stream doesn't hold the others back, and a thousand short ones share the way to the disk.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from actors import Elsewhere
from persistence import Journal, Record
from persistence.journal import PAGE
from persistence.writer import Writer
from runtime.cells import Cell


class Recovery:
    """Brings cells from recovering to running; run as one task."""

    def __init__(self, journal: Journal, writer: Writer, settle: Callable[[], None]) -> None:
        self._journal = journal
        self._writer = writer
        self._settle = settle
        self._new: list[_Reading] = []
        self._reading: deque[_Reading] = deque()
        self._busy = 0
        """Cells that wait for their own events, or whose read is on its way."""
        self.opening = 0
        """Cells of which nothing has been read yet: they will be there in a moment."""
        self._epoch = 0
        self._wake = asyncio.Event()

    @property
    def idle(self) -> bool:
        """Whether no cell waits to be recovered."""
        return not (self._new or self._reading or self._busy)

    def request(self, cell: Cell) -> None:
        """Have the cell's stream replayed to it, once its own events are durable."""
        reading = _Reading(cell)
        if not cell.written:
            self._enter(reading)
            return
        self._busy += 1

        def release(durable: bool) -> None:
            self._busy -= 1
            if durable:
                self._enter(reading)

        self._writer.hold(release)
        self._writer.kick()

    def _enter(self, reading: "_Reading") -> None:
        self._new.append(reading)
        self.opening += 1
        self._wake.set()

    def clear(self) -> None:
        """Forget all requests: their cells are gone."""
        self._epoch += 1
        self.opening = 0
        self._new.clear()
        self._reading.clear()

    async def run(self) -> None:
        """Serve requests until cancelled."""
        while True:
            if self._new:
                await self._look_up()
            elif self._reading:
                await self._read_page(self._reading.popleft())
            else:
                self._wake.clear()
                await self._wake.wait()
            self._settle()

    async def _look_up(self) -> None:
        """Find out which of the new requests have a stream at all; the others are ready."""
        epoch = self._epoch
        readings, self._new = self._new, []
        self._busy += len(readings)
        try:
            heads = await self._journal.heads([reading.cell.stream for reading in readings])
            theirs = await self._journal.strangers(list(heads)) if heads and self._journal.shared else {}
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the cells' to deal with)
            if epoch == self._epoch:
                self.opening -= len(readings)
                for reading in readings:
                    reading.failed(error)
        else:
            if epoch == self._epoch:
                for reading in readings:
                    if reading.cell.stream in theirs:
                        self.opening -= 1
                        reading.elsewhere(theirs[reading.cell.stream])
                    elif reading.cell.stream in heads:
                        self._reading.append(reading)
                    else:
                        self.opening -= 1
                        reading.take([])
        finally:
            self._busy -= len(readings)

    async def _read_page(self, reading: "_Reading") -> None:
        epoch = self._epoch
        self._busy += 1
        first = reading.version == 0
        try:
            page = await self._journal.read(reading.cell.stream, reading.version, PAGE)
        except Exception as error:  # noqa: BLE001 (a damaged record, a lost disk)
            if epoch == self._epoch:
                reading.failed(error)
        else:
            if epoch == self._epoch and reading.take(page):
                self._reading.append(reading)
        finally:
            self._busy -= 1
            if first and epoch == self._epoch:
                self.opening -= 1


class _Reading:
    """A cell on its way back, as of one incarnation.

    One that is killed meanwhile gets a reading of its own, and this one brings nobody back: of two that did, the
    later would reset an actor in the middle of its work.
    """

    __slots__ = ("cell", "incarnation", "version")

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.incarnation = cell.incarnation
        self.version = 0

    @property
    def current(self) -> bool:
        return self.cell.incarnation == self.incarnation

    def take(self, page: list[Record]) -> bool:
        """Replay a page; the last one ends the recovery. Return whether there is more to read."""
        if not self.current:
            return False
        try:
            if self.version == 0:
                self.cell.begin()
            for record in page:
                self.cell.replay(record)
            self.version += len(page)
            if len(page) < PAGE:
                self.cell.recovered()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 (an event that can't be read or applied, an author's __init__)
            self.failed(error)
            return False
        return len(page) == PAGE

    def elsewhere(self, owner: str) -> None:
        """Its stream is another process's: say so to all who ask, and rest. The next message looks again."""
        if not self.current:
            return
        cell = self.cell
        cell.stop(None)
        cell.turn_away(lambda: Elsewhere(f"{cell.address} lives where the journal's owner {owner!r} is; ask it there"))
        cell.let_all_in()
        cell.world.release(cell)

    def failed(self, error: BaseException) -> None:
        if self.current:
            self.cell.crashed(error)
