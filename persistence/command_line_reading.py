"""The commands that show what is in a journal: info, streams, show and tail."""

import time
from argparse import ArgumentParser
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from persistence.command_line_job import OK, Command, Job, at_least, existing
from persistence.command_line_page import (
    local,
    payload_for_people,
    record_for_programs,
    utc,
    wake_for_people,
    wake_for_programs,
)
from persistence.journal import AT_ONCE, NEVER, PAGE, Journal, Record, StreamState
from persistence.query import Match

NEWS = 3_600.0
"""Seconds after which who follows a journal asks again; nothing depends on it."""


# -- info -------------------------------------------------------------------------------------------------------


class _Category:
    def __init__(self) -> None:
        self.streams = self.events = self.unfinished = self.sleeping = 0
        self.next = NEVER

    def add(self, state: StreamState) -> None:
        self.streams += 1
        self.events += state.version
        self.unfinished += state.wake == AT_ONCE
        self.sleeping += AT_ONCE < state.wake < NEVER
        if state.wake > AT_ONCE:
            self.next = min(self.next, state.wake)


async def _all_streams(journal: Journal, category: str | None = None) -> AsyncIterator[list[StreamState]]:
    number = 0
    while page := await journal.streams(number, PAGE, category):
        yield page
        number = page[-1].number


async def _info(job: Job) -> int:
    journal, page = job.journal, job.page
    categories: dict[str, _Category] = {}
    async for states in _all_streams(journal):
        for state in states:
            categories.setdefault(state.stream[0], _Category()).add(state)
    position = await journal.changed(NEVER, 0)
    ends = [*await journal.read_all(0, 1), *await journal.read_all(position - 1, 1)] if position else []
    seal = await journal.last_seal()
    each = sorted(categories.items())
    streams = sum(category.streams for _, category in each)
    unfinished = sum(category.unfinished for _, category in each)
    sleeping = sum(category.sleeping for _, category in each)
    wake = min((category.next for _, category in each), default=NEVER)
    if page.as_json:
        page.object(
            {
                "journal": journal.url,
                "identity": journal.identity,
                "position": position,
                "first_event": utc(ends[0].time) if ends else None,
                "last_event": utc(ends[-1].time) if ends else None,
                "streams": streams,
                "unfinished": unfinished,
                "sleeping": sleeping,
                "next_wake": wake_for_programs(wake),
                "last_seal": None if seal is None else str(seal),
                "categories": [
                    {"category": name, "streams": c.streams, "events": c.events, "unfinished": c.unfinished}
                    for name, c in each
                ],
            }
        )
        return OK
    page.facts(
        [
            ("journal", journal.url),
            ("identity", journal.identity),
            ("position", f"{position:,}" + _age(ends[-1].time if ends else None)),
            ("first event", local(ends[0].time) if ends else "none yet"),
            ("last event", local(ends[-1].time) if ends else "none yet"),
            ("streams", f"{streams:,}"),
            ("unfinished", f"{unfinished:,} streams"),
            ("sleeping", f"{sleeping:,} streams" + (f", the first until {local(wake)}" if sleeping else "")),
            ("last seal", "none" if seal is None else str(seal)),
        ]
    )
    if each:
        page.line()
        page.heading("category", " streams", " events", " unfinished")
        page.rows([(name, f"{c.streams:,}", f"{c.events:,}", f"{c.unfinished:,}") for name, c in each])
    return OK


def _age(last: int | None) -> str:
    if last is None:
        return ""
    seconds = time.time() - last / 1e6
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f", written {seconds / size:,.0f} {unit} ago"
    return f", written {max(seconds, 0):.0f} seconds ago"


INFO = Command(
    "info",
    "say what the journal holds: how many events and streams, of which categories",
    _info,
    examples=("sqlite:trips.db", "postgresql://me@host/trips --json"),
)


# -- streams ----------------------------------------------------------------------------------------------------


def _streams_options(parser: ArgumentParser) -> None:
    parser.add_argument("--category", metavar="C", help="only the streams of this category")


async def _streams(job: Job) -> int:
    page = job.page
    page.heading("stream", " version", " erased", "to be woken")
    async for states in _all_streams(job.journal, job.options.category):
        if page.as_json:
            for state in states:
                page.object(_stream_for_programs(state))
        else:
            page.rows(
                [
                    (
                        "/".join(state.stream),
                        f"{state.version:,}",
                        f"{state.first - 1:,}" if state.first > 1 else "",
                        wake_for_people(state.wake),
                    )
                    for state in states
                ]
            )
    return OK


def _stream_for_programs(state: StreamState) -> dict[str, Any]:
    category, key = state.stream
    return {
        "number": state.number,
        "category": category,
        "key": key,
        "version": state.version,
        "first": state.first,
        "wake": wake_for_programs(state.wake),
    }


STREAMS = Command(
    "streams",
    "list the streams in the order in which they began",
    _streams,
    add_options=_streams_options,
    examples=("sqlite:trips.db", "sqlite:trips.db --category Flight"),
)


# -- show -------------------------------------------------------------------------------------------------------


def _show_options(parser: ArgumentParser) -> None:
    parser.add_argument("--from", dest="first", type=at_least(1), metavar="N", help="begin with version N")
    parser.add_argument("--to", dest="last", type=at_least(1), metavar="N", help="end with version N")
    parser.add_argument("--backwards", action="store_true", help="the latest first")
    _long_option(parser)


def _long_option(parser: ArgumentParser) -> None:
    parser.add_argument("--long", action="store_true", help="also the commands, ids, tags and metadata")


async def _show(job: Job) -> int:
    page, options = job.page, job.options
    stream, version = await existing(job.journal, options.operand)
    first, last = options.first or 1, min(options.last or version, version)
    page.heading(" version", " position", "time", "type", "data")
    seen = False
    async for records in (_backwards if options.backwards else _forwards)(job.journal, stream, first, last):
        if records and not seen and not options.backwards and records[0].version > first and not page.as_json:
            page.note(f"versions {first} to {records[0].version - 1} are erased")
        seen = True
        _write_records(job, records, in_stream=True)
    return OK


async def _forwards(journal: Journal, stream: tuple[str, str], first: int, last: int) -> AsyncIterator[list[Record]]:
    after = first - 1
    while after < last and (records := await journal.read(stream, after, PAGE)):
        yield [record for record in records if record.version <= last]
        after = records[-1].version


async def _backwards(journal: Journal, stream: tuple[str, str], first: int, last: int) -> AsyncIterator[list[Record]]:
    before = last + 1
    while before > first and (records := await journal.read_back(stream, before, PAGE)):
        yield [record for record in records if record.version >= first]
        before = records[-1].version


def _write_records(job: Job, records: list[Record], *, in_stream: bool = False) -> None:
    page = job.page
    if page.as_json:
        for record in records:
            page.object(record_for_programs(record))
    elif job.options.long:
        for record in records:
            page.facts(_facts(record))
            page.line()
    else:
        page.rows(
            [
                (
                    *((f"{record.version}", f"{record.position}") if in_stream else (f"{record.position}",)),
                    local(record.time),
                    *(() if in_stream else ("/".join(record.stream),)),
                    record.type,
                    payload_for_people(record),
                )
                for record in records
            ]
        )
    page.flush()


def _facts(record: Record) -> list[tuple[str, str]]:
    facts = [
        ("position", str(record.position)),
        ("stream", f"{'/'.join(record.stream)}, version {record.version}"),
        ("time", local(record.time)),
        ("type", record.type),
        ("command", record.command or ""),
        ("id", record.id or ""),
        ("tags", ", ".join(record.tags)),
        ("data", payload_for_people(record)),
        ("meta", record.meta.decode("utf-8", "backslashreplace")),
    ]
    return [(name, said) for name, said in facts if said]


SHOW = Command(
    "show",
    "show the events of one stream",
    _show,
    operand="STREAM",
    add_options=_show_options,
    examples=("sqlite:trips.db Flight/LH441", "sqlite:trips.db TripSaga/trip-7 --backwards --json"),
    more="STREAM is the category, a slash, and the key; what follows the first slash is the key, whatever it is.",
)


# -- tail -------------------------------------------------------------------------------------------------------


def _tail_options(parser: ArgumentParser) -> None:
    parser.add_argument("-n", dest="count", type=at_least(0), default=10, metavar="N", help="the last N (default: 10)")
    parser.add_argument("--after", type=at_least(0), metavar="POSITION", help="all behind this position instead")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is written from now on")
    parser.add_argument("--type", action="append", default=[], metavar="T", help="events of this type; or of another")
    parser.add_argument("--category", action="append", default=[], metavar="C", help="of this category; or of another")
    parser.add_argument("--tag", action="append", default=[], metavar="T", help="with this tag; and with another")
    _long_option(parser)


async def _tail(job: Job) -> int:
    journal, options = job.journal, job.options
    match = Match(tuple(options.type), tuple(options.tag), tuple(options.category))
    position = await journal.changed(NEVER, 0)
    job.page.heading(" position", "time", "stream", "type", "data")
    after = options.after
    if after is None:
        _write_records(job, await _last(journal, match, position, options.count))
        after = position
    while True:
        async for records in _matching(journal, match, after, position):
            _write_records(job, records)
        if not options.follow:
            return OK
        after = max(after, position)
        while position <= after:
            position = await journal.changed(after, NEWS)


async def _last(journal: Journal, match: Match, position: int, count: int) -> list[Record]:
    """Return the last so many events that are meant; without a condition there is no need to look through all."""
    last: deque[Record] = deque(maxlen=count)
    begin = max(position - count, 0) if match == Match() else 0
    async for records in _matching(journal, match, begin, position):
        last.extend(records)
    return list(last)


async def _matching(journal: Journal, match: Match, after: int, until: int) -> AsyncIterator[list[Record]]:
    while after < until:
        if match == Match():  # also what is left of erased events
            records = await journal.read_all(after, min(PAGE, until - after))
            after = records[-1].position if records else until
        else:
            scan = await journal.scan((match,), after)
            records, after = [record for record in scan.records if record.position <= until], scan.position
        if records:
            yield records


TAIL = Command(
    "tail",
    "show the journal's last events, of all streams, and follow it",
    _tail,
    add_options=_tail_options,
    examples=("sqlite:trips.db -n 100", "sqlite:trips.db -f --type SeatHeld --category Flight", "--after 12345 --json"),
)
