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
"""What :func:`crc_of` looks at of an event that has neither id nor tags, as most have: position, time, command, type,
version, :func:`place_of` its stream, payload and metadata. For who takes the checksums of many of them in a row."""
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
    row = _head(position, stream, version, name, time, command, id_, tags)
    return crc32(meta, crc32(data, crc32(row.encode())))


def place_of(stream: Stream) -> bytes:
    """Return a stream's part in :data:`PLAIN`."""
    category, key = stream
    return f"{len(category)} {category}/{key}".encode()


def text_crc(
    position: int,
    stream: Stream,
    version: int,
    name: str,
    time: int,
    command: str | None,
    data: str,
    meta: str,
    id_: str | None = None,
    tags: Sequence[str] = (),
) -> int:
    """Return what :func:`crc_of` does, for who has payload and metadata as texts: in one go, as that is quicker."""
    category, key = stream
    if id_ is None and not tags:
        row = f"{position} {time} {command} {name} {version} {len(category)} {category}/{key}{data}{meta}"
    else:
        row = f"{_head(position, stream, version, name, time, command, id_, tags)}{data}{meta}"
    return crc32(row.encode())


def _head(
    position: int,
    stream: Stream,
    version: int,
    name: str,
    time: int,
    command: str | None,
    id_: str | None,
    tags: Sequence[str],
) -> str:
    category, key = stream
    row = f"{position} {time} {command} {name} {version} {len(category)} {category}/{key}"
    return row if id_ is None and not tags else f"{row}{_MARK}{id_}{_MARK}{_MARK.join(tags)}"


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
