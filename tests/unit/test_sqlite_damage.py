"""Damage is found, not read: whatever happens to the file, a reader gets what was written or is stopped."""
# ruff: noqa: ASYNC240 (a test may block its loop on a file)

import asyncio
import random
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from persistence import (
    AT_ONCE,
    Append,
    JournalDamaged,
    JournalError,
    Match,
    NewEvent,
    NotAJournal,
    Snapshot,
    SqliteJournal,
    Stream,
    sqlite_file,
)

STREAMS: tuple[Stream, ...] = (("Flight", "LH441"), ("Hotel", "Ritz"), ("Cab", "Rome"))
TAGS = ("all", *(f"tag-{n}" for n in range(5)))
EVENTS = 240
"""Stream n holds the events at positions n + 1, n + 4, n + 7 and so on."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of several pages, each of its payloads findable in the file's bytes."""
    path = tmp_path_factory.mktemp("written") / "journal.db"

    async def write() -> None:
        async with opened(path) as journal:
            for number in range(EVENTS):
                stream, version = STREAMS[number % 3], number // 3
                data, meta = b'"data-%04d %s"' % (number + 1, b"x" * 60), b'"meta-%04d"' % (number + 1)
                tags = (f"tag-{number % 5}", "all")
                new = NewEvent(f"Type{number % 4}", data, meta, id=f"id-{number + 1}", tags=tags)
                wake = (AT_ONCE, 5, 5)[number % 3] if version == 0 else None
                snapshot = Snapshot(version + 1, "f", b'{"kept": "%s"}' % (b"y" * 900)) if version == 79 else None
                append = Append(stream, version, [new], number, f"c{number + 1}", wake, snapshot)
                await journal.append([(append,)])

    asyncio.run(write())
    return path


@pytest.fixture
def path(written: Path, tmp_path: Path) -> Path:
    path = tmp_path / "journal.db"
    path.write_bytes(written.read_bytes())
    return path


@pytest.fixture(params=["small", "large"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether the file is small enough to be checked as a whole when it is opened."""
    if request.param == "large":
        monkeypatch.setattr(sqlite_file, "CHECKED_BYTES", 0)
        monkeypatch.setattr(sqlite_file, "COUNTED_BYTES", 0)
    return str(request.param)


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[SqliteJournal]:
    journal = SqliteJournal(path)
    try:
        await journal.open()
        yield journal
    finally:
        await journal.close()


def damage(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            assert db.execute(statement).rowcount != 0
        db.commit()


async def read_all(path: Path) -> list[bytes]:
    async with opened(path) as journal:
        data: list[bytes] = []
        while page := await journal.read_all(after=len(data), limit=50):
            data += [record.data for record in page]
        return data


async def read(path: Path, stream: Stream) -> list[bytes]:
    async with opened(path) as journal:
        data: list[bytes] = []
        while page := await journal.read(stream, after=len(data), limit=20):
            data += [record.data for record in page]
        return data


async def look(path: Path) -> list[object]:
    """Return all that a journal tells about itself."""
    async with opened(path) as journal:
        snapshots = await journal.snapshots(STREAMS)
        if any(snapshot.data is None for snapshot in snapshots.values()):
            raise JournalDamaged("a snapshot says of itself that it is damaged")
        return [
            snapshots,
            journal.identity,
            journal.position,
            await journal.read_all(limit=1_000),
            [await journal.read(stream, limit=1_000) for stream in STREAMS],
            await journal.heads(STREAMS),
            [await journal.find(STREAMS[n % 3], f"c{n + 1}") for n in range(EVENTS)],
            await journal.unfinished(),
            await journal.sleeping(),
            await journal.by_ids([f"id-{n + 1}" for n in range(EVENTS)]),
            [await journal.scan((Match(tags=(tag,)),), limit=1_000) for tag in TAGS],
        ]


async def test_what_is_not_damaged_is_read(path: Path, size: str) -> None:
    assert len(await read_all(path)) == EVENTS
    assert [len(await read(path, stream)) for stream in STREAMS] == [EVENTS // 3] * 3


# Position 100 is version 34 of Flight/LH441.
CHANGES = {
    "data": "data = replace(data, 'x\"', 'y\"')",
    "meta": "meta = '\"other\"'",
    "data and meta": "data = data || meta",
    "time": "time = time + 1",
    "command": "command = 'other'",
    "no command": "command = null",
    "type": "type = type % 4 + 1",
    "stream": "stream = 2, version = 1000",
    "checksum": "crc = crc + 1",
    "text that is no text": "data = cast(x'ff' as text)",
    "a number": "data = 7",
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_row_stops_its_reader(path: Path, size: str, change: str) -> None:
    damage(path, f"update events set {CHANGES[change]} where position = 100")
    there = ("Hotel/Ritz", 1000) if change == "stream" else ("Flight/LH441", 34)
    with pytest.raises(JournalDamaged, match=f"at position 100, version {there[1]} of stream {there[0]}, is not what"):
        await read_all(path)
    with pytest.raises(JournalDamaged, match=r"stream Flight/LH441(, is not| the event with version 34)"):
        await read(path, STREAMS[0])
    if change != "stream":
        assert len(await read(path, STREAMS[1])) == EVENTS // 3


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_row_with_neither_id_nor_tags_stops_its_reader(tmp_path: Path, change: str) -> None:
    """They are most of all rows, and read by a way of their own."""
    path = tmp_path / "plain.db"
    async with opened(path) as journal:
        for number in range(1, 7):
            new = NewEvent(f"Type{number % 4}", b'"data %s"' % (b"x" * 60), b'"meta"')
            await journal.append([(Append(STREAMS[number % 2], (number - 1) // 2, [new], number, f"c{number}"),)])
    damage(path, f"update events set {CHANGES[change]} where position = 3")
    with pytest.raises(JournalDamaged, match=r"stream Hotel/Ritz(, is not| the event with version 2)"):
        await read(path, STREAMS[1])


@pytest.mark.parametrize("part", ["data", "meta"])
@pytest.mark.parametrize("bit", [0, 5])
async def test_a_flipped_bit_stops_its_reader(path: Path, size: str, part: str, bit: int) -> None:
    content = bytearray(path.read_bytes())
    place = content.index(f'"{part}-0100'.encode())
    content[place + 3] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(JournalDamaged, match="at position 100, version 34 of stream Flight/LH441, is not what"):
        await read_all(path)
    with pytest.raises(JournalDamaged, match="at position 100, version 34 of stream Flight/LH441, is not what"):
        await read(path, STREAMS[0])


async def test_what_comes_before_the_damage_can_be_read(path: Path, size: str) -> None:
    damage(path, "update events set meta = '{}' where position = 100")
    async with opened(path) as journal:
        assert len(await journal.read_all(limit=99)) == 99
        assert len(await journal.read(STREAMS[0], limit=33)) == 33
        for after, limit in ((0, 100), (99, 1), (90, 500)):
            with pytest.raises(JournalDamaged, match="position 100"):
                await journal.read_all(after, limit)
        assert len(await journal.read_all(after=100)) == EVENTS - 100


async def test_a_changed_version_stops_its_reader(path: Path, size: str) -> None:
    damage(path, "update events set version = 1000 where position = 100")
    with pytest.raises(JournalDamaged, match="at position 100, version 1000 of stream Flight/LH441, is not what"):
        await read_all(path)
    with pytest.raises(JournalDamaged, match="in stream Flight/LH441 the event with version 34 is missing"):
        await read(path, STREAMS[0])


async def test_swapped_versions_stop_their_reader(path: Path, size: str) -> None:
    swap = "update events set version = {} where position = {}"
    damage(path, swap.format(-1, 100), swap.format(34, 103), swap.format(35, 100))
    with pytest.raises(JournalDamaged, match="version 34 of stream Flight/LH441, is not what"):
        await read(path, STREAMS[0])


async def test_swapped_positions_stop_their_reader(path: Path, size: str) -> None:
    swap = "update events set position = {} where position = {}"
    damage(path, swap.format(-1, 100), swap.format(100, 101), swap.format(101, -1))
    with pytest.raises(JournalDamaged, match="at position 100, version 34 of stream Hotel/Ritz, is not what"):
        await read_all(path)
    with pytest.raises(JournalDamaged, match="at position 101, version 34 of stream Flight/LH441, is not what"):
        await read(path, STREAMS[0])


async def test_a_lost_row_stops_its_readers(path: Path, size: str) -> None:
    damage(path, "delete from events where position = 100")
    with pytest.raises(JournalDamaged, match="position 100 is missing"):
        await read_all(path)
    found = "position 100 is missing" if size == "small" else "stream Flight/LH441 the event with version 34 is missing"
    with pytest.raises(JournalDamaged, match=found):
        await read(path, STREAMS[0])


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_a_lost_row_is_not_passed_over_by_who_erases(path: Path, version: int) -> None:
    async with opened(path) as journal:
        with closing(sqlite3.connect(path)) as db:
            db.execute("delete from events where position = ?", (3 * version - 2,))
            db.commit()
        with pytest.raises(JournalDamaged, match=f"the event with version {version} is missing"):
            await journal.append([(Append(STREAMS[0], 80, [], 1, erase_before=4),)])
        assert [record.version for record in await journal.read(STREAMS[0], version)] == list(range(version + 1, 81))


@pytest.mark.parametrize("first", [1, EVENTS - 5, EVENTS])
async def test_rows_lost_at_the_end_are_missed(path: Path, size: str, first: int) -> None:
    damage(path, f"delete from events where position >= {first}")
    with pytest.raises(JournalDamaged, match=f"ends at position {first - 1}, but was written up to position {EVENTS}"):
        await read_all(path)


async def test_a_row_lost_at_the_start_is_missed(path: Path, size: str) -> None:
    damage(path, "delete from events where position = 1")
    with pytest.raises(JournalDamaged, match="position 1 is missing"):
        await read_all(path)


async def test_a_row_that_nobody_wrote_is_noticed(path: Path, size: str) -> None:
    columns = f"{EVENTS + 1}, stream, 81, type, time, null, data, meta, crc, null, tags"
    damage(path, f"insert into events select {columns} from events where position = {EVENTS}")
    with pytest.raises(JournalDamaged, match=f"ends at position {EVENTS + 1}"):
        await read_all(path)


async def test_rows_lost_while_the_journal_is_open_are_missed(path: Path, size: str) -> None:
    async with opened(path) as journal:
        damage(path, f"delete from events where position >= {EVENTS - 1}")
        with pytest.raises(JournalDamaged, match=f"position {EVENTS - 1} is missing"):
            await journal.read_all(after=200)
        with pytest.raises(JournalDamaged, match=f"position {EVENTS - 1} is missing"):
            await journal.read_all(after=EVENTS - 2)


async def test_a_lost_stream_is_missed(path: Path, size: str) -> None:
    damage(path, "delete from streams where key = 'LH441'")
    with pytest.raises(JournalDamaged, match="the event at position 1"):
        await read_all(path)


async def test_a_renamed_stream_stops_its_reader(path: Path, size: str) -> None:
    damage(path, "update streams set key = 'LH442' where key = 'LH441'")
    with pytest.raises(JournalDamaged, match="position 1, version 1 of stream Flight/LH442, is not what"):
        await read(path, ("Flight", "LH442"))
    with pytest.raises(JournalDamaged, match="position 1, version 1 of stream Flight/LH442, is not what"):
        await read_all(path)


async def test_a_lost_type_is_missed(path: Path, size: str) -> None:
    damage(path, "delete from types where name = 'Type3'")
    with pytest.raises(JournalDamaged, match="the event at position 4"):
        await read_all(path)


@pytest.mark.parametrize("name", ["'Type9'", "cast(x'ff' as text)", "7"])
async def test_a_renamed_type_stops_its_readers(path: Path, size: str, name: str) -> None:
    damage(path, f"update types set name = {name} where name = 'Type3'")
    with pytest.raises(JournalDamaged):
        await read_all(path)
    with pytest.raises(JournalDamaged):
        await read(path, STREAMS[0])


@pytest.mark.parametrize("table", ["journal", "events", "streams", "types"])
@pytest.mark.parametrize("how", ["drop table", "delete from"])
async def test_a_lost_table_is_missed(path: Path, size: str, table: str, how: str) -> None:
    damage(path, f"{how} {table}")
    with pytest.raises(JournalDamaged):
        await read_all(path)


# An index whose page is replaced by another sound one is found by nothing less than a check of the whole file, so
# "another page" is not there for the large one.
@pytest.mark.parametrize(
    ("size", "scribble"),
    [("small", "noise"), ("small", "zeros"), ("small", "another page"), ("large", "noise"), ("large", "zeros")],
    indirect=["size"],
)
async def test_scribbled_pages_are_found(path: Path, size: str, scribble: str) -> None:
    content, whole = path.read_bytes(), await look(path)
    page = int.from_bytes(content[16:18])
    starts = range(page, len(content), page)
    stopped = 0
    for start in starts:
        other = starts[(start // page) % len(starts)]
        written = {"noise": random.Random(start).randbytes(page), "zeros": bytes(page)}
        new = written.get(scribble, content[other : other + page])
        path.write_bytes(content[:start] + new + content[start + page :])
        try:
            assert await look(path) == whole  # the index over the types' names is not looked at
        except JournalDamaged:
            stopped += 1
    assert stopped >= len(starts) - (1 if size == "large" else 0)


async def test_a_journal_without_its_first_page_is_like_any_other_file(path: Path, size: str) -> None:
    path.write_bytes(random.Random(0).randbytes(4_096) + path.read_bytes()[4_096:])
    with pytest.raises(NotAJournal):
        await look(path)


async def test_a_cut_file_is_found(path: Path, size: str) -> None:
    content = path.read_bytes()
    for length in range(600, len(content), 3_000):
        path.write_bytes(content[:length])
        with pytest.raises(JournalError) as caught:
            await look(path)
        assert isinstance(caught.value, JournalDamaged | NotAJournal)


async def test_no_flipped_bit_goes_unseen_in_a_file_that_is_checked(path: Path) -> None:
    content, whole = path.read_bytes(), await look(path)
    chance = random.Random(4)
    stopped = 0
    for _ in range(150):
        flipped = bytearray(content)
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            assert await look(path) == whole  # in space that is not in use
        except (JournalDamaged, NotAJournal):
            stopped += 1
    assert stopped > 50


async def test_a_write_into_a_damaged_file_is_no_success(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "CHECKED_BYTES", 0)
    monkeypatch.setattr(sqlite_file, "COUNTED_BYTES", 0)
    content = path.read_bytes()
    page = int.from_bytes(content[16:18])
    (root,) = rootpage(path, "events_version")
    start = (root - 1) * page
    path.write_bytes(content[:start] + random.Random(7).randbytes(page) + content[start + page :])
    async with opened(path) as journal:
        with pytest.raises(JournalError):
            await journal.append([(Append(STREAMS[0], EVENTS // 3, [NewEvent("T", b"1", b"1")], 1),)])
        assert journal.position == EVENTS


def rootpage(path: Path, name: str) -> tuple[int]:
    with closing(sqlite3.connect(path)) as db:
        row: tuple[int] = db.execute("select rootpage from sqlite_master where name = ?", (name,)).fetchone()
        return row
