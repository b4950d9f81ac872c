"""What is asked of an SQLite journal. Values are bound; the texts are put together from our own."""
# ruff: noqa: S608 (no value comes into them)

from typing import Any

from persistence.journal import ERASED
from persistence.query import Match, Query

READ = """select e.position, s.category, s.key, e.version, t.name, e.time, e.command,
    cast(e.data as blob), cast(e.meta as blob), e.crc, e.id, e.tags
    from events e left join streams s on s.id = e.stream left join types t on t.id = e.type """

STREAM = "select id, coalesce(first, 1) from streams where category = ? and key = ?"
SLEEPING = "select wake, id, category, key from streams where "
SNAPSHOT = """select n.version, n.fingerprint, n.data, n.crc from snapshots n
    where n.stream = (select id from streams where category = ? and key = ?)"""
STREAMS = """select id, category, key, (select max(version) from events where stream = streams.id),
    coalesce(first, 1), wake from streams where id > ? and (? is null or category = ?) order by id limit ?"""
SEALS = "select position, hash from seals where position > ? order by position limit ?"
LAST_SEAL = "select position, hash from seals order by position desc limit 1"


def matching(query: Query, after: int, until: int, limit: int) -> tuple[str, list[Any]]:
    """Return the SQL for the positions of the first ``limit`` events that a query means, and what is bound to it."""
    texts: list[str] = []
    values: list[Any] = []
    for item in query or (Match(),):
        text, bound = _item(item, after, until, limit)
        texts.append(f"select position from ({text})")
        values += bound
    return f"{' union '.join(texts)} order by position limit ?", [*values, limit]


def _item(item: Match, after: int, until: int, limit: int) -> tuple[str, list[Any]]:
    tags = list(dict.fromkeys(item.tags))
    # A tag leads to its events; without one they are looked through.
    table, place = (
        ("tags g cross join events e on e.position = g.position", "g.position") if tags else ("events e", "e.position")
    )
    where = [f"{place} > ?", f"{place} <= ?", "e.type is not (select id from types where name = ?)"]
    values: list[Any] = [after, until, ERASED]
    for tag in tags[:1]:
        where.append("g.tag = ?")
        values.append(tag)
    for tag in tags[1:]:
        where.append("exists (select 1 from tags o where o.tag = ? and o.position = g.position)")
        values.append(tag)
    if item.types:
        where.append(f"e.type in (select id from types where name in ({_marks(item.types)}))")
        values += item.types
    if item.categories:
        # Looked up for each event: the streams of a category may be many more than the events of one look.
        where.append(f"(select category from streams where id = e.stream) in ({_marks(item.categories)})")
        values += item.categories
    text = f"select {place} as position from {table} where {' and '.join(where)} order by {place} limit ?"
    return text, [*values, limit]


def _marks(values: tuple[str, ...]) -> str:
    return ", ".join("?" * len(values))
