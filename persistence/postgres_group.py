"""One group on its way into PostgreSQL: the statements that write it, and the arrays that are bound to them."""
# ruff: noqa: S608 (no value comes into the texts)

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from persistence.checksum import crc_of, snapshot_crc
from persistence.journal import BURIED, NEVER, Append, NewEvent, Snapshot, Stream
from persistence.postgres_schema import digest_of, name_of
from persistence.postgres_text import escaped, literal, named

CHUNK_BYTES = 64 * 1024 * 1024
"""Payload that one statement carries; the server can't take an array of a gigabyte."""

_STREAM = name_of("n.category", "n.key")
# Streams that begin with this group have no numbers yet: -1 is the first of them.
_NUMBER = "case when {0}.stream > 0 then {0}.stream else moved.streams - {0}.stream end"

_ARRAYS = "{}::bigint[], {}::bigint[], {}::text[], {}::bigint[], {}::text[], {}::text[], {}::text[], {}::bigint[]"
# Checksums are without the position, for only the counter's row knows it; it is added here.
_EVENTS = f"""insert into events (position, stream, version, type, time, command, data, meta, crc)
    select moved.position + e.number, {_NUMBER.format("e")}, e.version, e.type, e.time, e.command, e.data, e.meta,
        e.crc + moved.position + e.number
    from moved, unnest({_ARRAYS})
        with ordinality as e (stream, version, type, time, command, data, meta, crc, number)"""
_EVENTS_WITH_MORE = f"""insert into events (position, stream, version, type, time, command, data, meta, crc, id, tags)
    select moved.position + e.number, {_NUMBER.format("e")}, e.version, e.type, e.time, e.command, e.data, e.meta,
        e.crc + moved.position + e.number, e.id, e.tags::text[]
    from moved, unnest({_ARRAYS}, {{}}::text[], {{}}::text[])
        with ordinality as e (stream, version, type, time, command, data, meta, crc, id, tags, number)"""
_TAGS = f"""insert into tags (tag, position) select distinct {digest_of("t.tag")}, moved.position + e.number
    from moved, unnest({{}}::text[]) with ordinality as e (tags, number), unnest(e.tags::text[]) as t (tag)"""
_SNAPSHOTS = f"""insert into snapshots (stream, version, fingerprint, data, crc)
    select {_NUMBER.format("n")}, n.version, n.fingerprint, n.data, n.crc
    from moved, unnest({{}}::bigint[], {{}}::bigint[], {{}}::text[], {{}}::bytea[], {{}}::bigint[])
        as n (stream, version, fingerprint, data, crc)
    on conflict (stream) do update set version = excluded.version, fingerprint = excluded.fingerprint,
        data = excluded.data, crc = excluded.crc"""


def _numbers(first: int, count: int) -> list[str]:
    return [f"${n}" for n in range(first, first + count)]


def _append(*more: str) -> str:
    """Return the statement that writes a group; ``more`` writes its events and what else there is.

    As in :mod:`persistence.postgres_queries`, a limit makes sure that a plan which is kept begins at what is bound.
    """
    return f"""with seat as (
    select from owners where number = $1::bigint and epoch = $2::bigint for no key update
), moved as (
    update journal set position = position + $3::bigint, streams = streams + $4::bigint
    where exists (select from seat)
        and not exists (select from unnest($5::bigint[], $6::bigint[]) as n (stream, version)
            where n.version is distinct from
                (select e.version from events e where e.stream = n.stream order by e.version desc limit 1))
        and not exists (select from unnest($7::text[], $8::text[]) as n (category, key)
            cross join lateral (select from streams s where s.name = {_STREAM} limit 1) s)
    returning position - $3 as position, streams - $4 as streams
), began as (
    insert into streams (id, owner, category, key, wake)
    select moved.streams + n.number, $1, n.category, n.key, n.wake
    from moved, unnest($9::text[], $10::text[], $11::bigint[]) with ordinality as n (category, key, wake, number)
), woken as (
    update streams set wake = n.wake from moved, unnest($12::bigint[], $13::bigint[]) as n (id, wake)
        cross join lateral (select s.ctid as place from streams s where s.id = n.id limit 1) s
    where streams.ctid = s.place
), {", ".join(more)}
select position, streams, case when $3 > 0 and $22 <> '' then pg_notify($22::text, (position + $3)::text) end
    from moved"""


APPEND = _append(f"written as (\n    {_EVENTS.format(*_numbers(14, 8))}\n)")
"""Writes a group, if the writer's epoch is still $2 and all streams are where they should be; else returns no row.

The owner's row is locked first: who takes the seat over waits for the group, or the group for him, and sees the new
epoch. Then the journal's row is, and kept until the group is committed: what is seen of the journal is a prefix.

What stands in other tables is seen as it was when the statement began, maybe before another owner's last group. That
is enough for our own streams, which nobody else writes to, and for those that begin, for two can't have one name. What
is only looked at needs :data:`LOCK` before it.
"""

APPEND_MORE = _append(
    f"written as ({_EVENTS_WITH_MORE.format(*_numbers(14, 8), '$23', '$24')})",
    f"tagged as ({_TAGS.format('$24')})",
    f"kept as ({_SNAPSHOTS.format(*_numbers(25, 5))})",
)
"""Writes a group in which there are ids, tags or snapshots; otherwise as :data:`APPEND`."""

LOCK = """with seat as (select from owners where number = $1::bigint and epoch = $2::bigint for no key update)
    select position from journal where exists (select from seat) for update"""
"""Keeps all other owners out until the transaction ends, so that what is seen is what is there; returns no row where
the writer's epoch is not $2 any more."""

_MOVED = "with moved as (select $1::bigint as position, $2::bigint as streams)"
REST = f"{_MOVED}, tagged as ({_TAGS.format('$12')}) {_EVENTS_WITH_MORE.format(*_numbers(3, 10))}"
"""Writes more events of a group that is too large for one statement, in the same transaction."""
KEEP = f"{_MOVED} {_SNAPSHOTS.format(*_numbers(3, 5))}"
"""Writes a snapshot of such a group."""


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
    """The arrays of one group; ``ids`` are the numbers of the streams that are known, also of those ``buried``."""

    def __init__(self, appends: Sequence[Append], ids: Mapping[Stream, int], buried: Iterable[Stream] = ()) -> None:
        self.began: list[Stream] = []
        """Streams that begin with this group."""
        self.buried = set(buried)
        """Streams that can't be written to any more, also for what is in this group."""
        self.refused = False
        """Whether it is sure without asking the server that a stream is not where it should be."""
        self._ids = ids
        self._heads: dict[Stream, tuple[int, int]] = {}
        self._checks: list[tuple[int, int]] = []
        self._absent: list[Stream] = []
        self._wakes: dict[Stream, int | None] = {}
        self._rows: list[tuple[Any, ...]] = []
        self._more: dict[int, tuple[str | None, str | None]] = {}
        """Ids and tags, by their rows' numbers."""
        self._snapshots: dict[Stream, Snapshot] = {}
        self._erasing: dict[Stream, int] = {}
        self._chunks: list[int] = [0]
        """Where in the rows each statement's part begins."""
        self._bytes = 0
        for append in appends:
            if append.snapshot is not None:
                self._keep(append.stream, append.snapshot)
            if append.erase_before:
                self._erasing[append.stream] = max(append.erase_before, self._erasing.get(append.stream, 0))
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
        if append.events:
            if stream in self.buried:
                return False
            if append.events[-1].type == BURIED:
                self.buried.add(stream)
            self._add_events(append, number)
            version += len(append.events)
        self._heads[stream] = number, version
        if append.wake is not None:
            self._wakes[stream] = None if append.wake == NEVER else append.wake
        return True

    def _add_events(self, append: Append, number: int) -> None:
        stream, version, time, rows = append.stream, append.expected, append.time, self._rows
        command = told = append.command
        if command is not None:
            told = escaped(command)
        for event in append.events:
            version += 1
            name, data, meta = event.type, event.data, event.meta
            crc = crc_of(0, stream, version, name, time, command, data, meta, event.id, event.tags)
            if event.id is not None or event.tags:
                self._add_more(event)
            rows.append((number, version, escaped(name), time, told, data.decode(), meta.decode(), crc))
            command = told = None
            self._bytes += len(data) + len(meta)
            if self._bytes > CHUNK_BYTES:
                self._cut()

    def _add_more(self, event: NewEvent) -> None:
        id_, tags = event.id, literal(event.tags) if event.tags else None
        self._more[len(self._rows)] = None if id_ is None else escaped(id_), tags
        self._bytes += len(tags or "")

    def _keep(self, stream: Stream, snapshot: Snapshot) -> None:
        self._snapshots[stream] = snapshot
        self._bytes += len(snapshot.data or b"")
        if self._bytes > CHUNK_BYTES:
            self._cut()

    def _cut(self) -> None:
        self._chunks.append(len(self._rows))
        self._bytes = 0

    @property
    def events(self) -> int:
        """How many events there are."""
        return len(self._rows)

    @property
    def at_once(self) -> bool:
        """Whether one statement carries it, and it depends on no streams that anybody may begin meanwhile."""
        return len(self._chunks) == 1 and not self._absent and not self._erasing

    @property
    def erases(self) -> bool:
        """Whether events are erased, which may find that there is damage."""
        return bool(self._erasing)

    @property
    def statement(self) -> str:
        """What writes it, or its first part."""
        return APPEND_MORE if self._more or self._snapshots else APPEND

    def values(self, owner: int, epoch: int, channel: str) -> list[Any]:
        """Return what is bound to :attr:`statement`."""
        wakes = [self._wakes.pop(stream, None) for stream in self.began]
        changed = [(self._heads[stream][0], wake) for stream, wake in self._wakes.items()]
        events, more = self._part(0)
        values = [
            owner,
            epoch,
            len(self._rows),
            len(self.began),
            *_columns(self._checks, 2),
            *named(self._absent),
            *named(self.began),
            wakes,
            *_columns(changed, 2),
            *events,
            channel,
        ]
        if self.statement != APPEND:
            values += [*more, *_columns(self._kept() if len(self._chunks) == 1 else [], 5)]
        return values

    def rest(self, position: int, streams: int) -> list[tuple[str, list[Any]]]:
        """Return what else must be run for a large group whose first event comes after ``position``."""
        if len(self._chunks) == 1:
            return []
        found: list[tuple[str, list[Any]]] = []
        for part, begin in enumerate(self._chunks[1:], 1):
            events, more = self._part(part)
            found.append((REST, [position + begin, streams, *events, *more]))
        return found + [(KEEP, [position, streams, *_columns([row], 5)]) for row in self._kept()]

    def erasing(self, streams: int) -> list[tuple[int, int]]:
        """Return the numbers of the streams of which events are erased, and below which versions."""
        heads = [(*self._heads[stream], before) for stream, before in self._erasing.items() if stream in self._heads]
        return [(number if number > 0 else streams - number, min(before, version)) for number, version, before in heads]

    def _kept(self) -> list[tuple[Any, ...]]:
        return [
            (self._heads[stream][0], kept.version, escaped(kept.fingerprint), kept.data, snapshot_crc(stream, kept))
            for stream, kept in self._snapshots.items()
            if stream in self._heads
        ]

    def _part(self, part: int) -> tuple[list[list[Any]], list[list[Any]]]:
        """Return the columns of a part of the events, and their ids and tags."""
        begin, *later = self._chunks[part:]
        end = later[0] if later else len(self._rows)
        more = [self._more.get(row, (None, None)) for row in range(begin, end)] if self._more else []
        columns = [[None] * (end - begin)] * 2 if not self._more else _columns(more, 2)
        return _columns(self._rows[begin:end], 8), columns


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
