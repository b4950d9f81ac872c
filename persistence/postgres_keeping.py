"""A PostgreSQL journal's streams as they are, and its seals."""

from collections.abc import Sequence

from persistence.journal import NEVER, Seal, StreamState
from persistence.postgres_client import Link, Reader
from persistence.postgres_text import escaped, unescaped

_STREAMS = """select id, category, key,
    (select e.version from events e where e.stream = s.id order by e.version desc limit 1),
    coalesce(first, 1), wake
    from streams s where id > $1 and ($2::text is null or category = $2) order by id limit $3"""
_SEALS = "select position, hash from seals where position > $1 order by position limit $2"
_LAST_SEAL = "select position, hash from seals order by position desc limit 1"
_KEEP = "insert into seals select * from unnest($1::bigint[], $2::text[]) on conflict do nothing"


async def streams(reader: Reader, after: int, limit: int, category: str | None) -> list[StreamState]:
    """Return a page of streams; see :meth:`persistence.Journal.streams`."""
    name = None if category is None else escaped(category)
    rows = await reader.fetch("the streams", _STREAMS, after, name, limit)
    return [
        StreamState(number, (unescaped(of), unescaped(key)), version, first, NEVER if wake is None else wake)
        for number, of, key, version, first, wake in rows
    ]


async def seals(reader: Reader, after: int, limit: int) -> list[Seal]:
    """Return a page of seals; see :meth:`persistence.Journal.seals`."""
    rows = await reader.fetch("the seals", _SEALS, after, limit)
    return [Seal(position, hash_) for position, hash_ in rows]


async def last_seal(reader: Reader) -> Seal | None:
    """Return the last seal; see :meth:`persistence.Journal.last_seal`."""
    rows = await reader.fetch("the last seal", _LAST_SEAL)
    return Seal(*rows[0]) if rows else None


async def keep(link: Link, kept: Sequence[Seal]) -> None:
    """Keep seals; errors as of :meth:`Link.fetch`."""
    await link.fetch(_KEEP, [seal.position for seal in kept], [seal.hash for seal in kept])
