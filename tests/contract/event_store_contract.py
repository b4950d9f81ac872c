"""What every engine must keep for those who use it as an event store: expectations, ids, tags, conditions, erasure."""

import tempfile
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence import (
    ANY,
    BURIED,
    DELETED,
    ERASED,
    EXISTS,
    NONE,
    Append,
    Batch,
    ConditionFailed,
    DuplicateCommand,
    DuplicateEvent,
    Journal,
    JournalError,
    Match,
    MemoryJournal,
    NewEvent,
    NotEncodable,
    Query,
    Record,
    Snapshot,
    Stream,
    StreamBuried,
    Unless,
    VersionConflict,
    Written,
)
from persistence.checksum import Erased, digest_of
from persistence.subscription import Subscription, subscribe
from tests.contract.journal_contract import NOON, ROOMS, SEATS, JournalContract, any_engine, event, put, texts, where

CABS: Stream = ("Cab", "Rome")


def new(name: str = "SeatHeld", id_: str | None = None, tags: Sequence[str] = (), data: str = "{}") -> NewEvent:
    return NewEvent(name, data.encode(), b"{}", None, id_, tuple(tags))


def ids(count: int, start: int = 1) -> list[NewEvent]:
    return [new(id_=f"e{n}", data=f'{{"n":{n}}}') for n in range(start, start + count)]


def given_that(stream: Stream, expected: int, events: Sequence[NewEvent], unless: Unless | None = None) -> Append:
    return Append(stream, expected, events, NOON, unless=unless)


async def matching(journal: Journal, *items: Match, after: int = 0, limit: int = 500) -> list[int]:
    """Return the positions of all that a query means, by as many looks as it takes."""
    found: list[int] = []
    while after < journal.position:
        scan = await journal.scan(items, after, limit)
        assert after < scan.position <= journal.position
        assert len(scan.records) <= limit
        assert all(after < record.position <= scan.position for record in scan.records)
        found += [record.position for record in scan.records]
        after = scan.position
    return found


streams = st.sampled_from([SEATS, ROOMS, CABS])
new_events = st.builds(
    new,
    st.sampled_from(["A", "B", DELETED, "A", "B", BURIED]),
    st.none() | st.sampled_from(["e1", "e2", "e3", "e4"]),
    st.lists(st.sampled_from(["x", "y"]), max_size=2),
)
items = st.builds(
    Match,
    st.sampled_from([(), ("A",), ("A", "B")]),
    st.sampled_from([(), ("x",), ("x", "y")]),
    st.sampled_from([(), ("Flight",)]),
)
queries: st.SearchStrategy[Query] = st.lists(items, max_size=2).map(tuple)
appends = st.builds(
    Append,
    streams,
    st.sampled_from([ANY, ANY, NONE, EXISTS, 1, 2]),
    st.lists(new_events, max_size=3),
    st.just(NOON),
    st.none() | st.sampled_from(["c1", "c2"]),
    st.none(),
    st.none() | st.builds(Snapshot, st.just(1), st.just("f"), st.binary(max_size=3)),
    st.sampled_from([0, 0, 0, 2, 5]),
    st.none() | st.builds(Unless, queries, st.sampled_from([0, 2])),
)
batches: st.SearchStrategy[list[Batch]] = st.lists(
    st.lists(appends, min_size=1, max_size=2).map(tuple), min_size=1, max_size=4
)


class EventStoreContract(JournalContract):
    # -- what is expected ---------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("expected", "fits"), [(ANY, True), (NONE, True), (EXISTS, False), (1, False)])
    async def test_what_fits_a_stream_that_is_not_there(self, journal: Journal, expected: int, fits: bool) -> None:
        (outcome,) = await journal.append_each([(put(SEATS, expected, 2),)])
        if fits:
            assert outcome == Written(1, (2,))
        else:
            assert isinstance(outcome, VersionConflict)
            assert (outcome.stream, outcome.expected, outcome.actual) == (SEATS, expected, 0)
        assert journal.position == (2 if fits else 0)

    @pytest.mark.parametrize(
        ("expected", "fits"), [(ANY, True), (NONE, False), (EXISTS, True), (1, False), (2, True), (3, False)]
    )
    async def test_what_fits_a_stream_of_two_events(self, journal: Journal, expected: int, fits: bool) -> None:
        await journal.append([(put(SEATS, 0, 2),)])
        (outcome,) = await journal.append_each([(put(SEATS, expected, 1),)])
        if fits:
            assert outcome == Written(3, (3,))
        else:
            assert isinstance(outcome, VersionConflict)
            assert (outcome.stream, outcome.expected, outcome.actual) == (SEATS, expected, 2)
        assert journal.position == (3 if fits else 2)

    async def test_a_group_takes_no_modes(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0),)])
        for expected in (ANY, EXISTS):
            with pytest.raises(VersionConflict):
                await journal.append([(put(SEATS, expected),)])

    async def test_each_batch_is_for_itself(self, journal: Journal) -> None:
        outcomes = await journal.append_each(
            [
                (put(SEATS, NONE, 2), put(ROOMS, NONE, 1)),
                (put(SEATS, NONE, 1), put(CABS, NONE, 1)),
                (put(SEATS, 2, 1, "c1"),),
                (put(SEATS, ANY, 1, "c1"),),
                (put(CABS, ANY, 1), put(ROOMS, 1, 0)),
            ]
        )
        assert outcomes[0] == Written(1, (2, 1))
        assert isinstance(outcomes[1], VersionConflict)
        assert outcomes[2] == Written(4, (3,))
        assert isinstance(outcomes[3], DuplicateCommand)
        assert outcomes[4] == Written(5, (1, 1))
        records = await journal.read_all()
        assert where(records) == [(SEATS, 1), (SEATS, 2), (ROOMS, 1), (SEATS, 3), (CABS, 1)]

    async def test_one_stream_twice_in_a_batch(self, journal: Journal) -> None:
        (outcome,) = await journal.append_each([(put(SEATS, ANY, 2), put(ROOMS, ANY, 1), put(SEATS, EXISTS, 1))])
        assert outcome == Written(1, (2, 1, 3))

    async def test_streams_are_checked_without_being_written(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 2),)])
        (outcome,) = await journal.append_each([(put(SEATS, 2, 0), put(CABS, NONE, 0), put(ROOMS, NONE, 1))])
        assert outcome == Written(3, (2, 0, 1))
        (outcome,) = await journal.append_each([(put(SEATS, 1, 0), put(ROOMS, 1, 1))])
        assert isinstance(outcome, VersionConflict)
        (outcome,) = await journal.append_each([(put(CABS, EXISTS, 0), put(ROOMS, 1, 1))])
        assert isinstance(outcome, VersionConflict)
        (outcome,) = await journal.append_each([(put(SEATS, EXISTS, 0),)])
        assert outcome == Written(3, (2,))
        assert journal.position == 3

    async def test_all_that_was_refused_leaves_no_trace(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 1),)])
        await journal.append_each([(put(CABS, NONE, [new("Odd", "e1", ["t"])]), put(SEATS, 7, 1))])
        assert await journal.heads([CABS]) == {}
        assert await journal.by_ids(["e1"]) == []
        assert await matching(journal, Match(tags=("t",))) == []
        assert await journal.write(put(CABS, NONE, [new("Odd", "e1", ["t"])])) == Written(2, (1,))
        await journal.append([(put(ROOMS, 0, [new("Odd")]), put(SEATS, 1, 1))])
        assert [record.type for record in await journal.read_all()] == ["SeatHeld", "Odd", "Odd", "SeatHeld"]

    async def test_what_was_refused_is_free_for_the_next_in_the_same_call(self, journal: Journal) -> None:
        outcomes = await journal.append_each(
            [
                (put(SEATS, NONE, ids(1), "c1"), put(ROOMS, 7)),
                (put(SEATS, NONE, ids(1), "c1"), put(ROOMS, NONE)),
                (put(SEATS, ANY, 1, "c2"), put(CABS, NONE, ids(1))),
                (put(SEATS, ANY, 1, "c2"), put(CABS, NONE, ids(1, 2))),
            ]
        )
        assert [isinstance(outcome, Written) for outcome in outcomes] == [False, True, False, True]
        assert where(await journal.read_all()) == [(SEATS, 1), (ROOMS, 1), (SEATS, 2), (CABS, 1)]

    # -- ids ----------------------------------------------------------------------------------------------------

    async def test_an_id_is_read_back(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, [new(id_="e1"), new()]), put(ROOMS, 0, [new(id_="e2")]))])
        assert [record.id for record in await journal.read_all()] == ["e1", None, "e2"]
        found = await journal.by_ids(["e2", "nothing", "e1", "e2"])
        assert [(record.id, record.position) for record in found] == [("e1", 1), ("e2", 3)]

    async def test_a_repeat_is_answered_with_where_it_stands(self, journal: Journal) -> None:
        batch = (put(SEATS, NONE, ids(2)), put(CABS, NONE, 0), put(ROOMS, NONE, ids(1, 3)))
        assert await journal.write(*batch) == Written(1, (2, 0, 1))
        await journal.append([(put(SEATS, 2, 3), put(CABS, 0, 1))])
        assert await journal.write(*batch) == Written(1, (2, 1, 1), repeated=True)
        assert journal.position == 7

    async def test_a_repeat_of_a_part_with_something_new_is_refused(self, journal: Journal) -> None:
        await journal.write(put(SEATS, NONE, ids(3)))
        for events in (
            ids(2, 3),
            [*ids(3), new()],
            [new(id_="e2", data='{"n":7}')],
            [new("Other", "e1", data='{"n":1}')],
        ):
            with pytest.raises((DuplicateEvent, VersionConflict)):
                await journal.write(put(SEATS, ANY, events))
        with pytest.raises(DuplicateEvent):
            await journal.write(put(ROOMS, ANY, ids(1)))  # the same, elsewhere
        assert journal.position == 3

    async def test_one_id_twice_in_a_group_is_refused(self, journal: Journal) -> None:
        with pytest.raises(DuplicateEvent) as caught:
            await journal.append([(put(SEATS, 0, ids(1)),), (put(ROOMS, 0, ids(1)),)])
        assert caught.value.event_id == "e1"
        await journal.append([(put(SEATS, 0, ids(1)),)])
        with pytest.raises(DuplicateEvent):
            await journal.append([(put(ROOMS, 0, ids(1)),)])
        assert journal.position == 1
        assert await journal.heads([ROOMS]) == {}

    # -- tags and conditions ------------------------------------------------------------------------------------

    async def test_events_are_found_by_what_they_are(self, journal: Journal) -> None:
        await journal.append(
            [
                (put(SEATS, 0, [new("Held", tags=["ana", "gold"]), new("Freed", tags=["ana"])]),),
                (put(ROOMS, 0, [new("Held", tags=["bo"]), new("Held")]),),
                (put(CABS, 0, [new("Sent", tags=["ana", "gold", "ana"])]),),
            ]
        )
        assert [record.tags for record in await journal.read_all()][:3] == [("ana", "gold"), ("ana",), ("bo",)]
        assert await matching(journal) == [1, 2, 3, 4, 5]
        assert await matching(journal, Match()) == [1, 2, 3, 4, 5]
        assert await matching(journal, Match(tags=("ana",))) == [1, 2, 5]
        assert await matching(journal, Match(tags=("gold", "ana"))) == [1, 5]
        assert await matching(journal, Match(tags=("ana", "bo"))) == []
        assert await matching(journal, Match(("Held", "Sent"))) == [1, 3, 4, 5]
        assert await matching(journal, Match(("Held",), ("ana",))) == [1]
        assert await matching(journal, Match(categories=("Flight", "Cab"))) == [1, 2, 5]
        assert await matching(journal, Match(("Held",), categories=("Hotel",))) == [3, 4]
        assert await matching(journal, Match(tags=("ana",), categories=("Cab",))) == [5]
        assert await matching(journal, Match(("Freed",)), Match(tags=("bo",)), Match(tags=("ana",))) == [1, 2, 3, 5]
        assert await matching(journal, Match(("None of it",))) == []
        assert await matching(journal, Match(tags=("ana",)), after=1, limit=1) == [2, 5]

    async def test_a_query_of_too_many_parts_is_refused(self, journal: Journal) -> None:
        many = tuple(str(n) for n in range(101))
        for query in ((Match(many),), (Match(tags=many),), tuple(Match((name,)) for name in many)):
            with pytest.raises(ValueError, match="100"):
                await journal.scan(query)
            (refused,) = await journal.append_each([(given_that(SEATS, ANY, [new()], Unless(query)),)])
            assert isinstance(refused, NotEncodable)
            assert "100" in str(refused)

    async def test_a_condition_that_holds_lets_the_append_pass(self, journal: Journal) -> None:
        taken = Unless((Match(("Registered",), ("mail:ana@x",)),))
        (outcome,) = await journal.append_each(
            [(given_that(SEATS, ANY, [new("Registered", tags=["mail:ana@x"])], taken),)]
        )
        assert outcome == Written(1, (1,))

    async def test_a_condition_that_fails_names_the_event(self, journal: Journal) -> None:
        await journal.append([(put(ROOMS, 0, 2), put(SEATS, 0, [new("Registered", tags=["mail:ana@x"])]))])
        taken = Unless((Match(("Registered",), ("mail:ana@x",)),))
        batch = given_that(CABS, ANY, [new("Registered", tags=["mail:ana@x"])], taken)
        with pytest.raises(
            ConditionFailed, match="Registered, version 1 of stream Flight/LH441, at position 3"
        ) as caught:
            await journal.write(batch)
        assert (caught.value.position, caught.value.stream, caught.value.version) == (3, SEATS, 1)
        assert journal.position == 3

    async def test_what_the_writer_has_seen_does_not_break_his_condition(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, [new("Booked", tags=["course"])]),)])
        full = Match(("Booked",), ("course",))
        assert await journal.write(given_that(ROOMS, ANY, [new("Booked", tags=["course"])], Unless((full,), 1)))
        with pytest.raises(ConditionFailed) as caught:
            await journal.write(given_that(CABS, ANY, [new("Booked", tags=["course"])], Unless((full,), 1)))
        assert caught.value.position == 2

    async def test_conditions_see_the_batches_before_them(self, journal: Journal) -> None:
        taken = Unless((Match(tags=("x",)),))
        one, two = (given_that(stream, ANY, [new(tags=["x"])], taken) for stream in (SEATS, ROOMS))
        outcomes = await journal.append_each([(one,), (two,)])
        assert outcomes[0] == Written(1, (1,))
        assert isinstance(outcomes[1], ConditionFailed)

    async def test_conditions_do_not_see_what_the_batches_before_them_have_erased(self, journal: Journal) -> None:
        taken = Unless((Match(tags=("x",)),))
        await journal.append([(put(SEATS, 0, [new(tags=["x"]), new()]),)])
        outcomes = await journal.append_each(
            [
                (given_that(ROOMS, ANY, [new(tags=["x"])], taken),),
                (Append(SEATS, ANY, [], NOON, erase_before=2),),
                (given_that(ROOMS, ANY, [new(tags=["x"]), new()], taken),),
                (Append(ROOMS, ANY, [], NOON, erase_before=2), put(CABS, NONE)),
                (given_that(SEATS, ANY, [new(tags=["x"])], taken),),
                (given_that(SEATS, ANY, [new(tags=["x"])], taken),),
            ]
        )
        assert [isinstance(outcome, Written) for outcome in outcomes] == [False, True, True, True, True, False]
        assert await matching(journal, Match(tags=("x",))) == [6]

    async def test_a_repeat_is_not_refused_for_what_it_has_done_itself(self, journal: Journal) -> None:
        taken = Unless((Match(tags=("x",)),))
        batch = given_that(SEATS, NONE, [new(id_="e1", tags=["x"])], taken)
        assert await journal.write(batch) == Written(1, (1,))
        assert await journal.write(batch) == Written(1, (1,), repeated=True)

    async def test_a_long_journal_is_looked_through_in_parts(self, journal: Journal) -> None:
        for start in range(0, 21_000, 3_000):
            await journal.append([(put(SEATS, start, 3_000),)])
        await journal.append([(put(ROOMS, 0, [new("Rare", tags=["rare"])]),)])
        assert await matching(journal, Match(("Rare",))) == [21_001]
        assert await matching(journal, Match(tags=("rare",))) == [21_001]
        assert await matching(journal, Match(("Rare",)), Match(tags=("rare",)), after=20_999) == [21_001]

    @any_engine
    @given(found=st.lists(texts, min_size=1, max_size=4, unique=True))
    async def test_any_text_is_a_tag_and_an_id(self, found: list[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with self.opened(Path(folder)) as journal:
                events = [new(name, name, [name, "all"]) for name in found]
                assert await journal.write(put(SEATS, NONE, events)) == Written(1, (len(found),))
                for place, name in enumerate(found, 1):
                    assert place in await matching(journal, Match(tags=(name, "all")))
                    assert await matching(journal, Match((name,))) == [place]
                    (record,) = await journal.by_ids([name])
                    assert (record.position, record.id, record.tags) == (place, name, (name, "all"))

    # -- backwards ----------------------------------------------------------------------------------------------

    async def test_a_stream_is_read_backwards(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 3), put(ROOMS, 0, 2), put(SEATS, 3, 2))])
        assert [record.version for record in await journal.read_back(SEATS)] == [5, 4, 3, 2, 1]
        assert [record.version for record in await journal.read_back(SEATS, 4)] == [3, 2, 1]
        assert [record.version for record in await journal.read_back(SEATS, 5, 2)] == [4, 3]
        assert [record.version for record in await journal.read_back(SEATS, 99, 1)] == [5]
        assert await journal.read_back(SEATS, 1) == []
        assert await journal.read_back(CABS) == []
        assert (await journal.read_back(SEATS))[::-1] == await journal.read(SEATS)

    # -- following ----------------------------------------------------------------------------------------------

    async def test_a_subscriber_sees_what_is_there_and_then_what_comes(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 3),)])
        subscription = subscribe(journal, after=1)
        seen: list[int] = []
        with anyio.fail_after(60):
            async for record in subscription:
                seen.append(record.position)
                assert subscription.position == record.position
                if record.position < 9:
                    if record.position == journal.position:
                        await journal.write(put(SEATS, ANY, 2), put(ROOMS, ANY, 1))
                else:
                    break
        assert seen == [2, 3, 4, 5, 6, 7, 8, 9]

    async def test_many_follow_while_others_write(self, journal: Journal) -> None:
        seen: list[list[int]] = [[] for _ in range(4)]
        queries: list[Query] = [(), (Match(tags=("even",)),), (Match(("Odd",)),), (Match(categories=("Hotel",)),)]

        async def follow(place: int) -> None:
            pages = Subscription(journal, queries[place], page=7).pages()
            async with aclosing(pages):
                async for page in pages:
                    seen[place] += [record.position for record in page.records]
                    assert all(position <= page.position for position in seen[place])
                    if page.position == 240:
                        return

        async def write(stream: Stream) -> None:
            for version in range(0, 120, 3):
                names: list[tuple[str, list[str]]] = [("Even", ["even"]), ("Odd", []), ("Even", ["even"])]
                await journal.write(put(stream, version, [new(name, tags=tags) for name, tags in names]))

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for place in range(4):
                    tasks.start_soon(follow, place)
                tasks.start_soon(write, SEATS)
                tasks.start_soon(write, ROOMS)
        records = await journal.read_all(limit=1_000)
        assert seen[0] == list(range(1, 241))
        assert seen[1] == [record.position for record in records if record.type == "Even"]
        assert seen[2] == [record.position for record in records if record.type == "Odd"]
        assert seen[3] == [record.position for record in records if record.stream == ROOMS]

    async def test_a_filter_leads_the_checkpoint_over_what_it_leaves_out(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 5), put(ROOMS, 0, 1), put(SEATS, 5, 4))])
        pages = subscribe(journal, (Match(categories=("Hotel",)),)).pages()
        async with aclosing(pages):
            page = await anext(pages)
            assert ([record.position for record in page.records], page.position) == ([6], 10)

    # -- snapshots ----------------------------------------------------------------------------------------------

    async def test_a_snapshot_is_kept_with_its_stream(self, journal: Journal) -> None:
        first, second = Snapshot(2, "f1", b'{"seats":2}'), Snapshot(3, "f2", b"\x00\xff")
        await journal.append([(Append(SEATS, 0, [event(), event()], NOON, snapshot=first), put(ROOMS, 0, 1))])
        assert await journal.snapshots([SEATS, ROOMS, CABS]) == {SEATS: first}
        await journal.append([(put(SEATS, 2, 1),)])
        assert await journal.snapshots([SEATS]) == {SEATS: first}
        await journal.append([(Append(SEATS, 3, [], NOON, snapshot=second),)])
        assert await journal.snapshots([SEATS]) == {SEATS: second}
        assert await journal.heads([SEATS]) == {SEATS: 3}

    async def test_a_snapshot_of_a_group_that_was_refused_is_not_kept(self, journal: Journal) -> None:
        snapshot = Snapshot(1, "f", b"{}")
        with pytest.raises(VersionConflict):
            await journal.append([(Append(SEATS, 0, [event()], NOON, snapshot=snapshot), put(ROOMS, 4, 1))])
        with pytest.raises(VersionConflict):
            await journal.append([(Append(SEATS, 3, [], NOON, snapshot=snapshot),)])
        assert await journal.snapshots([SEATS]) == {}

    async def test_a_snapshot_of_no_stream_is_not_that_of_one_that_begins_later(self, journal: Journal) -> None:
        kept = Append(SEATS, ANY, [], NOON, snapshot=Snapshot(1, "f", b"{}"))
        outcomes = await journal.append_each([(kept,), (put(SEATS, ANY),), (put(ROOMS, NONE),)])
        assert outcomes == [Written(0, (0,)), Written(1, (1,)), Written(2, (1,))]
        assert await journal.snapshots([SEATS]) == {}
        await journal.append_each([(kept, put(CABS, NONE))])
        assert await journal.snapshots([SEATS]) == {SEATS: Snapshot(1, "f", b"{}")}

    # -- erasing ------------------------------------------------------------------------------------------------

    async def test_erased_events_leave_their_places(self, journal: Journal) -> None:
        await journal.append(
            [
                (
                    put(
                        SEATS,
                        0,
                        [new("A", "e1", ["x"], '"one"'), new("B", "e2", ["x", "y"]), new("C", tags=["x"])],
                        "c1",
                    ),
                ),
                (put(ROOMS, 0, [new("A", tags=["x"])]),),
            ]
        )
        before = await journal.read_all()
        await journal.append([(Append(SEATS, 3, [], NOON, erase_before=3),)])
        after = await journal.read_all()
        assert where(after) == where(before)
        assert [record.type for record in after] == [ERASED, ERASED, "C", "A"]
        assert [digest_of(record) for record in after] == [digest_of(record) for record in before]
        assert msgspec.json.decode(after[0].data, type=Erased).digest == digest_of(before[0])
        assert [(record.id, record.command, record.time, record.tags) for record in after[:2]] == [
            ("e1", "c1", NOON, ()),
            ("e2", None, NOON, ()),
        ]
        assert b"one" not in b"".join(record.data + record.meta for record in after)
        assert [record.version for record in await journal.read(SEATS)] == [3]
        assert [record.version for record in await journal.read(SEATS, 1)] == [3]
        assert await journal.read(SEATS, 3) == []
        assert [record.version for record in await journal.read_back(SEATS)] == [3]
        assert await journal.read_back(SEATS, 3) == []
        assert await matching(journal, Match(tags=("x",))) == [3, 4]
        assert await matching(journal) == [3, 4]
        assert await journal.heads([SEATS]) == {SEATS: 3}
        assert await journal.find(SEATS, "c1") == 1
        with pytest.raises(DuplicateCommand):
            await journal.append([(put(SEATS, 3, 1, "c1"),)])
        with pytest.raises(DuplicateEvent):
            await journal.append([(put(ROOMS, 1, [new(id_="e1")]),)])

    async def test_erasing_goes_on_where_it_ended(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 1_300),)])
        before = [digest_of(record) for record in await journal.read_all(limit=2_000)]
        furthest = 1
        for bound in (700, 300, 701, 1_200, 700):
            await journal.append([(Append(SEATS, 1_300, [], NOON, erase_before=bound),)])
            (oldest,) = await journal.read(SEATS, limit=1)
            furthest = max(furthest, bound)
            assert (oldest.version, oldest.type) == (furthest, "SeatHeld")
        records = await journal.read_all(limit=2_000)
        assert [record.type for record in records] == [ERASED] * 1_199 + ["SeatHeld"] * 101
        assert [digest_of(record) for record in records] == before
        assert [record.version for record in await journal.read(SEATS)] == list(range(1_200, 1_301))
        await journal.append([(put(SEATS, 1_300, 1),)])
        assert (await journal.read_back(SEATS, limit=1))[0].version == 1_301

    async def test_the_last_event_is_never_erased(self, journal: Journal) -> None:
        await journal.append([(Append(SEATS, 0, [event(), event()], NOON, erase_before=99),)])
        assert [record.version for record in await journal.read(SEATS)] == [2]
        assert await journal.heads([SEATS]) == {SEATS: 2}

    async def test_a_deleted_stream_can_begin_again(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 3, "c1"), put(ROOMS, 0, 1))])
        await journal.append([(Append(SEATS, 3, [new(DELETED)], NOON, erase_before=4),)])
        assert [record.type for record in await journal.read(SEATS)] == [DELETED]
        (refused,) = await journal.append_each([(put(SEATS, EXISTS, 1),)])
        assert isinstance(refused, VersionConflict)
        with pytest.raises(VersionConflict):
            await journal.append([(put(SEATS, 0, 1),)])  # a group names versions, and they go on
        assert await journal.write(put(SEATS, NONE, 2)) == Written(6, (6,))
        assert [record.version for record in await journal.read(SEATS)] == [4, 5, 6]
        (there,) = await journal.append_each([(put(SEATS, NONE, 1),)])
        assert isinstance(there, VersionConflict)
        assert await journal.write(put(SEATS, EXISTS, 1)) == Written(8, (7,))

    async def test_a_deleted_stream_begins_again_at_its_version(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 1),), (put(SEATS, 1, [new(DELETED)]),), (put(SEATS, 2, 1),)])
        assert isinstance((await journal.append_each([(put(SEATS, NONE, 1),)]))[0], VersionConflict)
        assert await journal.write(put(SEATS, EXISTS, 1)) == Written(4, (4,))

    async def test_a_buried_stream_stays_so(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, 2),)])
        await journal.append([(Append(SEATS, 2, [new(BURIED)], NOON, erase_before=3),)])
        for expected in (ANY, NONE, 3):
            with pytest.raises(StreamBuried, match="Flight/LH441"):
                await journal.write(put(SEATS, expected, 1))
        with pytest.raises(StreamBuried):
            await journal.append([(put(SEATS, 3, 1),)])
        await journal.append([(put(SEATS, 3, 0),)])  # to look is allowed
        assert [record.type for record in await journal.read(SEATS)] == [BURIED]
        assert journal.position == 3

    # -- the reference ------------------------------------------------------------------------------------------

    @any_engine
    @given(groups=st.lists(batches, min_size=1, max_size=4), query=queries)
    async def test_the_engine_does_what_the_reference_does(self, groups: list[list[Batch]], query: Query) -> None:
        reference = MemoryJournal()
        with tempfile.TemporaryDirectory() as folder:
            async with self.opened(Path(folder)) as journal:
                for group in groups:
                    ours, theirs = await journal.append_each(group), await reference.append_each(group)
                    assert [told(outcome) for outcome in ours] == [told(outcome) for outcome in theirs]
                assert await seen(journal, query) == await seen(reference, query)


def told(outcome: Written | JournalError) -> Written | None:
    """Return what must be the same everywhere: of several reasons to refuse a batch, an engine may name any."""
    return outcome if isinstance(outcome, Written) else None


async def seen(journal: Journal, query: Query) -> list[object]:
    """Return all that a journal tells of its events."""
    streams = [SEATS, ROOMS, CABS]
    records: list[Record] = await journal.read_all()
    return [
        records,
        await journal.heads(streams),
        [await journal.read(stream) for stream in streams],
        [await journal.read_back(stream) for stream in streams],
        await journal.snapshots(streams),
        await journal.by_ids(["e1", "e2", "e3", "e4"]),
        await matching(journal, *query),
        [await journal.find(stream, "c1") for stream in streams],
    ]
