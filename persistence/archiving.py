"""Export into an archive and import from one: bounded in memory, and both go on where they were interrupted.

An export may run while the journal is written to: it goes up to the position that the journal had when it began. The
streams' states (when their owners must be awake, what was erased) are read after that. So a stream may have gone on in
between; its state is that of another moment then, and its owner is woken at once, which is always safe: an owner that
has nothing to do goes back to rest.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from persistence.archive import (
    CHUNK_BYTES,
    CHUNK_LINES,
    Contents,
    EventLine,
    StreamLine,
    chunks,
    look_through,
    open_archive,
    packed,
)
from persistence.checksum import digest_of
from persistence.errors import ArchiveDamaged, JournalDamaged, JournalNotEmpty, JournalUnusable, NotAnArchive
from persistence.intake import check
from persistence.journal import AT_ONCE, PAGE, Append, Batch, Journal, NewEvent, Record
from persistence.limits import WRAPPED_DEPTH, WRAPPED_PAYLOAD
from persistence.new_file import NewFile
from persistence.progress import Progress, no_progress


async def export_to(path: Path, journal: Journal, progress: Progress = no_progress) -> int:
    """Write the journal's events up to its position, and its streams' states, into a new file; return the position.

    What an interrupted export of the same journal has left as ``PATH.part`` is gone on with.

    Raises:
        JournalUnusable: the file can't be written, or there is one already, or the part is not this journal's.
        JournalInUse: another process is writing it.
        JournalDamaged: the journal is.
    """
    with NewFile(path) as new:
        try:
            export = _Export(new, journal)
            await export.events(progress)
            await export.streams()
        except OSError as error:
            raise JournalUnusable(f"can't write {new.part}: {error.strerror}") from error
    return export.position


class _Export:
    def __init__(self, new: NewFile, journal: Journal) -> None:
        self._file = new.file
        self._journal = journal
        self._lines: list[bytes] = []
        self._bytes = 0
        self.position = 0
        """Of the last event that is in the file or on its way there."""
        self._find_end(new.part)

    def _find_end(self, part: Path) -> None:
        try:
            found = look_through(self._file)
        except NotAnArchive as error:
            raise JournalUnusable(f"{part} is there, and {error}; move it away") from error
        if found.identity not in ("", self._journal.identity) or found.position > self._journal.position:
            raise JournalUnusable(f"{part} is there, and is of another journal; move it away")
        self.position = found.position
        self._file.truncate(found.events_end)
        self._file.seek(found.events_end)

    async def events(self, progress: Progress) -> None:
        until = self._journal.position
        while self.position < until:
            progress(self.position, until)
            page = await self._journal.read_all(self.position, min(PAGE, until - self.position))
            if not page:
                raise JournalDamaged(f"{self._journal.url} is damaged: it ends at position {self.position}")
            for record in page:
                self._add(msgspec.json.encode(EventLine.of(record)))
                if self._full:
                    self._write_events(record.position)
            self.position = page[-1].position
        self._write_events(until)
        progress(until, until)

    def _add(self, line: bytes) -> None:
        self._lines.append(line)
        self._bytes += len(line)

    @property
    def _full(self) -> bool:
        return len(self._lines) >= CHUNK_LINES or self._bytes >= CHUNK_BYTES

    def _write_events(self, last: int) -> None:
        if self._lines:
            first = last - len(self._lines) + 1
            self._file.write(packed("events", self._journal.identity, first, self._lines))
            self._lines, self._bytes = [], 0

    async def streams(self) -> None:
        identity, number = self._journal.identity, 0
        while page := await self._journal.streams(number):
            lines = [msgspec.json.encode(StreamLine.of(state)) for state in page]
            self._file.write(packed("streams", identity, page[0].number, lines))
            number = page[-1].number
        self._file.write(packed("end", identity, self.position, [], number))


async def import_from(
    path: Path, journal: Journal, progress: Progress = no_progress, *, salvage: bool = False
) -> Contents:
    """Bring an archive into an empty journal, or go on with that; return what the archive holds.

    The archive is checked whole before the first event is written. Positions and versions are what they were; the
    journal's identity is its own, so that read models are built anew. Until the end, all owners of streams count as
    those that must be awake at once. With ``salvage`` an archive that is not whole is brought in as far as it is.

    Raises:
        NotAnArchive, ArchiveDamaged: the file is not a whole archive.
        JournalNotEmpty: what the journal holds is not the beginning of the archive.
        NotEncodable: the archive holds what no journal takes.
        JournalUnusable: the file can't be read, or the engine does not keep all that the archive says.
    """
    with open_archive(path) as file:
        try:
            found = look_through(file)
        except NotAnArchive as error:
            raise NotAnArchive(f"{path}: {error}") from error
        if found.fault and not salvage:
            raise ArchiveDamaged(f"{path} is damaged: {found.fault}; whole are the events up to {found.position}")
        if journal.position > found.position:
            raise _not_empty(path, journal)
        file.seek(0)
        try:
            for chunk in chunks(file):
                if chunk.header.understudy == "events":
                    await _take_events(journal, chunk.events(), path)
                    progress(journal.position, found.position)
                elif chunk.header.understudy == "streams":
                    await _take_streams(journal, chunk.streams())
        except ArchiveDamaged as error:
            if not salvage:
                raise ArchiveDamaged(f"{path} is damaged: {error}") from error
    return found


def _not_empty(path: Path, journal: Journal) -> JournalNotEmpty:
    return JournalNotEmpty(
        f"{journal.url} holds {journal.position:,} events that are not the beginning of {path}; use an empty journal"
    )


async def _take_events(journal: Journal, records: Sequence[Record], path: Path) -> None:
    first = records[0].position
    there = min(max(journal.position - first + 1, 0), len(records))
    if not await _holds(journal, records[:there]):
        raise _not_empty(path, journal)
    if records := records[there:]:
        batches = [(append,) for append in _appends(records)]
        check(batches, WRAPPED_PAYLOAD, WRAPPED_DEPTH)
        for (append,) in batches:
            append.sound = True  # whatever the journal's own limit: it was written once
        if await journal.append(batches) != records[0].position:
            raise JournalNotEmpty(
                f"somebody else has written to {journal.url} meanwhile; begin again with an empty one"
            )
        if not await _holds(journal, records):
            raise JournalUnusable(f"{journal.url} does not keep all that {path} says of its events; use another engine")


async def _holds(journal: Journal, records: Sequence[Record]) -> bool:
    """Return whether a journal's events at these positions are these."""
    found = await _read_all(journal, records[0].position - 1, len(records)) if records else []
    return list(map(digest_of, found)) == list(map(digest_of, records))


async def _read_all(journal: Journal, after: int, count: int) -> list[Record]:
    records: list[Record] = []
    while len(records) < count and (
        page := await journal.read_all(after + len(records), min(PAGE, count - len(records)))
    ):
        records += page
    return records


def _appends(records: Sequence[Record]) -> Iterator[Append]:
    """Yield the appends that write these records: one for each run that can have come from one."""
    append: Append | None = None
    events: list[NewEvent] = []
    for record in records:
        event = NewEvent(record.type, record.data, record.meta, None, record.id, record.tags)
        if append is None or record.command is not None or (record.stream, record.time) != (append.stream, append.time):
            if append is not None:
                yield append
            events = []
            wake = AT_ONCE if record.version == 1 else None
            append = Append(record.stream, record.version - 1, events, record.time, record.command, wake)
        events.append(event)
    if append is not None:
        yield append


async def _take_streams(journal: Journal, lines: Sequence[StreamLine]) -> None:
    """Say of streams what the archive says; where one went on behind the archive's end, only what was erased."""
    versions = await journal.heads([(line.category, line.key) for line in lines])
    batches: list[Batch] = []
    for line in lines:
        stream = line.category, line.key
        version = versions.get(stream)
        if version is not None:
            wake = line.wake if version == line.version else None
            batches.append((Append(stream, version, [], 0, None, wake, None, line.first if line.first > 1 else 0),))
    if batches:
        await journal.append(batches)
