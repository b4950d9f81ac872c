"""Erasing events of a PostgreSQL journal, in the transaction of the group that says so."""

from collections.abc import Sequence

from persistence.checksum import crc_of, erased
from persistence.journal import ERASED, PAGE, Record
from persistence.postgres_client import Link
from persistence.postgres_queries import READ_PART
from persistence.postgres_reading import PostgresReading
from persistence.postgres_schema import digest_of
from persistence.postgres_text import escaped

FIRST = "select coalesce(first, 1) from streams where id = $1"
MOVE_FIRST = "update streams set first = $2 where id = $1"

# Rows are looked up by their numbers: of a join, the plan might begin at the other side, and is kept.
ERASE = """update events set type = $1, meta = '{}', tags = null,
    data = ($3::text[])[array_position($2, position)],
    crc = ($4::bigint[])[array_position($2, position)] + position where position = any ($2::bigint[])"""
UNTAG = f"""delete from tags where ctid = any (array(
    select t.ctid from unnest($1::text[], $2::bigint[]) as n (tag, position) cross join lateral
        (select t.ctid from tags t where t.tag = {digest_of("n.tag")} and t.position = n.position limit 1) t))"""  # noqa: S608


async def erase(journal: PostgresReading, link: Link, number: int, before: int) -> None:
    """Erase the events of the stream of a number with versions below ``before``, a page at a time.

    Raises:
        JournalDamaged: an event is missing, or is not what was written.
    """
    ((first,),) = await link.fetch(FIRST, number)
    for begin in range(first, before, PAGE):
        end = min(begin + PAGE, before)
        rows = await link.fetch(READ_PART, number, begin, end)
        await _erase(link, journal.records(rows, f"the stream of number {number}", 3, begin - 1, end - begin))
    if first < before:
        await link.fetch(MOVE_FIRST, number, before)


async def _erase(link: Link, records: Sequence[Record]) -> None:
    datas: list[str] = []
    sums: list[int] = []
    for record in records:
        left = erased(record)
        version, time, command = record.version, record.time, record.command
        datas.append(left.data.decode())
        sums.append(crc_of(0, record.stream, version, left.type, time, command, left.data, left.meta, left.id))
    await link.fetch(ERASE, ERASED, [record.position for record in records], datas, sums)
    tags = [(escaped(tag), record.position) for record in records for tag in set(record.tags)]
    if tags:
        await link.fetch(UNTAG, [tag for tag, _ in tags], [position for _, position in tags])
