"""What every engine must keep: one suite, inherited by each engine's own test file."""

import asyncio
import math
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persistence import (
    AT_ONCE,
    NEVER,
    Append,
    Batch,
    DuplicateCommand,
    Journal,
    NewEvent,
    Record,
    Sleeper,
    Stream,
    VersionConflict,
)
from persistence.limits import MAX_PAYLOAD

SEATS: Stream = ("Flight", "LH441")
ROOMS: Stream = ("Hotel", "Ritz")
NOON = 1_700_000_000_123_456

texts = st.text(st.characters(codec="utf-8"), max_size=12)
awkward = st.sampled_from(
    ["", "\0", "a\0", "'", '"', "/", "a/b", "%", "_", "--", ";", "é", "\u0301", "🪑", "K", "k", " k"]
)
names = st.tuples(texts | awkward, texts | awkward)

# One property runs on several engines, so no engine may replay what another found.
any_engine = settings(
    max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.differing_executors]
)


def event(text: str = "{}", name: str = "SeatHeld") -> NewEvent:
    return NewEvent(name, text.encode(), b'{"by":"test"}')


def events(count: int, name: str = "SeatHeld") -> list[NewEvent]:
    return [event(f'{{"n":{n}}}', name) for n in range(1, count + 1)]


def put(
    stream: Stream,
    expected: int,
    new: Sequence[NewEvent] | int = 1,
    command: str | None = None,
    mark: bool | None = None,
    wake: int | None = None,
) -> Append:
    """Return an append; ``mark`` is short for a wake time of at once or never."""
    if mark is not None:
        wake = AT_ONCE if mark else NEVER
    return Append(stream, expected, events(new) if isinstance(new, int) else new, NOON, command, wake)


async def everything(journal: Journal) -> list[Record]:
    """Read the whole journal and check what always holds: positions and each stream's versions have no gaps."""
    records = await journal.read_all(limit=1_000_000)
    assert [record.position for record in records] == list(range(1, len(records) + 1))
    assert journal.position == len(records)
    versions: dict[Stream, int] = {}
    for record in records:
        versions[record.stream] = versions.get(record.stream, 0) + 1
        assert record.version == versions[record.stream]
    assert await journal.heads(list(versions)) == versions
    return records


def where(records: Sequence[Record]) -> list[tuple[Stream, int]]:
    return [(record.stream, record.version) for record in records]


class JournalContract(ABC):
    @abstractmethod
    def make(self, folder: Path, max_payload: int = MAX_PAYLOAD) -> Journal:
        """Return a new journal, not yet open, that keeps its files in ``folder``."""

    @asynccontextmanager
    async def opened(self, folder: Path, max_payload: int = MAX_PAYLOAD) -> AsyncGenerator[Journal]:
        journal = self.make(folder, max_payload=max_payload)
        await journal.open()
        try:
            yield journal
        finally:
            await journal.close()

    @pytest.fixture
    async def journal(self, tmp_path: Path) -> AsyncGenerator[Journal]:
        async with self.opened(tmp_path) as journal:
            yield journal

    # -- appending and reading ----------------------------------------------------------------------------------

    async def test_a_new_journal_is_empty(self, journal: Journal) -> None:
        assert journal.position == 0
        assert journal.identity
        assert await journal.read_all() == []
        assert await journal.read(SEATS) == []
        assert await journal.heads([SEATS, ROOMS]) == {}
        assert await journal.find(SEATS, "c1") is None
        assert await journal.unfinished() == []
        assert await journal.sleeping() == []

    async def test_a_journal_that_was_closed_has_not_crashed(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as journal:
            assert not journal.crashed
            for _ in range(2):
                await journal.append([(put(SEATS, journal.position),)])
                await journal.close()
                await journal.open()
                assert not journal.crashed

    async def test_two_journals_have_two_identities(self, tmp_path: Path) -> None:
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        async with self.opened(tmp_path / "one") as one, self.opened(tmp_path / "two") as two:
            assert one.identity != two.identity

    async def test_an_event_reads_back_as_it_was_written(self, journal: Journal) -> None:
        new = NewEvent("SeatHeld", '{"seat":"7ä"}'.encode(), '{"by":"Zoë"}'.encode())
        assert await journal.append([(Append(SEATS, 0, [new], NOON, "c1"),)]) == 1
        (record,) = await journal.read(SEATS)
        assert record == Record(1, SEATS, 1, "SeatHeld", NOON, "c1", new.data, new.meta)
        assert await journal.read_all() == [record]

    async def test_versions_and_positions_count_from_one_without_gaps(self, journal: Journal) -> None:
        assert await journal.append([(put(SEATS, 0, 2),)]) == 1
        assert await journal.append([(put(ROOMS, 0),), (put(SEATS, 2, 3),)]) == 3
        assert await journal.append([(put(ROOMS, 1, 2),)]) == 7
        assert journal.position == 8
        expected = [(SEATS, 1), (SEATS, 2), (ROOMS, 1), (SEATS, 3), (SEATS, 4), (SEATS, 5), (ROOMS, 2), (ROOMS, 3)]
        assert where(await everything(journal)) == expected
        assert await journal.heads([ROOMS, SEATS, ("No", "such")]) == {ROOMS: 3, SEATS: 5}

    async def test_one_group_may_write_one_stream_several_times(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 2, "c1"),), (put(SEATS, 2, 1, "c2"),), (put(SEATS, 3, 2, "c3"),)])
        assert [record.command for record in await journal.read(SEATS)] == ["c1", None, "c2", "c3", None]

    async def test_several_types_keep_their_names(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, [event(), event(name="SeatReleased"), event()]),)])
        await journal.append([(put(SEATS, 3, [event(name="Ünïcode.Tag"), event(name="SeatReleased")]),)])
        assert [record.type for record in await journal.read(SEATS)] == [
            "SeatHeld", "SeatReleased", "SeatHeld", "Ünïcode.Tag", "SeatReleased",
        ]  # fmt: skip

    @pytest.mark.parametrize("count", [1, 3, 255, 256, 257, 5_000])
    async def test_a_group_of_any_size_is_written_whole(self, journal: Journal, count: int) -> None:
        streams = [("Flight", f"f{n}") for n in range(count)]
        await journal.append([(put(stream, 0, [event(f'"{stream[1]}"')], f"c{stream[1]}"),) for stream in streams])
        await journal.append([(put(SEATS, 0, count),)])
        records = await everything(journal)
        assert where(records) == [(stream, 1) for stream in streams] + [(SEATS, n) for n in range(1, count + 1)]
        assert [record.data for record in records[:count]] == [f'"{key}"'.encode() for _, key in streams]
        assert [record.data for record in records[count:]] == [new.data for new in events(count)]

    async def test_a_large_payload_reads_back(self, journal: Journal) -> None:
        text = '"' + "x" * 1_000_000 + '"'
        await journal.append([(put(SEATS, 0, [event(text), event()]),)])
        assert [record.data for record in await journal.read(SEATS)] == [text.encode(), b"{}"]

    async def test_a_group_of_nothing_writes_nothing(self, journal: Journal) -> None:
        assert await journal.append([]) == 1
        assert await journal.append([()]) == 1
        assert await everything(journal) == []

    # -- pages --------------------------------------------------------------------------------------------------

    async def test_a_stream_is_read_in_pages(self, journal: Journal) -> None:
        await journal.append([(put(ROOMS, 0, 3), put(SEATS, 0, 7))])
        versions: list[int] = []
        while page := await journal.read(SEATS, after=len(versions), limit=3):
            assert len(page) <= 3
            versions += [record.version for record in page]
        assert versions == [1, 2, 3, 4, 5, 6, 7]
        assert await journal.read(SEATS, after=7) == []
        assert await journal.read(SEATS, after=99) == []

    async def test_the_journal_is_read_in_pages(self, journal: Journal) -> None:
        await journal.append([(put(ROOMS, 0, 3), put(SEATS, 0, 7))])
        positions: list[int] = []
        while page := await journal.read_all(after=len(positions), limit=4):
            assert len(page) <= 4
            positions += [record.position for record in page]
        assert positions == list(range(1, 11))
        assert await journal.read_all(after=10) == []
        assert await journal.read_all(after=99) == []

    async def test_a_page_has_500_records_unless_told_otherwise(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 501),)])
        assert len(await journal.read(SEATS)) == 500
        assert len(await journal.read_all()) == 500

    # -- conflicts ----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("held", "expected"), [(2, 1), (2, 3), (2, 0), (0, 1), (0, 7)], ids=["behind", "ahead", "new", "none", "far"]
    )
    async def test_a_wrong_version_is_a_conflict(self, journal: Journal, held: int, expected: int) -> None:
        if held:
            await journal.append([(put(SEATS, 0, held),)])
        with pytest.raises(VersionConflict) as caught:
            await journal.append([(put(SEATS, expected),)])
        assert (caught.value.stream, caught.value.expected, caught.value.actual) == (SEATS, expected, held)
        assert str(caught.value) == f"stream Flight/LH441 is at version {held}, the writer expected {expected}"
        assert len(await everything(journal)) == held

    @pytest.mark.parametrize("second", [0, 1, 3])
    async def test_a_conflict_inside_one_group_is_found(self, journal: Journal, second: int) -> None:
        with pytest.raises(VersionConflict) as caught:
            await journal.append([(put(SEATS, 0, 2),), (put(SEATS, second),)])
        assert (caught.value.stream, caught.value.expected, caught.value.actual) == (SEATS, second, 2)
        assert await everything(journal) == []

    async def test_a_stream_thought_new_that_grows_in_the_same_group_is_a_conflict(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 2),)])
        with pytest.raises(VersionConflict) as caught:
            await journal.append([(put(ROOMS, 0),), (put(SEATS, 0),), (put(SEATS, 1),)])
        assert (caught.value.stream, caught.value.expected, caught.value.actual) == (SEATS, 0, 2)
        assert len(await everything(journal)) == 2

    async def test_a_command_is_written_once(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 2, "c1"),)])
        with pytest.raises(DuplicateCommand) as caught:
            await journal.append([(put(ROOMS, 0, 1, "c9"),), (put(SEATS, 2, 1, "c1"),)])
        assert (caught.value.stream, caught.value.command) == (SEATS, "c1")
        assert len(await everything(journal)) == 2

    async def test_a_command_is_written_once_in_one_group_too(self, journal: Journal) -> None:
        with pytest.raises(DuplicateCommand) as caught:
            await journal.append([(put(SEATS, 0, 2, "c1"),), (put(SEATS, 2, 1, "c1"),)])
        assert (caught.value.stream, caught.value.command) == (SEATS, "c1")
        assert await everything(journal) == []

    async def test_two_streams_may_hold_one_command(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 1, "c1"), put(ROOMS, 0, 2, "c1"))])
        assert await journal.find(SEATS, "c1") == 1
        assert await journal.find(ROOMS, "c1") == 1

    async def test_events_without_a_command_are_no_duplicates(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0),), (put(SEATS, 1),)])
        await journal.append([(put(SEATS, 2),)])
        assert len(await everything(journal)) == 3

    @pytest.mark.parametrize("bad", range(3))
    async def test_a_batch_over_several_streams_is_all_or_nothing(self, journal: Journal, bad: int) -> None:
        await journal.append([(put(SEATS, 0, mark=True), put(ROOMS, 0))])
        before = await everything(journal)
        parts = [put(SEATS, 1, 2, "a", False), put(ROOMS, 1, 300, "b", True), put(("Cab", "Rome"), 0, 1, "c", True)]
        parts[bad].expected += 4
        with pytest.raises(VersionConflict):
            await journal.append([(put(("Other", "one"), 0, [event(name="New")], mark=True),), tuple(parts)])
        assert await everything(journal) == before
        assert await journal.unfinished() == [SEATS]
        assert await journal.heads([("Cab", "Rome"), ("Other", "one")]) == {}
        assert await journal.find(SEATS, "a") is None
        parts[bad].expected -= 4
        await journal.append([tuple(parts)])
        assert len(await everything(journal)) == 2 + 303

    @pytest.mark.parametrize("recover", [True, False])
    async def test_a_refused_group_leaves_the_journal_usable(self, journal: Journal, recover: bool) -> None:
        await journal.append([(put(SEATS, 0, 1, "c1"),)])
        for group in (
            [(put(ROOMS, 0, [event(name="A")]),), (put(SEATS, 5),)],
            [(put(ROOMS, 0, [event(name="B")]),), (put(SEATS, 1, 1, "c1"),)],
            [(put(ROOMS, 0, [event(name="C")]),), (put(SEATS, 0),)],
        ):
            with pytest.raises((VersionConflict, DuplicateCommand)):
                await journal.append(group)
            if recover:
                await journal.recover()
        assert await journal.append([(put(ROOMS, 0, [event(name="D"), event(name="A")]), put(SEATS, 1, 1, "c2"))]) == 2
        records = await everything(journal)
        assert where(records) == [(SEATS, 1), (ROOMS, 1), (ROOMS, 2), (SEATS, 2)]
        assert [record.type for record in records] == ["SeatHeld", "D", "A", "SeatHeld"]

    # -- appends without events ---------------------------------------------------------------------------------

    async def test_an_append_without_events_checks_the_version(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 2, "c1"),)])
        await journal.append([(put(SEATS, 2, 0, "c1"), put(ROOMS, 0, 0), put(("Cab", "Rome"), 0))])
        assert where(await everything(journal)) == [(SEATS, 1), (SEATS, 2), (("Cab", "Rome"), 1)]
        assert await journal.heads([ROOMS]) == {}
        for stream, expected, actual in ((SEATS, 0, 2), (SEATS, 1, 2), (SEATS, 3, 2), (ROOMS, 1, 0)):
            with pytest.raises(VersionConflict) as caught:
                await journal.append([(put(stream, expected, 0), put(("Cab", "Rome"), 1))])
            assert (caught.value.stream, caught.value.expected, caught.value.actual) == (stream, expected, actual)
        assert len(await everything(journal)) == 3

    async def test_a_stream_that_was_only_checked_can_be_written(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 0, "c1", mark=True),), (put(SEATS, 0, 0),)])
        assert await journal.unfinished() == []
        await journal.append([(put(SEATS, 0, 1, "c1"),)])
        assert await journal.unfinished() == []
        assert where(await everything(journal)) == [(SEATS, 1)]

    # -- commands -----------------------------------------------------------------------------------------------

    async def test_a_command_is_found_at_its_first_event(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 3, "c1"),), (put(ROOMS, 0, 1, "c9"),), (put(SEATS, 3, 2, "c2"),)])
        assert await journal.find(SEATS, "c1") == 1
        assert await journal.find(SEATS, "c2") == 4
        assert await journal.find(SEATS, "c9") is None
        assert await journal.find(("No", "such"), "c1") is None

    @given(commands=st.lists(texts | awkward, unique=True, max_size=8), other=texts | awkward)
    @any_engine
    async def test_any_text_is_a_command_id(self, commands: list[str], other: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with self.opened(Path(folder)) as journal:
                await journal.append([(put(SEATS, n, 1, command),) for n, command in enumerate(commands)])
                assert [await journal.find(SEATS, command) for command in commands] == list(range(1, len(commands) + 1))
                assert await journal.find(SEATS, other) == (commands.index(other) + 1 if other in commands else None)

    # -- unfinished ---------------------------------------------------------------------------------------------

    async def test_a_mark_stays_until_it_is_taken_away(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, mark=True),)])
        assert await journal.unfinished() == [SEATS]
        await journal.append([(put(SEATS, 1),)])
        assert await journal.unfinished() == [SEATS]
        await journal.append([(put(SEATS, 2, mark=False),)])
        assert await journal.unfinished() == []
        await journal.append([(put(SEATS, 3, mark=True),)])
        assert await journal.unfinished() == [SEATS]
        await journal.append([(put(SEATS, 4, 0, mark=False),)])
        assert await journal.unfinished() == []

    @pytest.mark.parametrize(
        "marks", [(True, False), (True, None), (False, True), (None, True, False, True), (None, False)]
    )
    async def test_in_one_group_the_last_mark_counts(self, journal: Journal, marks: tuple[bool | None, ...]) -> None:
        await journal.append([(put(ROOMS, 0),)])
        new = [(put(SEATS, n, mark=mark),) for n, mark in enumerate(marks)]
        old = [(put(ROOMS, n + 1, mark=mark),) for n, mark in enumerate(marks)]
        await journal.append([*new, *old])
        last = [mark for mark in marks if mark is not None][-1]
        assert await journal.unfinished() == ([ROOMS, SEATS] if last else [])

    async def test_the_stream_that_began_first_comes_first(self, journal: Journal) -> None:
        streams: list[Stream] = [("Trip", key) for key in "zaymbc"]
        await journal.append([(put(stream, 0, mark=stream[1] != "y"),) for stream in streams])
        await journal.append([(put(("Trip", "z"), 1, mark=False),), (put(("Trip", "y"), 1, mark=True),)])
        await journal.append([(put(("Trip", "z"), 2, mark=True),)])
        assert await journal.unfinished() == streams

    # -- sleeping -----------------------------------------------------------------------------------------------

    async def test_who_wakes_first_comes_first(self, journal: Journal) -> None:
        wakes = {"a": NOON, "b": AT_ONCE, "c": NOON - 1, "d": None, "e": NEVER, "f": NOON, "g": 1, "h": NEVER - 1}
        await journal.append([(put(("Trip", key), 0, wake=wake),) for key, wake in wakes.items()])
        assert await journal.sleeping() == [
            Sleeper(1, 7, ("Trip", "g")),
            Sleeper(NOON - 1, 3, ("Trip", "c")),
            Sleeper(NOON, 1, ("Trip", "a")),
            Sleeper(NOON, 6, ("Trip", "f")),
            Sleeper(NEVER - 1, 8, ("Trip", "h")),
        ]
        assert await journal.unfinished() == [("Trip", "b")]

    async def test_a_wake_time_stays_until_another_is_said(self, journal: Journal) -> None:
        async def wakes() -> list[int]:
            return [sleeper.wake for sleeper in await journal.sleeping()]

        await journal.append([(put(SEATS, 0, wake=NOON),)])
        await journal.append([(put(SEATS, 1),)])
        assert await wakes() == [NOON]
        await journal.append([(put(SEATS, 2, 0, wake=NOON + 5),)])
        assert await wakes() == [NOON + 5]
        await journal.append([(put(SEATS, 2, wake=AT_ONCE),)])
        assert (await wakes(), await journal.unfinished()) == ([], [SEATS])
        await journal.append([(put(SEATS, 3, wake=NOON),), (put(SEATS, 4, wake=NOON + 1),), (put(SEATS, 5),)])
        assert (await wakes(), await journal.unfinished()) == ([NOON + 1], [])
        await journal.append([(put(SEATS, 6, 0, wake=NEVER),)])
        assert (await wakes(), await journal.unfinished()) == ([], [])

    async def test_a_wake_time_is_written_with_the_events_or_not_at_all(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, wake=NOON),)])
        with pytest.raises(VersionConflict):
            await journal.append([(put(SEATS, 1, wake=NEVER), put(ROOMS, 3, wake=NOON))])
        with pytest.raises(VersionConflict):
            await journal.append([(put(SEATS, 0, 0, wake=NEVER),)])
        await journal.append([(put(ROOMS, 0, 0, wake=NOON),)])
        assert await journal.sleeping() == [Sleeper(NOON, 1, SEATS)]

    async def test_those_who_sleep_are_read_in_pages(self, journal: Journal) -> None:
        """Also where more than a page of them wake at the same time."""
        wakes = [NOON + n % 3 if n % 2 else NOON for n in range(50)]
        await journal.append([(put(("Trip", f"{n}"), 0, wake=wake),) for n, wake in enumerate(wakes)])
        found = await journal.sleeping(limit=7)
        while page := await journal.sleeping(found[-1], limit=7):
            assert len(page) <= 7
            found += page
        assert [sleeper.stream[1] for sleeper in found] == [
            f"{n}" for _, n in sorted((wake, n) for n, wake in enumerate(wakes))
        ]
        assert await journal.sleeping(Sleeper(NOON + 2, 0, SEATS)) == [one for one in found if one.wake == NOON + 2]
        await journal.append([(put(("Trip", "more"), n, 1, wake=NOON),) for n in range(2)])
        assert len(await journal.sleeping(limit=40)) == 40

    async def test_a_page_of_those_who_sleep_has_500_unless_told_otherwise(self, journal: Journal) -> None:
        await journal.append([(put(("Trip", f"{n}"), 0, wake=NOON),) for n in range(501)])
        assert len(await journal.sleeping()) == 500

    # -- names --------------------------------------------------------------------------------------------------

    @given(streams=st.lists(names, unique=True, min_size=1, max_size=12), absent=names)
    @any_engine
    async def test_no_name_is_taken_for_another(self, streams: list[Stream], absent: Stream) -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with self.opened(Path(folder)) as journal:
                for version in (0, 1):
                    group: list[Batch] = [
                        (put(stream, version, [event(f"{n}")], f"c{version}", mark=n % 2 == version),)
                        for n, stream in enumerate(streams)
                    ]
                    await journal.append(group)
                for n, stream in enumerate(streams):
                    records = await journal.read(stream)
                    assert [(r.stream, r.version, r.data) for r in records] == [(stream, v, b"%d" % n) for v in (1, 2)]
                    assert await journal.find(stream, "c1") == 2
                assert await journal.heads(streams) == dict.fromkeys(streams, 2)
                assert await journal.unfinished() == streams[1::2]
                assert len(await everything(journal)) == 2 * len(streams)
                if absent not in streams:
                    assert await journal.read(absent) == []
                    assert await journal.heads([absent]) == {}
                    assert await journal.find(absent, "c1") is None

    @pytest.mark.parametrize(
        "streams",
        [
            [("a", "b/c"), ("a/b", "c"), ("a/b/c", ""), ("", "a/b/c")],
            [("a", ""), ("a", "\0"), ("a", "\0\0"), ("a\0", ""), ("", "a")],
            [("Flight", "K"), ("flight", "K"), ("Flight", "k"), ("Flight", "k ")],
            [("é", "x"), ("e\u0301", "x")],
            [("1", "1"), ("1", "01"), ("1", "1.0"), ("01", "1")],
            [("t", "'; drop table events; --"), ("t", '"'), ("t", "''"), ("t", "%"), ("t", "_")],
            [("x" * 255, "y" * 2_048), ("x" * 255, "y" * 2_047)],
        ],
    )
    async def test_names_that_look_alike_are_apart(self, journal: Journal, streams: list[Stream]) -> None:
        for n, stream in enumerate(streams):
            await journal.append([(put(stream, 0, [event(f"{n}")]),)])
        assert [[r.data for r in await journal.read(stream)] for stream in streams] == [
            [b"%d" % n] for n in range(len(streams))
        ]

    # -- waiting for news ---------------------------------------------------------------------------------------

    async def test_who_waits_for_news_is_told_the_position(self, journal: Journal) -> None:
        assert await journal.changed(0, 0) == 0
        assert await journal.changed(NEVER, 0) == 0
        await journal.append([(put(SEATS, 0, 3),)])
        assert await journal.changed(2, math.inf) == 3
        assert await journal.changed(3, 0) == 3
        assert await journal.changed(3, 0.001) == 3

    async def test_an_append_wakes_all_who_wait_for_it(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0),)])
        waiting = [asyncio.create_task(journal.changed(after, math.inf)) for after in (1, 1, 3)]
        await asyncio.wait(waiting, timeout=0.01)
        await journal.append([(put(SEATS, 1, 2),)])
        assert [await task for task in waiting[:2]] == [3, 3]
        with pytest.raises(VersionConflict):
            await journal.append([(put(SEATS, 1),)])
        assert not waiting[2].done()
        await journal.append([(put(ROOMS, 0),)])
        assert await waiting[2] == 4

    async def test_no_news_is_missed_between_two_waits(self, journal: Journal) -> None:
        async def follow() -> list[int]:
            seen = [0]
            while seen[-1] < 60:
                seen.append(await journal.changed(seen[-1], math.inf))
            return seen

        followers = [asyncio.create_task(follow()) for _ in range(3)]
        for n in range(60):
            await journal.append([(put(SEATS, n),)])
        for seen in await asyncio.gather(*followers):
            assert seen == sorted(set(seen))

    async def test_who_waits_may_go_away(self, journal: Journal) -> None:
        waiting = [asyncio.create_task(journal.changed(0, math.inf)) for _ in range(3)]
        await asyncio.wait(waiting, timeout=0.01)
        waiting[1].cancel()
        await asyncio.wait(waiting[1:2])
        assert waiting[1].cancelled()
        await journal.append([(put(SEATS, 0),)])
        assert [await waiting[n] for n in (0, 2)] == [1, 1]

    # -- cancelling and closing ---------------------------------------------------------------------------------

    async def test_an_append_under_a_cancelled_scope_is_whole(self, journal: Journal) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await journal.append([(put(SEATS, 0, 300, "c1"),)])
        assert len(await everything(journal)) == 300

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_cancelled_append_is_whole_or_nothing(self, journal: Journal, turns: int) -> None:
        await journal.append([(put(ROOMS, 0),)])
        task = asyncio.create_task(journal.append([(put(SEATS, 0, 300, "c1"),), (put(ROOMS, 1, 2),)]))
        for _ in range(turns):
            await asyncio.sleep(0)  # one turn of the loop each: the cancellation meets the append at another place
        task.cancel()
        await asyncio.wait([task])
        count = len(await everything(journal))
        assert count in (1, 303)
        heads = await journal.heads([SEATS, ROOMS])
        await journal.append([(put(stream, heads.get(stream, 0), 1, "next"),) for stream in (SEATS, ROOMS)])
        assert len(await everything(journal)) == count + 2

    async def test_closing_twice_is_harmless(self, tmp_path: Path) -> None:
        journal = self.make(tmp_path)
        await journal.close()
        await journal.open()
        await journal.close()
        await journal.close()
