"""What tells that a record is what was written: a checksum in each row, and a digest for who can't trust the disk."""

import hashlib
import re
from collections.abc import Sequence
from zlib import crc32

import msgspec

from persistence.codec import Decoder
from persistence.errors import NotDecodable
from persistence.journal import ERASED, NewEvent, Record, Snapshot, Stream

_MARK = "\x1f"
_DIGEST = re.compile("[0-9a-f]{64}")

PLAIN = b"%d %d %b %b %d %b%b%b"
"""What a checksum is over: position, time, command (or :data:`NO_COMMAND`), type, version, :func:`place_of` its stream,
payload and metadata. An id and tags, which most events haven't, stand behind the stream: see :func:`crc_of`. For who
takes the checksums of many events in a row."""
NO_COMMAND = b"None"


def crc_of(
    position: int,
    stream: Stream,
    version: int,
    name: str,
    time: int,
    command: str | None,
    data: bytes,
    meta: bytes,
    id_: str | None = None,
    tags: Sequence[str] = (),
) -> int:
    """Return the checksum over all that a row says, so that no part of it can change unseen."""
    said = NO_COMMAND if command is None else command.encode()
    place = place_of(stream)
    if id_ is not None or tags:
        place += f"{_MARK}{id_}{_MARK}{_MARK.join(tags)}".encode()
    return crc32(PLAIN % (position, time, said, name.encode(), version, place, data, meta))


def place_of(stream: Stream) -> bytes:
    """Return a stream's part in :data:`PLAIN`."""
    category, key = stream
    return f"{len(category)} {category}/{key}".encode()


class Erased(msgspec.Struct):
    """The payload of an erased event."""

    digest: str


_erased = Decoder(Erased)


def digest_of(record: Record) -> str:
    """Return the SHA-256 of all that a record says, in hex; of an erased one, that of what it was.

    Raises:
        NotDecodable: it seems to be an erased one, and does not say what it was.
    """
    if record.type == ERASED:
        left: Erased = _erased.decode(record.data)
        if not _DIGEST.fullmatch(left.digest):
            raise NotDecodable("not what is left of an erased event: its digest is no SHA-256 in hex")
        return left.digest
    category, key = record.stream
    head = [record.position, category, key, record.version, record.type, record.time, record.command, record.id]
    said = msgspec.json.encode([*head, record.tags, record.data.decode(), record.meta.decode()])
    return hashlib.sha256(said).hexdigest()


def erased(record: Record) -> NewEvent:
    """Return what is left of a record when it is erased; its place, time, command and id stay beside it."""
    return NewEvent(ERASED, msgspec.json.encode(Erased(digest_of(record))), b"{}", None, record.id)


def snapshot_crc(stream: Stream, snapshot: Snapshot) -> int:
    """Return the checksum of a snapshot and of what it stands for."""
    category, key = stream
    row = f"{len(category)} {category}/{key} {snapshot.version} {snapshot.fingerprint}".encode()
    return crc32(snapshot.data or b"", crc32(row))
