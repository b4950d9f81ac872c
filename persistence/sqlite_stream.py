"""A page of one stream, the short way: actors are brought back by it, some of them from thousands of events.

Stream and types are looked up once, not joined to each row, and rows are checked in one loop. Whatever is not as it
should be is left to the long way, which says what is wrong.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import msgspec

from persistence.checksum import NO_COMMAND, PLAIN, crc_of, place_of
from persistence.journal import Record, Stream

_ROWS = """select position, version, type, time, command, cast(data as blob), cast(meta as blob), crc, id, tags
    from events where stream = ? and version > ? order by version limit ?"""
_TYPE = "select name from types where id = ?"

Names = Mapping[int, str]


def fetch(db: sqlite3.Connection, number: int, after: int, limit: int) -> tuple[Sequence[tuple[Any, ...]], Names]:
    """Return rows of the stream of this number, and the names of their types."""
    rows = db.execute(_ROWS, (number, after, limit)).fetchall()
    names = {type_: (db.execute(_TYPE, (type_,)).fetchone() or (None,))[0] or "" for type_ in {row[2] for row in rows}}
    return rows, names


def records(stream: Stream, rows: Sequence[tuple[Any, ...]], names: Names, after: int) -> list[Record] | None:
    """Return the events of rows, which follow the version ``after``; None: something is wrong."""
    place, types = place_of(stream), {type_: name.encode() for type_, name in names.items() if name}
    found: list[Record] = []
    add = found.append
    for position, version, type_, time, command, data, meta, crc, id_, tags in rows:
        after += 1
        name = types.get(type_)
        if version != after or name is None or data is None or meta is None:
            return None
        if id_ is None and not tags:
            said = NO_COMMAND if command is None else command.encode()
            if crc32(PLAIN % (position, time, said, name, version, place, data, meta)) != crc:
                return None
            add(Record(position, stream, version, names[type_], time, command, data, meta))
        else:
            told = tags_of(tags) if tags else ()
            if crc_of(position, stream, version, names[type_], time, command, data, meta, id_, told) != crc:
                return None
            add(Record(position, stream, version, names[type_], time, command, data, meta, None, id_, told))
    return found


def tags_of(text: str) -> tuple[str, ...]:
    """Return an event's tags as they were written; of damaged ones, some others, so that the checksum tells."""
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.MsgspecError:
        return ("",)
