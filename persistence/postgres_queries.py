"""What is asked of a PostgreSQL journal. Values are bound; the texts are put together from our own.

Where one table leads to another, a lateral query with a limit says so: a plan is made once and kept, and one that was
made when the tables were small must not go on to begin at the wrong one.
"""
# ruff: noqa: S608 (no value comes into them)

from collections.abc import Iterable

from persistence.journal import ERASED
from persistence.postgres_schema import digest_of, name_of
from persistence.postgres_text import literal
from persistence.query import Match, Query

_OF_NAME = f"(select * from streams where name = {name_of('n.category', 'n.key')} limit 1) s"
_THIS = f"(select id from streams where name = {name_of('$1::text', '$2::text')})"
_FIRST = f"coalesce((select first from streams where name = {name_of('$1::text', '$2::text')}), 1)"
"""The version of a stream's first event that is not erased."""

_COLUMNS = """e.position, s.category, s.key, e.version, e.type, e.time, e.command, e.data, e.meta, e.crc, e.id, e.tags,
    s.first"""
_READ = f"select {_COLUMNS} from events e left join streams s on s.id = e.stream "
_READ_AT = f"""select {_COLUMNS} from ({{}}) f cross join lateral
    (select * from events where position = f.position limit 1) e left join lateral
    (select * from streams where id = e.stream limit 1) s on true order by e.position"""

HEADS = f"""select n.place, s.id, h.version, h.type, s.owner
    from unnest($1::text[], $2::text[]) with ordinality as n (category, key, place)
    cross join lateral {_OF_NAME} left join lateral
        (select e.version, e.type from events e where e.stream = s.id order by e.version desc limit 1) h on true"""
"""Of the streams in two arrays that exist: the place in the arrays, the number, the version, the last event's type, the
owner's number."""

STRANGERS = f"""select n.place, o.name
    from unnest($1::text[], $2::text[]) with ordinality as n (category, key, place)
    cross join lateral {_OF_NAME} join owners o on o.number = s.owner where s.owner <> $3"""
"""Of the streams in two arrays that belong to others than this owner: the place in the arrays, the owner's name."""

OWNER = "select name from owners where number = $1"

COMMANDS_THERE = f"""select n.place from unnest($1::text[], $2::text[], $3::text[]) with ordinality
    as n (category, key, command, place)
    cross join lateral {_OF_NAME} cross join lateral
        (select from events e where e.stream = s.id and {digest_of("e.command")} = {digest_of("n.command")}
            and e.command is not null limit 1) e"""
"""Of the commands in three arrays, the places of those that are there already."""

_OF_ID = f"{digest_of('e.id')} = {digest_of('n.id')} and e.id is not null"

IDS_THERE = f"""select n.place from unnest($1::text[]) with ordinality as n (id, place)
    cross join lateral (select from events e where {_OF_ID} limit 1) e"""
"""Of the ids in an array, the places of those that are there already."""

BY_IDS = _READ_AT.format(
    f"select e.position from unnest($1::text[]) as n (id) cross join lateral"
    f" (select e.position from events e where {_OF_ID} limit 1) e"
)

READ = f"{_READ} where e.stream = {_THIS} and e.version > greatest($3, {_FIRST} - 1) order by e.version limit $4"
READ_BACK = f"""{_READ} where e.stream = {_THIS} and e.version >= {_FIRST} and e.version < $3
    order by e.version desc limit $4"""
READ_ALL = f"{_READ} where e.position > $1 order by e.position limit $2"
READ_PART = f"{_READ} where e.stream = $1 and e.version >= $2 and e.version < $3 order by e.version"
"""Reads a part of the stream of a number."""

FIND = f"""select version from events where stream = {_THIS} and command is not null
    and {digest_of("command")} = {digest_of("$3::text")}"""

SNAPSHOTS = f"""select n.place, k.version, k.fingerprint, k.data, k.crc
    from unnest($1::text[], $2::text[]) with ordinality as n (category, key, place)
    cross join lateral {_OF_NAME} cross join lateral (select * from snapshots where stream = s.id limit 1) k"""

UNFINISHED = "select category, key from streams where owner = $1 and wake = $2 order by id"
SLEEPING = """select wake, id, category, key from streams where owner = $1 and (wake, id) > ($2, $3)
    order by wake, id limit $4"""

POSITION = "select position from journal"

# -- what queries mean ----------------------------------------------------------------------------------------------

_ITEMS = """with items as materialized (
    select place, after, types::text[] as types, tags::text[] as tags, categories::text[] as categories
    from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[])
        as i (place, after, types, tags, categories))"""
_FITS = """(i.types = '{}' or e.type = any (i.types)) and (i.categories = '{}'
    or (select s.category from streams s where s.id = e.stream) = any (i.categories))"""
# An item's first tag leads to its events; without one they are looked through.
_MATCHING = f"""items i cross join lateral (
    (select t.position from tags t cross join lateral
        (select from events e where e.position = t.position and e.tags @> i.tags and {_FITS} limit 1) e
        where i.tags <> '{{}}' and t.tag = {digest_of("i.tags[1]")} and t.position > i.after and t.position <= $6
        order by t.position limit $7)
    union all
    (select e.position from events e
        where i.tags = '{{}}' and e.position > i.after and e.position <= $6 and e.type <> '{ERASED}' and {_FITS}
        order by e.position limit $7)) f"""

SCAN = f"{_ITEMS} " + _READ_AT.format(f"select distinct f.position from {_MATCHING} order by f.position limit $7")
"""Reads the first $7 events up to position $6 that any of the items in five arrays means."""

BROKEN = f"""{_ITEMS} select p.place, e.position, s.category, s.key, e.version, e.type
    from (select i.place, min(f.position) as position from {_MATCHING} group by i.place) p
    cross join lateral (select * from events where position = p.position limit 1) e
    left join lateral (select * from streams where id = e.stream limit 1) s on true"""
"""Of queries, whose items are in five arrays, those that mean any event: the query's place, and its first event."""


def items(queries: Iterable[tuple[Query, int]]) -> list[list[object]]:
    """Return the items of queries as arrays: the query's place, after which position, types, tags and categories."""
    rows = [
        (place, after, literal(item.types), literal(item.tags), literal(item.categories))
        for place, (query, after) in enumerate(queries)
        for item in query or (Match(),)
    ]
    return [list(column) for column in zip(*rows, strict=True)]
