"""One group on its way into PostgreSQL: the statement that writes it, and the arrays that are bound to it."""

from collections.abc import Mapping, Sequence
from typing import Any

from persistence.checksum import crc_of
from persistence.journal import NEVER, Append, Stream
from persistence.postgres_schema import name_of
from persistence.postgres_text import escaped

CHUNK_BYTES = 64 * 1024 * 1024
"""Payload that one statement carries; the server can't take an array of a gigabyte."""

_STREAM = name_of("n.category", "n.key")

# Streams that begin with this group have no numbers yet: -1 is the first of them. Checksums are without the position,
# for only the counter's row knows it; it is added here.
_EVENTS = """insert into events (position, stream, version, type, time, command, data, meta, crc)
    select moved.position + e.number, case when e.stream > 0 then e.stream else moved.streams - e.stream end,
        e.version, e.type, e.time, e.command, e.data, e.meta, e.crc + moved.position + e.number
    from moved, unnest({}::bigint[], {}::bigint[], {}::text[], {}::bigint[], {}::text[], {}::text[], {}::text[],
        {}::bigint[]) with ordinality as e (stream, version, type, time, command, data, meta, crc, number)"""

APPEND = f"""with seat as (
    select from owners where number = $1::bigint and epoch = $2::bigint for no key update
), moved as (
    update journal set position = position + $3::bigint, streams = streams + $4::bigint
    where exists (select from seat)
        and not exists (select from unnest($5::bigint[], $6::bigint[]) as n (stream, version)
            where n.version is distinct from
                (select e.version from events e where e.stream = n.stream order by e.version desc limit 1))
        and not exists (select from unnest($7::text[], $8::text[]) as n (category, key)
            where exists (select from streams s where s.name = {_STREAM}))
    returning position - $3 as position, streams - $4 as streams
), began as (
    insert into streams (id, owner, category, key, wake)
    select moved.streams + n.number, $1, n.category, n.key, n.wake
    from moved, unnest($9::text[], $10::text[], $11::bigint[]) with ordinality as n (category, key, wake, number)
), woken as (
    update streams set wake = n.wake from moved, unnest($12::bigint[], $13::bigint[]) as n (id, wake)
    where streams.id = n.id
), written as (
    {_EVENTS.format(*(f"${n}" for n in range(14, 22)))}
)
select position, streams, case when $3 > 0 and $22 <> '' then pg_notify($22::text, (position + $3)::text) end
    from moved"""  # noqa: S608
"""Writes a group, if the writer's epoch is still $2 and all streams are where they should be; else returns no row.

The owner's row is locked first: who takes the seat over waits for the group, or the group for him, and sees the new
epoch. Then the journal's row is, and kept until the group is committed: what is seen of the journal is a prefix.

What stands in other tables is seen as it was when the statement began, maybe before another owner's last group. That
is enough for our own streams, which nobody else writes to, and for those that begin, for two can't have one name. What
is only looked at needs :data:`LOCK` before it.
"""

LOCK = "select from journal for update"
"""Keeps all other owners out until the transaction ends; so what is seen is what is there."""

MORE = "with moved as (select $1::bigint as position, $2::bigint as streams) " + _EVENTS.format(
    *(f"${n}" for n in range(3, 11))
)
"""Writes more events of a group that is too large for one statement, in the same transaction."""


def named(streams: Sequence[Stream]) -> tuple[list[str], list[str]]:
    """Return streams as two arrays, of categories and of keys."""
    return [escaped(category) for category, _ in streams], [escaped(key) for _, key in streams]


def to_look_up(appends: Sequence[Append], ids: Mapping[Stream, int]) -> list[Stream]:
    """Return the streams whose numbers must be looked up; one that should be new is taken for new without a look."""
    seen: set[Stream] = set()
    unknown: list[Stream] = []
    for append in appends:
        stream = append.stream
        if stream not in seen:
            seen.add(stream)
            if (append.expected or not append.events) and stream not in ids:
                unknown.append(stream)
    return unknown


class Group:
    """The arrays of one group; ``ids`` are the numbers of the streams that are known."""

    def __init__(self, appends: Sequence[Append], ids: Mapping[Stream, int]) -> None:
        self.began: list[Stream] = []
        """Streams that begin with this group."""
        self.refused = False
        """Whether it is sure without asking the server that a stream is not where it should be."""
        self._ids = ids
        self._heads: dict[Stream, tuple[int, int]] = {}
        self._checks: list[tuple[int, int]] = []
        self._absent: list[Stream] = []
        self._wakes: dict[Stream, int | None] = {}
        self._rows: list[tuple[Any, ...]] = []
        self._chunks: list[int] = [0]
        """Where in the rows each statement's part begins."""
        self._bytes = 0
        for append in appends:
            if not self._add(append):
                self.refused = True
                break

    def _add(self, append: Append) -> bool:
        stream = append.stream
        head = self._heads.get(stream)
        if head is None:
            number = self._ids.get(stream)
            if number is not None:
                head = number, append.expected
                self._checks.append(head)
            elif append.expected:
                return False
            elif not append.events:
                self._absent.append(stream)
                return True
            else:
                self.began.append(stream)
                head = -len(self.began), 0
        number, version = head
        if version != append.expected:
            return False
        command, time = append.command, append.time
        for event in append.events:
            version += 1
            crc = crc_of(0, stream, version, event.type, time, command, event.data, event.meta)
            self._rows.append(
                (
                    number,
                    version,
                    escaped(event.type),
                    time,
                    None if command is None else escaped(command),
                    event.data.decode(),
                    event.meta.decode(),
                    crc,
                )
            )
            command = None
            self._bytes += len(event.data) + len(event.meta)
            if self._bytes > CHUNK_BYTES:
                self._chunks.append(len(self._rows))
                self._bytes = 0
        self._heads[stream] = number, version
        if append.wake is not None:
            self._wakes[stream] = None if append.wake == NEVER else append.wake
        return True

    @property
    def events(self) -> int:
        """How many events there are."""
        return len(self._rows)

    @property
    def large(self) -> bool:
        """Whether one statement can't carry it."""
        return len(self._chunks) > 1

    @property
    def looks(self) -> bool:
        """Whether it depends on streams that it does not write to, and that anybody may begin."""
        return bool(self._absent)

    def values(self, owner: int, epoch: int, channel: str) -> list[Any]:
        """Return what is bound to :data:`APPEND`."""
        wakes = [self._wakes.pop(stream, None) for stream in self.began]
        changed = [(self._heads[stream][0], wake) for stream, wake in self._wakes.items()]
        return [
            owner,
            epoch,
            len(self._rows),
            len(self.began),
            *_columns(self._checks, 2),
            *named(self._absent),
            *named(self.began),
            wakes,
            *_columns(changed, 2),
            *self._part(0),
            channel,
        ]

    def more(self, position: int, streams: int) -> list[list[Any]]:
        """Return what is bound to each :data:`MORE`, for a group whose first event comes after ``position``."""
        return [[position + begin, streams, *self._part(part)] for part, begin in enumerate(self._chunks) if part]

    def _part(self, part: int) -> list[list[Any]]:
        begin, *later = self._chunks[part:]
        return _columns(self._rows[begin : later[0] if later else None], 8)


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
