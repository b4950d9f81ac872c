"""Pages of events, the short way: actors are brought back by them, and read models built anew.

SQLite puts a whole page into one text. Row by row its thread would have to wait for the interpreter's lock before each,
for as long as a switch interval while the event loop is busy: five milliseconds, 500 times a page. Types are looked
up once, not joined to each row, and rows are checked in one loop. Whatever is not as it should be (a value of another
sort, a number that is missing, a checksum that differs, a text that is too long) is left to the long way, which says
what is wrong.
"""

import sqlite3
from collections.abc import Mapping
from zlib import crc32

import msgspec

from persistence.checksum import NO_COMMAND, PLAIN, crc_of, place_of
from persistence.journal import Record, Stream

_PAGE = """select json_group_array(json_array(position, version, type, time, command, data, meta, crc, id, tags))
    from (select * from events where stream = ? and version > ? order by version limit ?)"""
_TYPE = "select name from types where id = ?"

Row = tuple[int, int, int, int, str | None, str, str, int, str | None, str | None]
Names = Mapping[int, str]

_rows = msgspec.json.Decoder(list[Row]).decode


def fetch(db: sqlite3.Connection, number: int, after: int, limit: int) -> tuple[list[Row], Names] | None:
    """Return rows of the stream of this number, and the names of their types; None: not this way."""
    try:
        (page,) = db.execute(_PAGE, (number, after, limit)).fetchone()
        rows = _rows(page)
    except (sqlite3.DataError, sqlite3.OperationalError, msgspec.MsgspecError, UnicodeError):
        return None
    names = {type_: (db.execute(_TYPE, (type_,)).fetchone() or (None,))[0] or "" for type_ in {row[2] for row in rows}}
    return rows, names


def records(stream: Stream, rows: list[Row], names: Names, after: int) -> list[Record] | None:
    """Return the events of rows, which follow the version ``after``; None: something is wrong."""
    place, types = place_of(stream), {type_: name.encode() for type_, name in names.items() if name}
    found: list[Record] = []
    add = found.append
    for position, version, type_, time, command, text, told_meta, crc, id_, tags in rows:
        after += 1
        name, data, meta = types.get(type_), text.encode(), told_meta.encode()
        if version != after or name is None:
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
