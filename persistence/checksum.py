"""What tells that a record is what was written: a checksum in each row, and a digest for who can't trust the disk."""

import hashlib
import zlib
from collections.abc import Sequence

import msgspec

from persistence.codec import Decoder
from persistence.journal import ERASED, NewEvent, Record, Snapshot, Stream

_MARK = "\x1f"


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
    category, key = stream
    row = f"{position} {time} {command} {name} {version} {len(category)} {category}/{key}"
    if id_ is not None or tags:
        row += f"{_MARK}{id_}{_MARK}{_MARK.join(tags)}"
    return zlib.crc32(meta, zlib.crc32(data, zlib.crc32(row.encode())))


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
    return zlib.crc32(snapshot.data or b"", zlib.crc32(row))
