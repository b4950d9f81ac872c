"""The archive's format: a journal as one file of compressed JSON lines that is checked chunk by chunk.

A file is a row of gzip members, each a *chunk*: a header line, and the lines that it counts and has the SHA-256 of.
Chunks of events come first, in the journal's order; then those of the streams as they were at the end; then one that
ends the archive. So a file that was cut off shows it, and all before the cut can be used. ``zcat`` shows everything.
"""

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

import msgspec

from persistence.errors import ArchiveDamaged, JournalUnusable, NotAnArchive
from persistence.journal import NEVER, Record, StreamState
from persistence.limits import WRAPPED_PAYLOAD

T = TypeVar("T")
Kind = Literal["events", "streams", "end"]

FORMAT = 1
CHUNK_LINES = 1_000
"""How many events or streams a chunk holds at the most."""
CHUNK_BYTES = 4 * 1024 * 1024
"""With so many bytes of lines a chunk is full."""
MOST_BYTES = 4 * WRAPPED_PAYLOAD + 2 * CHUNK_BYTES
"""The largest chunk that is read, unpacked: one that is nearly full, and an event whose payload and metadata are as
large as can be, with a backslash before every character."""
MOST_HEADER = 4_096
"""The longest header."""
LEVEL = 6
_READ = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS


class Header(msgspec.Struct, frozen=True):
    """The first line of a chunk."""

    understudy: Kind
    """What the chunk holds."""
    format: int
    identity: str
    """The journal's."""
    first: int
    """The position of the first event, the number of the first stream; at the end, the position up to which it goes."""
    count: int
    """How many lines follow; at the end, how many streams there are in all."""
    sha256: str
    """Of the lines that follow, in hex."""


class EventLine(msgspec.Struct, omit_defaults=True):
    """A line for an event; one that was erased is there as what is left of it. Its position is its place."""

    category: str
    key: str
    version: int
    type: str
    time: int
    data: str
    meta: str
    command: str | None = None
    id: str | None = None
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, record: Record) -> "EventLine":
        """Return the line for a record."""
        category, key = record.stream
        data, meta = record.data.decode(), record.meta.decode()
        return cls(
            category, key, record.version, record.type, record.time, data, meta, record.command, record.id, record.tags
        )

    def record(self, position: int) -> Record:
        """Return the event as a record at its position."""
        stream, data, meta = (self.category, self.key), self.data.encode(), self.meta.encode()
        return Record(
            position, stream, self.version, self.type, self.time, self.command, data, meta, None, self.id, self.tags
        )


class StreamLine(msgspec.Struct, omit_defaults=True):
    """A line for a stream as it was when the archive was ended: maybe later than its last event here."""

    category: str
    key: str
    version: int
    first: int = 1
    """The version of the first event that is not erased."""
    wake: int = NEVER
    """When its owner must be awake."""

    @classmethod
    def of(cls, state: StreamState) -> "StreamLine":
        """Return the line for a stream."""
        return cls(*state.stream, state.version, state.first, state.wake)


class Chunk(msgspec.Struct, frozen=True):
    """A chunk that was found to be what was written."""

    header: Header
    lines: Sequence[bytes]
    begin: int
    """Where in the file it begins, and where it ends."""
    end: int

    def events(self) -> list[Record]:
        """Return the events of a chunk of events."""
        return [
            line.record(position)
            for position, line in enumerate(_decoded(self.lines, _event_of, self), self.header.first)
        ]

    def streams(self) -> list[StreamLine]:
        """Return the streams of a chunk of streams."""
        return _decoded(self.lines, _stream_of, self)


_header_of = msgspec.json.Decoder(Header)
_event_of = msgspec.json.Decoder(EventLine)
_stream_of = msgspec.json.Decoder(StreamLine)


def _decoded(lines: Sequence[bytes], decoder: msgspec.json.Decoder[T], chunk: Chunk) -> list[T]:
    try:
        return [decoder.decode(line) for line in lines]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ArchiveDamaged(f"the part of the archive from byte {chunk.begin:,} on can't be read: {error}") from error


def packed(kind: Kind, identity: str, first: int, lines: Sequence[bytes], count: int | None = None) -> bytes:
    """Return a chunk as it stands in the file."""
    body = b"".join(line + b"\n" for line in lines)
    digest = hashlib.sha256(body).hexdigest()
    header = Header(kind, FORMAT, identity, first, len(lines) if count is None else count, digest)
    pack = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
    return pack.compress(msgspec.json.encode(header) + b"\n" + body) + pack.flush()


def chunks(file: BinaryIO) -> Iterator[Chunk]:
    """Yield the chunks of a file that begins here, each checked, up to the one that ends the archive.

    Raises:
        NotAnArchive: it does not begin as an archive of this version does.
        ArchiveDamaged: it ends in the middle, or a chunk is not what was written; what was yielded before is whole.
    """
    last: Header | None = None
    for body, begin, end in _members(file):
        head, *lines = body.split(b"\n")
        header = _check_header(head, begin)
        if lines.pop() or hashlib.sha256(body[len(head) + 1 :]).hexdigest() != header.sha256:
            raise ArchiveDamaged(f"what stands from byte {begin:,} on is not what was written (its checksum differs)")
        _check_order(header, last, begin, len(lines))
        yield Chunk(header, lines, begin, end)
        if header.understudy == "end":
            if file.seek(0, 2) != end:
                raise ArchiveDamaged(f"something else follows its end, from byte {end:,} on")
            return
        last = header
    raise ArchiveDamaged("it ends in the middle")


def _check_header(line: bytes, begin: int) -> Header:
    try:
        found = {} if len(line) > MOST_HEADER else msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        version = msgspec.json.decode(found["format"], type=int) if "understudy" in found else None
    except (msgspec.MsgspecError, KeyError, ValueError, RecursionError):
        version = None
    if version is None:
        raise _not_ours(begin, "it is not an archive of Understudy")
    if version != FORMAT:
        raise _not_ours(begin, f"it has archive format {version}, this version of Understudy reads format {FORMAT}")
    try:
        return _header_of.decode(line)
    except msgspec.MsgspecError as error:
        raise ArchiveDamaged(f"the header at byte {begin:,} can't be read: {error}") from error


def _not_ours(begin: int, what: str) -> NotAnArchive | ArchiveDamaged:
    return ArchiveDamaged(f"from byte {begin:,} on {what}") if begin else NotAnArchive(what)


ORDER: Sequence[Kind] = ("events", "streams", "end")


def _check_order(header: Header, last: Header | None, begin: int, lines: int) -> None:
    """Make sure that a chunk is the one that follows, and that no event or stream is left out."""
    kind, first, count = header.understudy, header.first, header.count
    identity, before = (header.identity, "events") if last is None else (last.identity, last.understudy)
    expected = 1 if last is None or kind != before else last.first + last.count
    if kind == "end":
        streams = 0 if last is None or before == "events" else expected_after(last)
        right = lines == 0 and count == streams
    else:
        right = first == expected and count == lines and ORDER.index(kind) >= ORDER.index(before)
    if not right or header.identity != identity:
        raise ArchiveDamaged(f"what stands from byte {begin:,} on does not follow what stands before it")


def expected_after(last: Header) -> int:
    """Return the number of the last line up to and including a chunk's."""
    return last.first + last.count - 1


def _members(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield what each gzip member holds, and where it begins and ends."""
    begin, rest = 0, b""
    while rest or (rest := file.read(_READ)):
        unpack, body = zlib.decompressobj(_GZIP), bytearray()
        while not unpack.eof:
            if not rest and not (rest := file.read(_READ)):
                raise ArchiveDamaged("it ends in the middle")
            try:
                body += unpack.decompress(rest, MOST_BYTES + 1 - len(body))
            except zlib.error as error:
                raise _not_ours(begin, "it is not compressed as an archive is") from error
            if len(body) > MOST_BYTES:
                raise ArchiveDamaged(f"the part from byte {begin:,} on is larger than {MOST_BYTES:,} bytes")
            rest = unpack.unconsumed_tail
        rest = unpack.unused_data
        end = file.tell() - len(rest)
        yield bytes(body), begin, end
        begin = end


class Contents(msgspec.Struct, frozen=True):
    """What an archive holds, as far as it is whole."""

    identity: str
    """The journal's that it was made of; "" where not even the first chunk is whole."""
    position: int
    """The position of its last event."""
    streams: int
    """How many streams it tells the state of."""
    events_end: int
    """Where in the file the events end."""
    fault: str
    """What is wrong with it; "" where it is whole."""


def look_through(file: BinaryIO) -> Contents:
    """Check a whole archive, from the file's start.

    Raises:
        NotAnArchive: it does not begin as an archive of this version does.
    """
    identity, position, streams, events_end, fault = "", 0, 0, 0, ""
    file.seek(0)
    try:
        for chunk in chunks(file):
            header = chunk.header
            identity = header.identity
            if header.understudy == "events":
                position, events_end = expected_after(header), chunk.end
            elif header.understudy == "streams":
                streams = expected_after(header)
            elif header.first != position:
                fault = f"it should go up to position {header.first}, and goes to {position}"
    except ArchiveDamaged as error:
        fault = str(error)
    return Contents(identity, position, streams, events_end, fault)


def open_archive(path: Path) -> BinaryIO:
    """Open an archive for reading.

    Raises:
        JournalUnusable: it can't be read.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise JournalUnusable(f"can't read {path}: {error.strerror}") from error
