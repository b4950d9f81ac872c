"""The checksum that every engine keeps beside a record, so that damage is found and not read."""

import zlib

from persistence.journal import Stream


def crc_of(
    position: int, stream: Stream, version: int, name: str, time: int, command: str | None, data: bytes, meta: bytes
) -> int:
    """Return the checksum over all that a row says, so that no part of it can change unseen."""
    category, key = stream
    row = f"{position} {time} {command} {name} {version} {len(category)} {category}/{key}".encode()
    return zlib.crc32(meta, zlib.crc32(data, zlib.crc32(row)))
