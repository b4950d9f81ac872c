"""Several owners of one PostgreSQL journal: one order for all, and each stream is written by one of them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

import pytest

from persistence import (
    AT_ONCE,
    Append,
    AppendFailed,
    JournalInUse,
    JournalTaken,
    JournalUnusable,
    Stream,
    StreamOwned,
    VersionConflict,
    postgres_client,
    postgres_schema,
    postgres_seat,
)
from persistence.postgres import PostgresJournal
from persistence.postgres_group import LOCK
from persistence.postgres_url import quoted
from tests.contract.journal_contract import NOON, ROOMS, SEATS, everything, put, where
from tests.postgres import a_schema, needs_server, run, url_of
from tests.relay import a_relay
from tests.unit.test_postgres_writing import link_to, terminate, waits, writer_of

pytestmark = needs_server


def owned_url(schema: str, owner: str) -> str:
    return f"{url_of(schema)}&owner={owner}"


@asynccontextmanager
async def opened(schema: str, *owners: str) -> AsyncGenerator[list[PostgresJournal]]:
    async with AsyncExitStack() as stack:
        journals = [PostgresJournal(owned_url(schema, owner)) for owner in owners]
        for journal in journals:
            await journal.open()
            stack.push_async_callback(journal.close)
        yield journals


@asynccontextmanager
async def two(schema: str) -> AsyncGenerator[tuple[PostgresJournal, PostgresJournal]]:
    async with opened(schema, "ana", "bob") as (ana, bob):
        yield ana, bob


# -- seats --------------------------------------------------------------------------------------------------------


async def test_many_open_a_new_journal_at_once(schema: str) -> None:
    journals = [PostgresJournal(owned_url(schema, f"owner {n}")) for n in range(8)]
    await asyncio.gather(*(journal.open() for journal in journals))
    assert len({journal.identity for journal in journals}) == 1
    await asyncio.gather(*(journal.append([(put(("Trip", f"{n}"), 0),)]) for n, journal in enumerate(journals)))
    assert await journals[0].changed(7, 60) == 8
    assert len(await everything(journals[0])) == 8
    for journal in journals:
        await journal.close()


async def test_a_seat_that_is_taken_keeps_no_other_owner_waiting(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_schema, "PATIENCE", 60)
    async with opened(schema, "ana") as (ana,):
        second = PostgresJournal(owned_url(schema, "ana"))
        waiting = asyncio.create_task(second.open())
        seats = "locktype = 'advisory' and classid = (select oid from pg_namespace where nspname = $1)"
        while not await run(f"select from pg_locks where not granted and {seats}", schema):
            assert not waiting.done()
        async with opened(schema, "bob") as (bob,):
            await bob.append([(put(SEATS, 0),)])
        assert not waiting.done()
        await ana.close()
        await waiting
        await second.close()


async def test_who_wants_a_seat_that_is_taken_is_told_who_sits_there(
    schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_schema, "PATIENCE", 0.05)
    async with two(schema):
        with pytest.raises(JournalInUse, match=r"in use by process .*, as its owner 'bob'; stop that one first"):
            await PostgresJournal(owned_url(schema, "bob")).open()


async def test_an_owners_name_may_be_any_text(schema: str) -> None:
    async with opened(schema, "%C3%BC%20'%22;--", "%25") as (odd, other):
        await odd.append([(put(SEATS, 0),)])
        with pytest.raises(StreamOwned) as caught:
            await other.append([(put(SEATS, 1),)])
        assert caught.value.owner == "ü '\";--"


# -- one order ----------------------------------------------------------------------------------------------------


async def test_many_owners_write_in_one_order_without_gaps(schema: str) -> None:
    """Also with groups that only look at streams, and wait for all others for it."""
    names = [f"owner{n}" for n in range(4)]
    async with opened(schema, *names) as journals:
        done = False

        async def write(number: int, journal: PostgresJournal) -> None:
            random, version = Random(number), 0
            for n in range(60):
                new = random.randrange(1, 5)
                stream: Stream = ("Trip", f"{number}")
                group = [(put(stream, version, new), put(("Other", f"{number}-{n}"), 0))]
                if n % 3 == 0:
                    group.append((put(("No", "such"), 0, 0), put(("More", f"{number}-{n}"), 0)))
                first = await journal.append(group)
                (record,) = await journal.read(stream, version, 1)
                assert record.position == first
                version += new

        async def follow(journal: PostgresJournal) -> list[int]:
            seen: list[int] = []
            while not done or len(seen) < await journal.changed(len(seen), 0):
                await journal.changed(len(seen), 0.01)
                seen += [record.position for record in await journal.read_all(len(seen), 50)]
            return seen

        following = [asyncio.create_task(follow(journal)) for journal in journals]
        await asyncio.gather(*(write(number, journal) for number, journal in enumerate(journals)))
        done = True
        for seen in await asyncio.gather(*following):
            assert seen == list(range(1, len(seen) + 1))
        for journal in journals:
            await journal.changed(len(await journal.read_all(limit=100_000)) - 1, 60)
            assert len(await everything(journal)) > 4 * 60 * 2


async def test_the_position_is_known_of_what_others_wrote_when_one_writes(schema: str) -> None:
    async with two(schema) as (ana, bob):
        await ana.append([(put(SEATS, 0, 3),)])
        assert (await bob.append([(put(ROOMS, 0, 2),)]), bob.position) == (4, 5)
        assert ana.position == 3
        await ana.recover()
        assert ana.position == 5
        assert where(await everything(ana)) == [(SEATS, 1), (SEATS, 2), (SEATS, 3), (ROOMS, 1), (ROOMS, 2)]


# -- whose stream -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expected", [0, 1, 2, 7])
@pytest.mark.parametrize("events", [0, 1])
@pytest.mark.parametrize("beside", [True, False])
async def test_nobody_writes_to_a_stream_of_another_owner(
    schema: str, expected: int, events: int, beside: bool
) -> None:
    async with two(schema) as (ana, bob):
        await ana.append([(put(SEATS, 0, 2, wake=NOON),)])
        group = [(put(SEATS, expected, events, wake=AT_ONCE),)]
        if beside:
            await bob.append([(put(ROOMS, 0),)])
            group.insert(0, (put(ROOMS, 1),))
        with pytest.raises(StreamOwned, match="stream Flight/LH441 belongs to the journal's owner 'ana'") as caught:
            await bob.append(group)
        assert (caught.value.stream, caught.value.owner) == (SEATS, "ana")
        assert len(await ana.read_all()) == 2 + beside
        assert await bob.strangers([SEATS, ROOMS, ("No", "such")]) == {SEATS: "ana"}
        assert await ana.strangers([SEATS]) == {}
        assert await bob.heads([SEATS]) == {SEATS: 2}
        assert [sleeper.stream for sleeper in await ana.sleeping()] == [SEATS]


async def test_of_two_who_begin_a_stream_at_once_one_gets_it(schema: str) -> None:
    async with two(schema) as (ana, bob):
        for n in range(20):
            stream = ("Trip", f"{n}")
            ends = await asyncio.gather(
                ana.append([(put(stream, 0, 2),)]), bob.append([(put(stream, 0, 2),)]), return_exceptions=True
            )
            assert [type(end) for end in ends].count(StreamOwned) == 1
        await ana.changed(39, 60)
        assert len(await everything(ana)) == 40


async def test_what_is_only_looked_at_is_seen_as_it_is_when_the_group_is_written(schema: str) -> None:
    """Another owner's group holds the journal; ours has begun, and waits. What that one began is there for us."""
    async with two(schema) as (ana, bob), link_to(schema) as other:
        await ana.append([(put(ROOMS, 0),)])
        await other.script("begin; select from journal for update")
        late = asyncio.create_task(ana.append([(put(SEATS, 0, 0), put(ROOMS, 1))]))
        await waits(schema, late)
        beginning = asyncio.create_task(bob.append([(put(SEATS, 0),)]))
        # Whoever of the two is let in first: ours is written only if it comes before the stream begins.
        await other.script("commit")
        await beginning
        try:
            first = await late
        except StreamOwned:
            assert where(await bob.read_all()) == [(ROOMS, 1), (SEATS, 1)]
        else:
            assert first == 2


async def test_a_stream_that_began_while_a_look_at_it_waited_is_seen(schema: str) -> None:
    """The same, with the order fixed: who began it has the journal when ours begins to wait."""
    async with two(schema) as (ana, bob), link_to(schema) as other:
        await ana.append([(put(ROOMS, 0),)])
        owner = bob._seat.owner  # pyright: ignore[reportPrivateUsage]
        await other.script("begin; update journal set position = position + 1, streams = streams + 1")
        late = asyncio.create_task(ana.append([(put(SEATS, 0, 0), put(ROOMS, 1))]))
        await waits(schema, late)
        await other.fetch("insert into streams (id, owner, category, key) values (2, $1, 'Flight', 'LH441')", owner)
        await other.script("insert into events values (2, 2, 1, 'T', 1, null, '{}', '{}', 0)")
        await other.script("commit")
        with pytest.raises(StreamOwned):
            await late


async def test_one_that_stands_still_in_the_middle_of_a_group_keeps_nobody_waiting(
    schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group of more than one statement, and its process is paused between two of them."""
    monkeypatch.setattr(postgres_client, "STANDSTILL", 0.2)
    async with two(schema) as (ana, bob):
        fetch = writer_of(ana).fetch
        paused, goes_on = asyncio.Event(), asyncio.Event()

        async def pausing(statement: str, *values: object) -> Any:
            rows = await fetch(statement, *values)
            if statement == LOCK:
                paused.set()
                await goes_on.wait()
            return rows

        monkeypatch.setattr(writer_of(ana), "fetch", pausing)
        late = asyncio.create_task(ana.append([(put(SEATS, 0, 0), put(ROOMS, 0))]))
        await paused.wait()
        assert await bob.append([(put(SEATS, 0),)]) == 1
        goes_on.set()
        with pytest.raises(AppendFailed):
            await late
        await ana.recover()
        await ana.append([(put(ROOMS, 0),)])
        assert len(await everything(ana)) == 2


async def test_who_must_be_awake_is_each_owners_own(schema: str) -> None:
    async with two(schema) as (ana, bob):
        for name, journal in (("ana", ana), ("bob", bob)):
            await journal.append([(put(("Trip", f"{name}{n}"), 0, wake=wake),) for n, wake in enumerate([0, NOON, 0])])
            assert await journal.unfinished() == [("Trip", f"{name}0"), ("Trip", f"{name}2")]
            assert [sleeper.stream for sleeper in await journal.sleeping()] == [("Trip", f"{name}1")]


# -- taking over --------------------------------------------------------------------------------------------------


async def test_the_streams_of_one_who_is_gone_are_taken_over(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_seat, "RANGE", 2)
    monkeypatch.setattr(postgres_schema, "PATIENCE", 0.05)
    async with two(schema) as (ana, bob):
        await ana.append([(put(("Trip", f"{n}"), 0, wake=[AT_ONCE, NOON][n % 2]),) for n in range(5)])
        await bob.append([(put(SEATS, 0),)])
        with pytest.raises(JournalInUse, match=r"in use by process .*, as its owner 'ana'"):
            await bob.take_streams("ana")
        with pytest.raises(JournalUnusable, match="has no other owner 'bob'"):
            await bob.take_streams("bob")
        with pytest.raises(JournalUnusable, match="has no other owner 'eve'"):
            await bob.take_streams("eve")
        with pytest.raises(StreamOwned):
            await bob.append([(put(("Trip", "0"), 1),)])
        await terminate(ana)
        assert await bob.take_streams("ana") == 5
        with pytest.raises(AppendFailed):
            await ana.append([(put(("Trip", "1"), 1),)])
        with pytest.raises(JournalTaken, match=r"taken over by process .*, the owner 'bob'"):
            await ana.recover()
        await bob.append([(put(("Trip", f"{n}"), 1),) for n in range(5)])
        assert await bob.unfinished() == [("Trip", "0"), ("Trip", "2"), ("Trip", "4")]
        assert len(await bob.sleeping()) == 2
        assert await bob.take_streams("ana") == 0
        async with opened(schema, "ana") as (again,):  # it begins with nothing
            assert await again.unfinished() == []
            with pytest.raises(StreamOwned):
                await again.append([(put(("Trip", "0"), 2),)])
            await again.append([(put(ROOMS, 0),)])


@pytest.mark.parametrize("dies", [True, False])
async def test_who_takes_over_from_one_that_crashed_knows_of_a_crash(schema: str, dies: bool) -> None:
    async with two(schema) as (ana, bob):
        assert not ana.crashed
        await ana.append([(put(SEATS, 0),)])
        if dies:
            await terminate(ana)
        else:
            await ana.close()
        assert await bob.take_streams("ana") == 1
    async with two(schema) as (ana, bob):
        assert (ana.crashed, bob.crashed) == (False, dies)
        await terminate(ana)
    async with two(schema) as (ana, bob):
        assert (ana.crashed, bob.crashed) == (True, False)


async def test_a_group_that_waits_while_its_streams_are_taken_is_not_written(schema: str) -> None:
    """Its writer was paused, and its session is alive: only the epoch keeps it out, inside the statement."""
    async with two(schema) as (ana, bob):
        await ana.append([(put(SEATS, 0),)])
        async with link_to(schema) as other:
            await other.script("begin; update owners set epoch = epoch + 1, holder = '' where name = 'ana'")
            late = asyncio.create_task(ana.append([(put(SEATS, 1),)]))
            while not await run(
                "select from pg_locks where not granted and pid = $1",
                writer_of(ana).process,
            ):
                assert not late.done(), "it did not wait"
            await other.script("update streams set owner = (select number from owners where name = 'bob')")
            await other.script("commit")
        with pytest.raises(JournalTaken):
            await late
        await bob.append([(put(SEATS, 1),)])
        assert len(await everything(bob)) == 2


async def test_a_group_that_is_written_first_is_waited_for(schema: str) -> None:
    """Who takes the seat sees all that was written from it."""
    async with opened(schema, "ana") as (ana,), link_to(schema) as other:
        await ana.append([(put(SEATS, 0),)])
        await other.script("begin; select from journal for update")
        late = asyncio.create_task(ana.append([(put(SEATS, 1),)]))
        await waits(schema, late)
        taking = asyncio.create_task(
            run("update owners set epoch = epoch + 1 where name = 'ana' returning 1", schema=schema)
        )
        await asyncio.wait([taking], timeout=0.05)
        assert not taking.done()
        await other.script("commit")
        assert await late == 2
        await taking


async def test_a_seat_is_taken_again_after_a_cut_and_the_others_go_on(schema: str) -> None:
    async with a_relay() as relay, opened(schema, "bob") as (bob,):
        ana = PostgresJournal(f"{relay.url(schema)}&owner=ana")
        await ana.open()
        versions = {SEATS: 0, ROOMS: 0}
        for n in range(12):
            relay.cut_at(n % 3)
            try:
                await ana.append([(put(SEATS, versions[SEATS], 2),)])
            except AppendFailed:
                await ana.recover()
            versions[SEATS] = (await bob.heads([SEATS])).get(SEATS, 0)
            await bob.append([(put(ROOMS, versions[ROOMS], 3),)])
            versions[ROOMS] += 3
        relay.watch = lambda way, data: True
        await ana.recover()
        assert await ana.heads([SEATS, ROOMS]) == {stream: version for stream, version in versions.items() if version}
        assert len(await everything(ana)) == sum(versions.values())
        await ana.close()


# -- layouts ------------------------------------------------------------------------------------------------------


async def make_layout_1(schema: str, source: str) -> None:
    """Make a journal as the first layout had it, with what is in another schema."""
    await run(f"create schema {quoted(schema)}")
    for statement in (
        "create table layout (version int primary key, since timestamptz not null default now())",
        "insert into layout (version) values (1)",
        *postgres_schema.LAYOUTS[0],
        f"""insert into journal select identity, position, streams, 7, 'x', 'process 1 on old'
            from {quoted(source)}.journal""",
        f"insert into streams (id, category, key, wake) select id, category, key, wake from {quoted(source)}.streams",
        f"""insert into events select position, stream, version, type, time, command, data, meta, crc
            from {quoted(source)}.events""",
    ):
        await run(statement, schema=schema)


@pytest.mark.parametrize("owner", ["main", "ana"])
async def test_a_journal_of_the_first_layout_is_migrated(schema: str, owner: str) -> None:
    async with a_schema() as source, opened(source, "main") as (journal,):
        await journal.append([(put(SEATS, 0, 3, "c1", mark=True), put(ROOMS, 0, 2, "c2", wake=NOON))])
        await make_layout_1(schema, source)
        expected = await everything(journal)
    async with opened(schema, owner) as (journal,):
        assert await everything(journal) == expected
        assert await journal.find(ROOMS, "c2") == 1
    assert await run("select name, epoch from owners where number = 1", schema=schema) == [
        ("main", 8 if owner == "main" else 7)
    ]
    async with opened(schema, "main") as (journal,):  # what there was is the first owner's
        assert await journal.unfinished() == [SEATS]
        assert [sleeper.stream for sleeper in await journal.sleeping()] == [ROOMS]
        await journal.append([(put(SEATS, 3, mark=False),), (put(("Trip", "1"), 0),)])
        async with opened(schema, "other") as (other,):
            with pytest.raises(StreamOwned, match="'main'"):
                await other.append([(put(SEATS, 4),)])
        await journal.changed(5, 0)
        assert len(await everything(journal)) == 7


async def test_a_writer_of_the_first_layout_is_not_migrated_away_from(
    schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_schema, "PATIENCE", 0.05)
    async with a_schema() as source, opened(source, "main"):
        await make_layout_1(schema, source)
    async with link_to(schema) as old:
        lock = "select pg_advisory_lock($1, oid::int) from pg_namespace where nspname = $2"
        await old.fetch(lock, postgres_schema.LOCKS, schema)
        with pytest.raises(JournalInUse, match="in use by process 1 on old, and its layout is not this version's"):
            await PostgresJournal(url_of(schema)).open()
        assert await run("select max(version) from layout", schema=schema) == [(1,)]
    async with opened(schema, "main"):
        pass


async def test_nobody_migrates_while_others_write(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_schema, "PATIENCE", 0.05)
    async with two(schema) as (ana, bob):
        layouts = (*postgres_schema.LAYOUTS, ("create table more (a int)",))
        monkeypatch.setattr(postgres_schema, "LAYOUTS", layouts)
        with pytest.raises(JournalInUse, match=r"in use by process .*, process .*, and its layout"):
            await PostgresJournal(owned_url(schema, "eve")).open()
        await ana.append([(put(SEATS, 0),)])
        await terminate(ana)
        await bob.close()
        async with opened(schema, "eve"):
            pass
        monkeypatch.setattr(postgres_schema, "LAYOUTS", layouts[:-1])
        with pytest.raises(AppendFailed):
            await ana.append([(put(SEATS, 1),)])
        with pytest.raises(
            JournalTaken, match=rf"has layout {len(layouts)}, .* this process can't write to it any more"
        ):
            await ana.recover()


async def test_a_conflict_with_oneself_stays_one(schema: str) -> None:
    async with two(schema) as (ana, bob):
        group: list[tuple[Append, ...]] = [(put(SEATS, 0),)]
        await ana.append(group)
        await bob.append([(put(ROOMS, 0),)])
        with pytest.raises(VersionConflict):
            await ana.append(group)
