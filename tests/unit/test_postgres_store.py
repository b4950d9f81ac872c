"""PostgreSQL as an event store: what only the journal can tell, cut off at any moment, between owners, and migrated."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from hashlib import sha256
from itertools import count
from random import Random
from typing import Any

import msgspec
import pytest

from persistence import (
    ANY,
    BURIED,
    EXISTS,
    NONE,
    Append,
    AppendFailed,
    Batch,
    ConditionFailed,
    DuplicateEvent,
    JournalDamaged,
    JournalTaken,
    JournalUnusable,
    Match,
    MemoryJournal,
    NewEvent,
    Query,
    Snapshot,
    Stream,
    StreamBuried,
    StreamOwned,
    Unless,
    VersionConflict,
    Written,
    postgres_client,
    postgres_erasing,
    postgres_group,
    postgres_queries,
    postgres_schema,
    query,
)
from persistence.postgres import PostgresJournal
from persistence.postgres_client import Link, Row
from persistence.postgres_group import APPEND, Group
from persistence.postgres_judge import Judge
from tests.contract.event_store_contract import given_that, ids, matching, new
from tests.contract.journal_contract import NOON, ROOMS, SEATS, everything, put, where
from tests.postgres import a_schema, needs_server, run, url_of
from tests.relay import Way, a_relay
from tests.unit.test_postgres_owners import make_layout_1, opened, two
from tests.unit.test_postgres_writing import link_to, waits
from tests.unit.test_postgres_writing import opened as opened_at

pytestmark = needs_server

CABS: Stream = ("Cab", "Rome")


@pytest.fixture
async def journal(schema: str) -> AsyncGenerator[PostgresJournal]:
    async with opened_at(url_of(schema)) as journal:
        yield journal


def tagged(stream: Stream, *tags: str, expected: int = ANY, id_: str | None = None) -> Append:
    """Return an append of one event, which is made unless there is one with its first tag."""
    return given_that(stream, expected, [new("Registered", id_, tags)], Unless((Match(tags=tags[:1]),)))


# -- the fast path ------------------------------------------------------------------------------------------------


async def test_a_plain_group_is_one_short_statement() -> None:
    plain = Group([put(SEATS, 0, 3, "c1", mark=True), put(ROOMS, 2, 1), put(CABS, 1, 0)], {ROOMS: 1, CABS: 2})
    assert plain.at_once
    assert plain.statement == APPEND
    assert len(plain.values(1, 1, "")) == 22
    for event in (new(id_="e1"), new(tags=["x"])):
        group = Group([put(SEATS, 0, [event])], {})
        assert group.at_once
        assert group.statement != APPEND
    assert not Group([put(SEATS, 0, 0)], {}).at_once
    assert not Group([Append(SEATS, 1, [], NOON, erase_before=1)], {SEATS: 1}).at_once


async def test_a_stream_that_was_buried_is_remembered_as_such_or_not_at_all(
    schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened_at(url_of(schema)) as journal:
        await journal.append([(put(SEATS, 0, [new(BURIED)]), put(ROOMS, 0))])
        for group in ([(put(SEATS, 1),)], [(put(SEATS, 1, 0), put(ROOMS, 1))], [(put(SEATS, 1, 1), put(ROOMS, 2))]):
            if group[0][0].events:
                with pytest.raises(StreamBuried):
                    await journal.append(group)
            else:
                await journal.append(group)
        with pytest.raises(StreamBuried):
            await journal.append([(put(ROOMS, 2, [new(BURIED)]),), (put(ROOMS, 3),)])
    async with opened_at(url_of(schema)) as journal:
        await journal.append([(put(SEATS, 1, 0), put(ROOMS, 2, 0))])
        with pytest.raises(StreamBuried):
            await journal.append([(put(SEATS, 1),)])
        assert len(await everything(journal)) == 3


# -- cut off ------------------------------------------------------------------------------------------------------


def batches_with_ids() -> list[Batch]:
    kept = Snapshot(2, "f", b"{}")
    return [
        (Append(SEATS, NONE, ids(2), NOON, "c1", snapshot=kept), put(CABS, NONE, 0)),
        (tagged(ROOMS, "mail:ana", "all", expected=NONE, id_="e3"),),
        (Append(SEATS, EXISTS, ids(1, 4), NOON, erase_before=2),),
        (tagged(("User", "bo"), "mail:bo", "all", id_="e5"), put(CABS, NONE, [new(id_="e6", tags=["all"])])),
    ]


async def until_written(journal: PostgresJournal, batches: Sequence[Batch]) -> list[Written]:
    """Write batches as somebody would who wants to see them written, whatever happens on the way."""
    while True:
        try:
            outcomes = await journal.append_each(batches)
            return [await journal.resolve(*pair) for pair in zip(batches, outcomes, strict=True)]
        except (AppendFailed, JournalUnusable):
            while True:
                try:
                    await journal.recover()
                    break
                except JournalUnusable:
                    continue


async def test_a_connection_lost_at_any_moment_loses_and_doubles_nothing(schema: str) -> None:
    """Cut once at each piece that is said on the way there and back, until one call is over before the cut comes."""
    async with a_schema() as undisturbed, opened_at(url_of(undisturbed)) as journal:
        expected = await until_written(journal, batches_with_ids())
        records = await everything(journal)
    for pieces in count():
        async with a_schema() as schema, a_relay() as relay, opened_at(relay.url(schema)) as journal:
            whole = False
            relay.cut_at(pieces)
            try:
                await journal.append_each(batches_with_ids())
                whole = True
            except AppendFailed:
                await journal.recover()
            assert journal.position in (0, 6)
            relay.watch = lambda way, data: True
            written = await until_written(journal, batches_with_ids())
            assert [(one.position, one.versions) for one in written][1:] == [
                (one.position, one.versions) for one in expected
            ][1:]
            assert await everything(journal) == records
            assert await matching(journal, Match(tags=("all",))) == [3, 5, 6]
            if whole:
                assert pieces > 20
                return


async def test_one_batch_is_written_once_whatever_happens(schema: str) -> None:
    """Cut at random, again and again, also while it recovers; each batch is written until it is known to be there."""
    random = Random(11)
    async with a_relay() as relay, opened_at(relay.url(schema)) as journal:
        for n in range(25):
            relay.cut_at(random.randrange(40))
            batch = (put(SEATS, ANY, ids(2, 2 * n + 1)), tagged(ROOMS, f"t{n}", id_=f"r{n}"))
            (written,) = await until_written(journal, [batch])
            assert written.position == 3 * n + 1
        relay.watch = lambda way, data: True
        await journal.recover()
        assert [record.id for record in await everything(journal)] == [
            id_ for n in range(25) for id_ in (f"e{2 * n + 1}", f"e{2 * n + 2}", f"r{n}")
        ]


async def test_what_was_never_committed_is_not_remembered(schema: str) -> None:
    """A stream's number among it: another one has that number then."""
    async with a_relay() as relay, opened_at(relay.url(schema)) as journal:

        def watch(way: Way, data: bytes) -> bool:
            if b"commit" in data:
                relay.cut()
            return b"commit" not in data

        relay.watch = watch
        with pytest.raises(AppendFailed):
            await journal.append_each([(put(SEATS, NONE),)])
        relay.watch = lambda way, data: True
        await journal.recover()
        assert journal.position == 0
        await journal.append([(put(CABS, 0),)])
        await journal.append([(put(SEATS, 0),)])
        await journal.append([(put(SEATS, 1), put(CABS, 1))])
        assert where(await everything(journal)) == [(CABS, 1), (SEATS, 1), (SEATS, 2), (CABS, 2)]


async def test_nobody_sees_the_position_before_the_commit(schema: str) -> None:
    async with a_relay() as relay, opened_at(relay.url(schema)) as journal:
        await journal.append([(put(SEATS, 0),)])
        seen: list[tuple[bytes, int]] = []

        def watch(way: Way, data: bytes) -> bool:
            seen.append((data, journal.position))
            return True

        relay.watch = watch
        await journal.append_each([(put(SEATS, ANY, 2),), (put(ROOMS, ANY, 2),)])
        relay.watch = lambda way, data: True
        assert any(b"commit" in data for data, _ in seen)
        assert {position for _, position in seen} == {1}
        assert journal.position == 5


# -- the seat, and other owners -----------------------------------------------------------------------------------


@pytest.mark.parametrize("append", [put(SEATS, ANY), put(SEATS, 9), put(SEATS, ANY, 0), tagged(CABS, "x")])
async def test_who_has_lost_his_seat_is_told_nothing_else(
    schema: str, journal: PostgresJournal, append: Append
) -> None:
    await journal.append([(put(SEATS, 0, [new(tags=["x"])]),)])
    await run("update owners set epoch = epoch + 1, holder = 'x', shown = 'somebody else'", schema=schema)
    for _ in range(2):
        with pytest.raises(JournalTaken, match="somebody else"):
            await journal.append_each([(append,)])
    assert len(await everything(journal)) == 1


async def test_what_waits_while_the_seat_changes_is_not_written(schema: str, journal: PostgresJournal) -> None:
    await journal.append([(put(SEATS, 0),)])
    async with link_to(schema) as other:
        await other.script("begin; update owners set epoch = epoch + 1, holder = 'x', shown = 'somebody else'")
        await other.script("update journal set position = position")
        late = asyncio.create_task(journal.append_each([(put(SEATS, ANY),)]))
        await waits(schema, late)
        await other.script("commit")
        with pytest.raises(JournalTaken):
            await late
    assert len(await everything(journal)) == 1


async def test_of_two_owners_one_registers_a_name(schema: str) -> None:
    async with two(schema) as (ana, bob):

        async def register(journal: PostgresJournal, who: str) -> list[bool]:
            done: list[bool] = []
            for n in range(40):
                (outcome,) = await journal.append_each([(tagged((who, f"{n}"), f"name:{n}"),)])
                assert isinstance(outcome, Written | ConditionFailed)
                done.append(isinstance(outcome, Written))
            return done

        ours, theirs = await asyncio.gather(register(ana, "A"), register(bob, "B"))
        assert [one != other for one, other in zip(ours, theirs, strict=True)] == [True] * 40
        await ana.changed(39, 60)
        records = await everything(ana)
        assert len(records) == 40
        assert len({record.tags for record in records}) == 40


async def test_modes_and_ids_are_right_between_owners(schema: str) -> None:
    """What is expected is looked at when nobody else can write, and nobody writes to what is another's."""
    async with two(schema) as (ana, bob):
        await ana.write(put(SEATS, NONE, ids(1)))
        conflict, owned, looked, doubled, passed = await bob.append_each(
            [
                (put(SEATS, NONE),),
                (put(SEATS, ANY),),
                (put(SEATS, EXISTS, 0), put(ROOMS, NONE)),
                (put(CABS, ANY, ids(1)),),
                (put(ROOMS, EXISTS),),
            ]
        )
        assert isinstance(conflict, StreamOwned)
        assert isinstance(owned, StreamOwned)
        assert (owned.stream, owned.owner) == (SEATS, "ana")
        assert looked == Written(2, (1, 1))
        assert isinstance(doubled, DuplicateEvent)
        assert passed == Written(3, (2,))
        await ana.write(put(SEATS, 1))
        (stale,) = await bob.append_each([(put(SEATS, 1, 0), put(ROOMS, ANY))])
        assert isinstance(stale, VersionConflict)
        with pytest.raises(StreamOwned):  # what was looked at is not taken for one's own
            await bob.append([(put(SEATS, 2),)])
        with pytest.raises(StreamOwned):
            await bob.write(Append(SEATS, EXISTS, [], NOON, erase_before=2))
        with pytest.raises(StreamOwned):
            await bob.write(Append(SEATS, EXISTS, [], NOON, snapshot=Snapshot(2, "f", b"")))


async def test_owners_who_write_all_they_can_leave_no_gap(schema: str) -> None:
    async with opened(schema, "ana", "bob", "cid") as journals:

        async def write(journal: PostgresJournal, name: str) -> None:
            random = Random(name)
            for n in range(30):
                batches: list[Batch] = [
                    (put((name, f"{random.randrange(5)}"), ANY, [new(tags=["all"])]), tagged((name, "x"), f"{n}{name}"))
                    for _ in range(random.randint(1, 4))
                ]
                assert isinstance((await journal.append_each(batches))[0], Written)
                if n % 3 == 0:
                    await journal.append([(put((name, f"new {n}"), 0, [new(id_=f"{name}{n}", tags=["all"])]),)])

        await asyncio.gather(*(write(journal, journal.place.owner) for journal in journals))
        end = await journals[0].changed(3 * (30 * 2 + 10) - 1, 60)
        assert end == 3 * (30 * 2 + 10)
        records = await journals[0].read_all(limit=1_000)
        assert [record.position for record in records] == list(range(1, end + 1))
        assert await matching(journals[0], Match(tags=("all",))) == [r.position for r in records if "all" in r.tags]


# -- conditions and queries ---------------------------------------------------------------------------------------

ODD = Match(("Odd",))
NOTHING = Match(("Nothing",))


@pytest.mark.parametrize("window", [1, 2, 3, 50])
async def test_what_no_tag_leads_to_is_looked_through_in_parts_before_others_wait(
    journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(query, "WINDOW", window)
    reference = MemoryJournal()
    events = [new("Odd" if n in (4, 9) else "Even", tags=["x"]) for n in range(1, 13)]
    queries: list[Query] = [(), (ODD,), (NOTHING,), (NOTHING, ODD), (ODD, Match(tags=("x",))), (Match(tags=("x",)),)]
    for one in (journal, reference):
        await one.append([(put(SEATS, 0, events),)])
    for unless in [Unless(items, after) for items in queries for after in (0, 3, 4, 5, 8, 9, 11, 12)]:
        batches = [(given_that(SEATS, ANY, [], unless),), (given_that(CABS, ANY, [], Unless((NOTHING,))),)]
        ours, theirs = await journal.append_each(batches), await reference.append_each(batches)
        assert [str(outcome) for outcome in ours] == [str(outcome) for outcome in theirs]


async def test_only_the_last_part_is_looked_through_while_others_wait(
    journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "WINDOW", 10)
    await journal.append([(put(SEATS, 0, 95),)])
    asked: list[int] = []
    look = Judge.look

    async def watched(judge: Judge, link: Link, owner: int, appends: Sequence[Append]) -> None:
        asked.extend(append.unless.after for append in appends if append.unless is not None)
        await look(judge, link, owner, appends)

    monkeypatch.setattr(Judge, "look", watched)
    await journal.append_each([(given_that(ROOMS, NONE, [new("Odd")], Unless((ODD,))),)])
    await journal.append_each([(given_that(CABS, NONE, [new("Odd")], Unless((Match(tags=("x",)),), 7)),)])
    assert asked == [90, 7]


STATEMENTS = (postgres_queries, postgres_group, postgres_erasing)
CALLS = {
    "APPEND_MORE": "1, 1, 1, 0, '{1}', '{4000}', '{}', '{}', '{}', '{}', '{}', '{1}', '{7}', '{1}',"
    "'{4001}', '{A}', '{0}', '{c}', '{x}', '{x}', '{0}', '', '{x}', array['{y}'], '{1}', '{1}', '{f}', '{x}', '{0}'",
    "APPEND": "1, 1, 1, 0, '{1}', '{4000}', '{}', '{}', '{}', '{}', '{}', '{1,5,6}', '{7,8,9}', '{1}',"
    "'{4001}', '{A}', '{0}', '{c}', '{x}', '{x}', '{0}', ''",
    "SCAN": "array[0], array[3900], array['{}'], array['{all,n77}'], array['{}'], 8000, 1",
    "BROKEN": "array[0, 1], array[3900, 3900], array['{}', '{}'], array['{all}', '{n77}'], array['{}', '{}'], 8000, 1",
    "BY_IDS": "array['e5', 'e6', 'none']",
    "IDS_THERE": "array['e5', 'e6', 'none']",
    "READ": "'Flight', 'LH441', 3000, 5",
    "READ_ALL": "3000, 5",
    "READ_BACK": "'Flight', 'LH441', 3000, 5",
    "READ_PART": "1, 3000, 3005",
    "SNAPSHOTS": "array['Flight', 'Hotel'], array['LH441', 'none']",
    "STRANGERS": "array['Flight', 'Hotel'], array['LH441', 'none'], 2",
    "HEADS": "array['Flight', 'Hotel'], array['LH441', 'none']",
    "ERASE": "'journal.erased', array[3000, 3001], array['x', 'y'], array[0, 0]",
    "UNTAG": "array['all', 'n3'], array[3000, 3]",
}


WORKERS_COST_NOTHING = """set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
    set min_parallel_index_scan_size = 0; set min_parallel_table_scan_size = 0"""


@pytest.fixture(scope="module", params=[0, 3, 10])
def plans(request: pytest.FixtureRequest) -> dict[str, str]:
    """How each statement was carried out in the end by a session that had planned it when there was little."""
    return asyncio.run(plans_after(few=request.param))


async def plans_after(few: int) -> dict[str, str]:
    async with a_schema() as schema, opened_at(url_of(schema)) as journal, link_to(schema) as link:
        first = Append(SEATS, 0, [new(id_="e0", tags=["all"])], NOON, "c0", snapshot=Snapshot(1, "f", b""))
        others = [(put(("Few", f"{n}"), 0, wake=NOON),) for n in range(few)]
        await journal.append([(first,), *others])
        await link.script("analyze events, journal, owners, seals, snapshots, streams, tags")
        await link.script(WORKERS_COST_NOTHING)
        for name, values in CALLS.items():
            (statement,) = {vars(module)[name] for module in STATEMENTS if name in vars(module)}
            await link.script(f"prepare {name} as {statement}")
            await tried(link, f"execute {name} ({values})")
        events = [new(id_=f"e{n}", tags=["all", f"n{n % 100}"]) for n in range(1, 4_000)]
        await journal.append([(put(SEATS, 1, events),)])
        await journal.append([(put(("Many", f"{n}"), 0, 1, "c1"),) for n in range(2_000)])
        return {
            name: (await tried(link, f"explain (analyze, format json) execute {name} ({values})"))[0][0]
            for name, values in CALLS.items()
        }


async def tried(link: Link, statement: str) -> list[Row]:
    """Run a statement, and take back what it has done."""
    await link.script("begin")
    try:
        return await link.fetch(statement)
    finally:
        await link.script("rollback")


@pytest.mark.parametrize("name", CALLS)
def test_a_plan_that_was_made_when_there_was_little_reads_little_of_much(plans: dict[str, str], name: str) -> None:
    plan = plans[name]
    assert max(looked_at(msgspec.json.decode(plan)[0]["Plan"])) <= 100, plan
    assert "Gather" not in plan  # to start workers takes longer than all that is asked


def looked_at(plan: dict[str, Any]) -> Iterator[int]:
    """Return how many rows each part of a plan has looked at."""
    passed_over = sum(count for key, count in plan.items() if key.startswith("Rows Removed"))
    yield (plan["Actual Rows"] + passed_over) * plan["Actual Loops"]
    for part in plan.get("Plans", ()):
        yield from looked_at(part)


# -- migrating ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", range(1, len(postgres_schema.LAYOUTS)))
async def test_a_journal_of_an_older_layout_is_migrated(schema: str, layout: int) -> None:
    async with a_schema() as source, opened_at(url_of(source)) as journal:
        await journal.append([(put(SEATS, 0, 2, "c1", mark=True), put(ROOMS, 0, 1))])
        await make_layout_1(schema, source)
    for version in range(2, layout + 1):
        for statement in postgres_schema.LAYOUTS[version - 1]:
            await run(statement, schema=schema)
        await run("insert into layout (version) values ($1)", version, schema=schema)
    async with opened_at(url_of(schema)) as journal:
        assert where(await everything(journal)) == [(SEATS, 1), (SEATS, 2), (ROOMS, 1)]
        assert [(record.id, record.tags) for record in await journal.read(SEATS)] == [(None, ())] * 2
        assert await journal.find(SEATS, "c1") == 1
        assert await journal.unfinished() == [SEATS]
        assert await journal.snapshots([SEATS]) == {}
        kept = Snapshot(3, "f", b"s")
        batch = Append(SEATS, EXISTS, [new(id_="e1", tags=["x"])], NOON, snapshot=kept, erase_before=3)
        assert await journal.write(batch) == Written(4, (3,))
        assert await journal.write(batch) == Written(4, (3,), repeated=True)
        assert await matching(journal) == [3, 4]
        assert await matching(journal, Match(tags=("x",))) == [4]
        assert await journal.snapshots([SEATS]) == {SEATS: kept}
        assert [record.version for record in await journal.read(SEATS)] == [3]
    assert await run("select max(version) from layout", schema=schema) == [(len(postgres_schema.LAYOUTS),)]


def test_a_layout_that_there_are_journals_of_does_not_change() -> None:
    """Write another one, which makes of it what is wanted."""
    found = [sha256("\n".join(layout).encode()).hexdigest()[:12] for layout in postgres_schema.LAYOUTS]
    assert found == ["dd02c4161355", "13fa8cdec31f", "0cc3c4cf9e5b", "b3514b54b25a"]


# -- damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "update events set id = 'e9' where position = 2",
        "update events set id = null where position = 2",
        "update events set tags = null where position = 2",
        "update events set tags = '{b,a}' where position = 2",
        "update events set tags = '{a,null}' where position = 2",
        "update events set data = '{}' where position = 2",
    ],
)
async def test_damage_is_found_and_not_read(schema: str, journal: PostgresJournal, change: str) -> None:
    event = new(id_="e2", tags=["a", "b"], data='{"n":1}')
    await journal.append([(put(SEATS, 0, 1), put(SEATS, 1, [event, new()]))])
    await run(change, schema=schema)
    with pytest.raises(JournalDamaged, match="checksum differs"):
        await journal.read_all()
    with pytest.raises(JournalDamaged, match="checksum differs"):
        await journal.read_back(SEATS)
    with pytest.raises(JournalDamaged, match="checksum differs"):
        await journal.append([(Append(SEATS, 3, [], NOON, erase_before=3),)])
    await journal.append([(put(SEATS, 3),)])
    assert await journal.find(SEATS, "c") is None
    assert [record.type for record in await journal.read_all(2)] == ["SeatHeld"] * 2


async def test_what_is_erased_leaves_nothing_in_the_tables(schema: str, journal: PostgresJournal) -> None:
    events = [NewEvent("Held", b'"s3cret"', b'{"by":"s3cret"}', None, f"e{n}", ("s3cret", f"{n}")) for n in range(3)]
    await journal.append([(put(SEATS, 0, events), put(ROOMS, 0, [new(tags=["s3cret"])]))])
    await journal.append([(Append(SEATS, 3, [], NOON, erase_before=3),)])
    assert await run("select position from tags order by position", schema=schema) == [(3,), (3,), (4,)]
    rows = await run("select data || meta || coalesce(tags::text, '') from events where position < 3", schema=schema)
    assert "s3cret" not in str(rows)


async def test_damage_that_is_found_where_something_is_erased_harms_only_that_batch(
    schema: str, journal: PostgresJournal
) -> None:
    await journal.append([(put(SEATS, 0, 3), put(ROOMS, 0, 3))])
    await run("update events set data = '{}' where position = 2", schema=schema)
    outcomes = await journal.append_each(
        [
            (put(CABS, NONE),),
            (Append(ROOMS, 3, [], NOON, erase_before=2), Append(SEATS, 3, [new(id_="e1")], NOON, erase_before=3)),
            (Append(ROOMS, 3, [new(id_="e1")], NOON, erase_before=3),),
            (put(CABS, EXISTS),),
        ]
    )
    assert isinstance(outcomes[1], JournalDamaged)
    assert [outcome for outcome in outcomes if isinstance(outcome, Written)] == [
        Written(7, (1,)),
        Written(8, (4,)),
        Written(9, (2,)),
    ]
    assert await journal.heads([SEATS, ROOMS, CABS]) == {SEATS: 3, ROOMS: 4, CABS: 2}
    assert [record.version for record in await journal.read(ROOMS)] == [3, 4]


async def test_what_is_missing_is_not_erased(schema: str, journal: PostgresJournal) -> None:
    await journal.append([(put(SEATS, 0, 4),)])
    await run("delete from events where position = 2", schema=schema)
    with pytest.raises(JournalDamaged, match="the event with version 2 is missing"):
        await journal.append([(Append(SEATS, 4, [], NOON, erase_before=4),)])
    await run("delete from events where position = 1", schema=schema)
    with pytest.raises(JournalDamaged, match="the event with version 1 is missing"):
        await journal.append([(Append(SEATS, 4, [], NOON, erase_before=2),)])


@pytest.mark.parametrize(
    "change", ["data = 'x'", "version = 2", "fingerprint = 'g'", "crc = crc + 1", "stream = 2 where stream = 1"]
)
async def test_a_damaged_snapshot_is_known_for_one(schema: str, journal: PostgresJournal, change: str) -> None:
    await journal.append([(Append(SEATS, 0, [new()], NOON, snapshot=Snapshot(1, "f\0", b"s")), put(ROOMS, 0))])
    assert await journal.snapshots([SEATS]) == {SEATS: Snapshot(1, "f\0", b"s")}
    await run(f"update snapshots set {change}", schema=schema)
    (found,) = (await journal.snapshots([SEATS, ROOMS])).values()
    assert found.data is None


async def test_a_snapshot_of_more_than_one_statement_can_carry(
    journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_group, "CHUNK_BYTES", 1_000)
    large = Snapshot(1, "f", b"x" * 5_000)
    tags = ["t" * 1_000]
    group = [(Append(stream, 0, [new(tags=tags)], NOON, snapshot=large),) for stream in (SEATS, ROOMS, CABS)]
    await journal.append(group)
    assert await journal.snapshots([SEATS, ROOMS, CABS]) == dict.fromkeys([SEATS, ROOMS, CABS], large)
    assert await matching(journal, Match(tags=tuple(tags))) == [1, 2, 3]


@pytest.mark.parametrize("way", ["to", "from"])
async def test_a_connection_into_a_black_hole_is_given_up(
    schema: str, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    """Nothing is lost and nothing told: what is said just never arrives, or its answer doesn't."""
    monkeypatch.setattr(postgres_client, "ANSWER_TIMEOUT", 0.3)
    async with a_relay() as relay, opened_at(relay.url(schema)) as journal:
        await journal.append([(put(SEATS, 0, ids(1)),)])
        relay.watch = lambda one, data: one != way
        with pytest.raises(AppendFailed, match="no answer within"):
            await journal.append([(put(SEATS, 1, ids(1, 2)),)])
        relay.watch = lambda one, data: True
        monkeypatch.setattr(postgres_client, "ANSWER_TIMEOUT", 60.0)
        (written,) = await until_written(journal, [(put(SEATS, 1, ids(1, 2)),)])
        assert written.position == 2
        assert [record.id for record in await everything(journal)] == ["e1", "e2"]
