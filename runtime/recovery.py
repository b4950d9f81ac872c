"""Recovery: reads the streams of revived cells, many at a time, a page of each in turn.

One long stream doesn't hold the others back, and a thousand short ones share the way to the disk. Long ones are
looked up among the snapshots, and begin there.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from actors import Elsewhere
from persistence import Journal, Record, Snapshot
from persistence.journal import PAGE
from persistence.writer import Writer
from runtime.cells import Cell
from runtime.read_ahead import ReadAhead
from runtime.service_memory import ServiceMemory


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
        self.pass_on: Callable[[Cell, str], None] = lambda _cell, _owner: None
        """Passes mail on to the owner of a stream that is not this one's, where there is a way; it takes it out."""

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
            # Where the journal was lost, the cell is gone with all others. Where nothing is written any more it stays,
            # and what stands in the journal is all that there will be.
            if durable or self._writer.ended:
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
        self._leave()

    def _leave(self) -> None:
        while self._reading:
            self._reading.popleft().drop()

    async def run(self) -> None:
        """Serve requests until cancelled."""
        try:
            while True:
                if self._new:
                    await self._look_up()
                elif self._reading:
                    await self._read_page(self._reading.popleft())
                else:
                    self._wake.clear()
                    await self._wake.wait()
                self._settle()
        finally:
            self._leave()

    async def _look_up(self) -> None:
        """Find out which of the new requests have a stream at all; the others are ready."""
        epoch = self._epoch
        readings, self._new = self._new, []
        self._busy += len(readings)
        try:
            heads = await self._journal.heads([reading.stream for reading in readings])
            theirs = await self._journal.strangers(list(heads)) if heads and self._journal.owner else {}
            for reading in readings:
                reading.head = heads.get(reading.stream, 0)
            await self._look_for_snapshots([reading for reading in readings if reading.head and reading.long])
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the cells' to deal with)
            if epoch == self._epoch:
                self.opening -= len(readings)
                for reading in readings:
                    reading.failed(error)
        else:
            if epoch == self._epoch:
                for reading in readings:
                    if reading.stream in theirs:
                        self.opening -= 1
                        reading.elsewhere(theirs[reading.stream], self.pass_on)
                        continue
                    ready = reading.start()
                    if ready and reading.head:
                        self._reading.append(reading)
                    else:
                        self.opening -= 1
                        if ready:
                            reading.take([])
        finally:
            self._busy -= len(readings)

    async def _look_for_snapshots(self, readings: "list[_Reading]") -> None:
        if readings:
            found = await self._journal.snapshots([reading.stream for reading in readings])
            for reading in readings:
                reading.asked, reading.snapshot = True, found.get(reading.stream)

    async def _read_page(self, reading: "_Reading") -> None:
        epoch = self._epoch
        self._busy += 1
        first, reading.opened = not reading.opened, True
        more: Callable[[], bool]
        kept = False
        try:
            # Pages ahead take memory, so only one of many has them.
            if reading.pages is None:
                reading.pages = ReadAhead(self._journal, reading.stream)
            page = await reading.pages.page(reading.version, 0 if self._reading else reading.head)
            more = partial(reading.take, page)
            if reading.gap(page) and not reading.asked:
                await self._look_for_snapshots([reading])
                more = reading.start
        except Exception as error:  # noqa: BLE001 (a damaged record, a lost disk)
            if epoch == self._epoch:
                reading.failed(error)
        else:
            kept = epoch == self._epoch and more()
            if kept:
                self._reading.append(reading)
        finally:
            self._busy -= 1
            if not kept:
                reading.drop()
            if first and epoch == self._epoch:
                self.opening -= 1


class _Reading:
    """A cell on its way back, as of one incarnation.

    One that is killed meanwhile gets a reading of its own, and this one brings nobody back: of two that did, the
    later would reset an actor in the middle of its work.
    """

    __slots__ = ("asked", "cell", "head", "incarnation", "opened", "pages", "snapshot", "stream", "version")

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.stream = cell.stream
        self.pages: ReadAhead | None = None
        """What is being read of it; most of those that are new have nothing to read."""
        self.incarnation = cell.incarnation
        self.version = self.head = 0
        """What has been read, and what there is."""
        self.opened = False
        self.asked = False
        """Whether its snapshot has been looked for."""
        self.snapshot: Snapshot | None = None

    def drop(self) -> None:
        """Let go of what was asked for ahead."""
        if self.pages is not None:
            self.pages.drop()

    @property
    def current(self) -> bool:
        return self.cell.incarnation == self.incarnation

    @property
    def long(self) -> bool:
        """Whether a snapshot may spare reading much."""
        return isinstance(self.cell, ServiceMemory) and self.head >= self.cell.ask_snapshot_from

    def gap(self, page: list[Record]) -> int:
        """Return the version up to which events were erased that have not been read; 0: there are none."""
        return page[0].version - 1 if page and page[0].version > self.version + 1 else 0

    def start(self) -> bool:
        """Begin, from the snapshot if it fits; return whether it could."""
        if not self.current:
            return False
        try:
            self.cell.begin()
            if self.snapshot is not None and isinstance(self.cell, ServiceMemory):
                self.version = self.cell.restore(self.snapshot, self.head)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 (an author's __init__)
            self.failed(error)
            return False
        return True

    def take(self, page: list[Record]) -> bool:
        """Replay a page; the last one ends the recovery. Return whether there is more to read."""
        if not self.current:
            return False
        try:
            gap, first = self.gap(page), page[0].version if page else 0
            if gap and isinstance(self.cell, ServiceMemory):  # of a saga's stream, only the end is left then
                self.version = self.cell.lose(gap, self.snapshot, self.head)
            self.cell.replay_all(page if first > self.version else [one for one in page if one.version > self.version])
            if page:
                self.version = max(self.version, page[-1].version)  # a snapshot may have been ahead of the page
            if len(page) < PAGE:
                self.cell.recovered()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 (an event that can't be read or applied, an author's __init__)
            self.failed(error)
            return False
        return len(page) == PAGE

    def elsewhere(self, owner: str, pass_on: Callable[[Cell, str], None]) -> None:
        """Its stream is another process's: pass its mail on or say so, and rest. The next message looks again."""
        if not self.current:
            return
        cell = self.cell
        cell.stop(None)
        pass_on(cell, owner)
        cell.turn_away(lambda: Elsewhere(f"{cell.address} lives where the journal's owner {owner!r} is; ask it there"))
        cell.let_all_in()
        cell.world.release(cell)

    def failed(self, error: BaseException) -> None:
        if self.current:
            self.cell.crashed(error)
