"""A PostgreSQL journal under way: it is fenced, comes back after it was cut off, and is seen in order."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persistence import (
    Append,
    AppendFailed,
    DuplicateCommand,
    JournalDamaged,
    JournalError,
    JournalTaken,
    JournalUnusable,
    NewEvent,
    VersionConflict,
    postgres,
    postgres_group,
    postgres_schema,
)
from persistence import postgres_client as client
from persistence.postgres import PostgresJournal
from persistence.postgres_client import Link, connect
from persistence.postgres_group import APPEND, Group
from persistence.postgres_url import parse_url
from tests.contract.journal_contract import NOON, ROOMS, SEATS, everything, put, where
from tests.postgres import needs_server, run, url_of
from tests.relay import Relay, Way, a_relay

pytestmark = needs_server


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[PostgresJournal]:
    journal = PostgresJournal(url)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


@pytest.fixture
async def journal(schema: str) -> AsyncGenerator[PostgresJournal]:
    async with opened(url_of(schema)) as journal:
        yield journal


def writer_of(journal: PostgresJournal) -> Link:
    writer = journal._writer  # pyright: ignore[reportPrivateUsage]
    assert writer is not None
    return writer


async def terminate(journal: PostgresJournal) -> None:
    """End all sessions of the journal at the server, as an administrator would."""
    reader: Link | None = journal._reader._link  # pyright: ignore[reportPrivateUsage]
    for link in (writer_of(journal), reader):
        if link is not None:
            await run("select pg_terminate_backend($1)", link.process)
            while await run("select from pg_stat_activity where pid = $1", link.process):
                pass


@asynccontextmanager
async def link_to(schema: str) -> AsyncGenerator[Link]:
    link = await connect(parse_url(url_of(schema)))
    try:
        yield link
    finally:
        await link.shut()


# -- the seat -----------------------------------------------------------------------------------------------------


async def test_one_that_was_replaced_stays_out(schema: str) -> None:
    """A process that was paused for so long that its connection was ended, and another has opened the journal."""
    async with opened(url_of(schema)) as zombie:
        await zombie.append([(put(SEATS, 0),)])
        await terminate(zombie)
        async with opened(url_of(schema)) as journal:
            await journal.append([(put(SEATS, 1),)])
            with pytest.raises(AppendFailed):
                await zombie.append([(put(SEATS, 1, 1, "zombie"),)])
            for _ in range(2):
                with pytest.raises(JournalTaken, match=r"was taken over by process .* can't write to it any more"):
                    await zombie.recover()
                with pytest.raises(JournalTaken):
                    await zombie.append([(put(SEATS, 2, 1, "zombie"),)])
            await journal.append([(put(SEATS, 2),)])
            assert len(await everything(journal)) == 3
            assert await journal.find(SEATS, "zombie") is None
        # Also when nobody is there any more.
        with pytest.raises(JournalTaken):
            await zombie.append([(put(SEATS, 3),)])
        assert len(await zombie.read_all()) == 3


@pytest.mark.parametrize(
    "group",
    [
        [(put(SEATS, 1),)],
        [(put(ROOMS, 0),)],
        [(put(SEATS, 7),)],
        [(put(SEATS, 1, 0, mark=True),)],
        [(put(ROOMS, 0, 0),)],
        [(put(SEATS, 1, 1, "c1"),)],
    ],
)
async def test_the_epoch_is_checked_with_each_group(
    schema: str, journal: PostgresJournal, group: list[tuple[Append]]
) -> None:
    """Also where its session is alive and well, and whatever it wants to write."""
    await journal.append([(put(SEATS, 0, 1, "c1"),)])
    await run("update owners set epoch = epoch + 1, holder = 'x', shown = 'somebody else'", schema=schema)
    with pytest.raises(JournalTaken, match="taken over by somebody else"):
        await journal.append(group)
    with pytest.raises(JournalTaken):
        await journal.recover()
    assert where(await everything(journal)) == [(SEATS, 1)]
    assert await journal.unfinished() == []


async def test_a_group_that_waits_while_the_seat_changes_is_not_written(schema: str, journal: PostgresJournal) -> None:
    await journal.append([(put(SEATS, 0),)])
    async with link_to(schema) as other:
        await other.script("begin; update owners set epoch = epoch + 1, holder = 'x', shown = 'somebody else'")
        late = asyncio.create_task(journal.append([(put(SEATS, 1),)]))
        await waits(schema, late)
        await other.script("commit")
        with pytest.raises(JournalTaken):
            await late
    assert len(await everything(journal)) == 1


@pytest.mark.parametrize("group", [[put(SEATS, 0, 0)], [put(SEATS, 0, 0), put(ROOMS, 0)]])
async def test_who_takes_a_stream_for_none_is_found_out_by_the_statement(
    schema: str, journal: PostgresJournal, group: list[Append]
) -> None:
    """Another owner may have begun it since it was looked up."""
    await journal.append([(put(SEATS, 0),)])
    async with link_to(schema) as link:
        assert await link.fetch(APPEND, *Group(group, {}).values(1, 1, "understudy_x")) == []
        assert await link.fetch(APPEND, *Group([put(("No", "such"), 0, 0)], {}).values(1, 1, "understudy_x"))
    assert len(await everything(journal)) == 1


async def waits(schema: str, task: asyncio.Task[Any]) -> None:
    """Return when the task waits for the journal's row."""
    while not await run(
        "select from pg_locks where not granted and locktype in ('transactionid', 'tuple') and pid in "
        "(select pid from pg_locks where relation = 'journal'::regclass)",
        schema=schema,
    ):
        assert not task.done(), "it did not wait"


# -- in order -----------------------------------------------------------------------------------------------------


async def test_who_comes_second_is_seen_second(schema: str, journal: PostgresJournal) -> None:
    """Failure 11: a transaction is held, another one wants to overtake it, and a follower reads meanwhile."""
    values = [Group([put((name, "k"), 0, 2)], {}).values(1, 1, "understudy_x") for name in "AB"]
    async with link_to(schema) as first, link_to(schema) as second:
        await first.script("begin")
        await first.fetch(APPEND, *values[0])
        overtaking = asyncio.create_task(second.fetch(APPEND, *values[1]))
        await waits(schema, overtaking)
        assert await journal.read_all() == []
        await first.script("commit")
        seen = await journal.read_all()
        assert where(seen)[:2] == [(("A", "k"), 1), (("A", "k"), 2)]
        await overtaking
    assert where(await journal.read_all()) == [((name, "k"), n) for name in "AB" for n in (1, 2)]


async def test_a_follower_skips_nothing_while_groups_are_written(schema: str, journal: PostgresJournal) -> None:
    followers = [PostgresJournal(url_of(schema), watching=True) for _ in range(3)]
    for follower in followers:
        await follower.open()
        with pytest.raises(JournalUnusable, match="for reading only"):
            await follower.append([(put(SEATS, 0),)])
    done = False

    async def follow(follower: PostgresJournal) -> list[int]:
        seen: list[int] = []
        while not done or len(seen) < journal.position:
            seen += [record.position for record in await follower.read_all(len(seen), 7)]
        return seen

    following = [asyncio.create_task(follow(follower)) for follower in followers]
    for n in range(100):
        await journal.append([(put(SEATS, 3 * n, 3), put(("Other", f"{n}"), 0, n % 5 + 1))])
    done = True
    for seen in await asyncio.gather(*following):
        assert seen == list(range(1, journal.position + 1))
    for follower in followers:
        await follower.recover()
        assert follower.position == journal.position
        await follower.close()


async def test_one_notification_for_each_group(schema: str, journal: PostgresJournal) -> None:
    told: list[str] = []
    async with link_to(schema) as link:
        connection: Any = link._connection  # pyright: ignore[reportPrivateUsage]

        def on_told(_: Any, pid: int, channel: str, payload: str) -> None:
            told.append(payload)

        await connection.add_listener(journal.channel, on_told)
        await journal.append([(put(SEATS, 0, 5),), (put(ROOMS, 0, 3),)])
        await journal.append([(put(SEATS, 5, 0, mark=True),)])
        with pytest.raises(VersionConflict):
            await journal.append([(put(SEATS, 9),)])
        with suppress(DuplicateCommand):
            await journal.append([(put(SEATS, 5, 1, "c"), put(SEATS, 6, 1, "c"))])
        await journal.append([(put(SEATS, 5),)])
        await link.fetch("select 1")
        await connection.remove_listener(journal.channel, on_told)
    assert told == ["8", "9"]


# -- cut off ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(4))
@pytest.mark.parametrize("known", [True, False])
async def test_a_connection_lost_at_any_moment_of_an_append(
    schema: str, monkeypatch: pytest.MonkeyPatch, count: int, known: bool
) -> None:
    if not known:
        monkeypatch.setattr(postgres, "IDS_KEPT", 0)
    async with a_relay() as relay, opened(relay.url(schema)) as journal:
        await journal.append([(put(SEATS, 0, 2, "c0"),)])
        relay.cut_at(count)
        with suppress(AppendFailed):  # where fewer pieces are said, the cut meets what comes next
            await journal.append([(put(SEATS, 2, 300, "c1"), put(ROOMS, 0))])
            with pytest.raises(JournalError):
                await journal.append([(put(SEATS, 302, 1, "c2"),)])
        relay.watch = lambda way, data: True
        await journal.recover()
        records = await everything(journal)
        assert len(records) in (2, 303, 304)
        heads = await journal.heads([SEATS, ROOMS])
        assert await journal.append([(put(stream, heads.get(stream, 0), 1, "next"),) for stream in (SEATS, ROOMS)])
        assert len(await everything(journal)) == len(records) + 2


async def test_a_group_whose_answer_was_lost_is_there(schema: str) -> None:
    async with a_relay() as relay, opened(relay.url(schema)) as journal:
        await journal.append([(put(SEATS, 0),)])
        lose_answers(relay)
        with pytest.raises(AppendFailed, match="could not be written"):
            await journal.append([(put(SEATS, 1, 1, "c1"),)])
        assert journal.position == 1
        await journal.recover()
        assert journal.position == 2
        with pytest.raises((DuplicateCommand, VersionConflict)):
            await journal.append([(put(SEATS, 2, 1, "c1"),)])
        await journal.append([(put(SEATS, 2, 1, "c2"),)])
        assert len(await everything(journal)) == 3


def lose_answers(relay: Relay) -> None:
    def watch(way: Way, data: bytes) -> bool:
        if way == "from":
            relay.watch = lambda way, data: True
            relay.cut()
        return way == "to"

    relay.watch = watch


@pytest.mark.parametrize("count", range(16))
async def test_a_connection_lost_again_at_any_moment_of_a_recovery(schema: str, count: int) -> None:
    """Also when the seat has been taken again, and only the answer is lost: nobody is taken for his own successor."""
    async with a_relay() as relay, opened(relay.url(schema)) as journal:
        await journal.append([(put(SEATS, 0),)])
        relay.cut()
        with pytest.raises(AppendFailed):
            await journal.append([(put(SEATS, 1),)])
        relay.cut_at(count)
        with suppress(JournalUnusable):
            await journal.recover()
        relay.watch = lambda way, data: True
        await journal.recover()
        await journal.append([(put(SEATS, 1),)])
        assert len(await everything(journal)) == 2


@pytest.mark.parametrize("gone", [True, False])
async def test_a_group_that_is_still_on_its_way_arrives_before_the_journal_is_usable_or_never(
    schema: str, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    """The connection is lost while the server still waits to write the group, and the server has not noticed."""
    monkeypatch.setattr(postgres_schema, "PATIENCE", 0.2)
    if not gone:
        monkeypatch.setattr(postgres, "END", "select 1 where $1::int is null and $2::timestamptz is null")
    async with a_relay() as relay, opened(relay.url(schema)) as journal:
        await journal.append([(put(SEATS, 0),)])
        async with link_to(schema) as other:
            await other.script("begin; select from journal for update")
            late = asyncio.create_task(journal.append([(put(SEATS, 1, 1, "late"),)]))
            await waits(schema, late)
            relay.cut()
            with pytest.raises(AppendFailed):
                await late
            if gone:  # the session that was ended has taken its group with it
                await journal.recover()
            else:
                with pytest.raises(JournalUnusable):
                    await journal.recover()
            await other.script("commit")
        while True:
            with suppress(JournalUnusable):
                await journal.recover()
                break
        there = await journal.find(SEATS, "late")
        assert (there, journal.position) == ((None, 1) if gone else (2, 2))
        await journal.append([(put(SEATS, journal.position),)])
        assert len(await everything(journal)) == journal.position


async def test_a_connection_that_is_ended_by_the_server(journal: PostgresJournal) -> None:
    await journal.append([(put(SEATS, 0, 3),)])
    for n in range(3, 6):
        await terminate(journal)
        assert len(await journal.read(SEATS)) == n  # reading connects again by itself
        with pytest.raises(AppendFailed):
            await journal.append([(put(SEATS, n),)])
        await journal.recover()
        await journal.append([(put(SEATS, n),)])
        assert len(await everything(journal)) == n + 1


@pytest.mark.parametrize("what", ["read", "read_all", "heads", "find", "unfinished", "sleeping"])
async def test_a_read_connects_again_once(schema: str, what: str) -> None:
    async with a_relay() as relay, opened(relay.url(schema)) as journal:
        await journal.append([(put(SEATS, 0, 1, "c1", mark=True),)])
        reads: dict[str, Callable[[], Awaitable[object]]] = {
            "read": lambda: journal.read(SEATS),
            "read_all": journal.read_all,
            "heads": lambda: journal.heads([SEATS]),
            "find": lambda: journal.find(SEATS, "c1"),
            "unfinished": journal.unfinished,
            "sleeping": journal.sleeping,
        }
        found = await reads[what]()
        relay.cut()
        assert await reads[what]() == found
        lose_answers(relay)
        assert await reads[what]() == found
        relay.closed = True
        relay.cut()
        for _ in range(2):
            with pytest.raises(JournalUnusable) as caught:
                await reads[what]()
            assert "damaged" not in str(caught.value)
        relay.closed = False
        assert await reads[what]() == found
        await journal.recover()


async def test_a_server_that_is_down_for_a_while(schema: str) -> None:
    async with a_relay() as relay, opened(relay.url(schema)) as journal:
        await journal.append([(put(SEATS, 0),)])
        relay.closed = True
        relay.cut()
        with pytest.raises(AppendFailed):
            await journal.append([(put(SEATS, 1),)])
        for _ in range(3):
            with pytest.raises(JournalUnusable):
                await journal.recover()
            with pytest.raises(AppendFailed):
                await journal.append([(put(SEATS, 1),)])
        relay.closed = False
        await journal.recover()
        await journal.append([(put(SEATS, 1),)])
        assert len(await everything(journal)) == 2


async def test_a_server_that_hangs_is_given_up(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_relay() as relay, opened(relay.url(schema)) as journal:
        await journal.append([(put(SEATS, 0),)])
        await journal.read(SEATS)
        monkeypatch.setattr(client, "ANSWER_TIMEOUT", 0.1)
        relay.watch = lambda way, data: False
        with pytest.raises(AppendFailed):
            await journal.append([(put(SEATS, 1),)])
        with pytest.raises(JournalUnusable, match="can't be read"):
            await journal.read(SEATS)
        monkeypatch.undo()
        relay.watch = lambda way, data: True
        await journal.recover()
        await journal.append([(put(SEATS, 1),)])
        assert len(await everything(journal)) == 2


# -- cancelled ----------------------------------------------------------------------------------------------------

STEPS: dict[str, Callable[[PostgresJournal], Awaitable[object]]] = {
    "append": lambda journal: journal.append([(put(SEATS, 2, 300, "c1"),), (put(ROOMS, 0, 2),)]),
    "read_all": lambda journal: journal.read_all(),
    "heads": lambda journal: journal.heads([SEATS, ROOMS]),
    "recover": lambda journal: journal.recover(),
    "recover after a cut": lambda journal: cut_and_recover(journal),
    "close and open": lambda journal: close_and_open(journal),
}


async def cut_and_recover(journal: PostgresJournal) -> None:
    writer_of(journal)._connection.terminate()  # pyright: ignore[reportPrivateUsage]
    await journal.recover()


async def close_and_open(journal: PostgresJournal) -> None:
    await journal.close()
    await journal.open()


@pytest.mark.parametrize("count", range(0, 24, 2))
@pytest.mark.parametrize("step", STEPS)
async def test_cancelled_at_any_moment_it_is_usable(schema: str, step: str, count: int) -> None:
    async with a_relay() as relay, opened(relay.url(schema)) as journal:
        await journal.append([(put(SEATS, 0, 2),)])
        await journal.read_all()
        task = asyncio.ensure_future(STEPS[step](journal))
        left = count

        def watch(way: Way, data: bytes) -> bool:
            nonlocal left
            left -= 1
            if left < 0:
                task.cancel()
            return True

        relay.watch = watch
        await asyncio.wait([task])
        relay.watch = lambda way, data: True
        if step == "close and open" and task.cancelled():
            await journal.close()
            await journal.open()
        elif step == "recover after a cut":
            await journal.recover()
        records = await everything(journal)
        assert len(records) in (2, 304)
        heads = await journal.heads([SEATS, ROOMS])
        await journal.append([(put(stream, heads.get(stream, 0), 1, "next"),) for stream in (SEATS, ROOMS)])
        assert len(await everything(journal)) == len(records) + 2


# -- any text, any size -------------------------------------------------------------------------------------------

awkward = st.text(st.sampled_from("\\\0x0é'\"%K \u0301"), max_size=8) | st.text(
    st.characters(codec="utf-8"), max_size=12
)


@given(pairs=st.lists(st.tuples(awkward, awkward), unique_by=lambda pair: pair[0], min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_commands_and_types_may_be_any_text(journal: PostgresJournal, pairs: list[tuple[str, str]]) -> None:
    stream = ("Flight", f"{journal.position}")  # one of its own for each example
    for n, (command, name) in enumerate(pairs):
        await journal.append([(Append(stream, n, [NewEvent(name, b'"x"', b"{}")], NOON, command),)])
    assert [(r.command, r.type) for r in await journal.read(stream)] == pairs
    for n, (command, _) in enumerate(pairs, 1):
        assert await journal.find(stream, command) == n
        with pytest.raises(DuplicateCommand):
            await journal.append([(put(stream, len(pairs), 1, command),)])


async def test_long_names_that_cant_be_compressed(journal: PostgresJournal) -> None:
    long = "".join(chr(33 + (n * n * 7919 + n * 104729) % 60_000 % 20_000) for n in range(2_047))
    stream = (long[:255], long)
    await journal.append([(put(stream, 0, 1, long),)])
    await journal.append([(put(stream, 1, 1, long + "x"),)])
    assert await journal.find(stream, long) == 1
    assert await journal.find(stream, long + "x") == 2
    assert await journal.heads([stream, (stream[0], stream[1] + "x")]) == {stream: 2}
    with pytest.raises(DuplicateCommand):
        await journal.append([(put(stream, 2, 1, long),)])


async def test_ten_thousand_events_in_one_append(journal: PostgresJournal) -> None:
    await journal.append([(put(SEATS, 0, 10_000, "c1"),)])
    await journal.append([(put(SEATS, 10_000, 10_000, "c2"), put(ROOMS, 0, 10_000))])
    assert len(await everything(journal)) == 30_000


async def test_a_group_of_more_than_one_statement_can_carry(journal: PostgresJournal) -> None:
    payload = b'"' + b"x" * 1_000_000 + b'"'
    new = [NewEvent("Large", payload, b"{}") for _ in range(70)]
    await journal.append([(put(ROOMS, 0), put(SEATS, 0, new, "c1"), put(("Cab", "Rome"), 0))])
    assert where(await journal.read(SEATS, 68)) == [(SEATS, 69), (SEATS, 70)]
    assert await journal.find(SEATS, "c1") == 1
    with pytest.raises(DuplicateCommand):
        await journal.append([(put(SEATS, 70, new, "c1"),)])
    await journal.append([(put(("Cab", "Rome"), 1),)])
    assert journal.position == 73


async def test_a_large_group_that_is_refused_late_leaves_nothing(
    journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await journal.append([(put(SEATS, 0, 1, "c1"),)])
    monkeypatch.setattr(postgres_group, "CHUNK_BYTES", 100)
    with pytest.raises(DuplicateCommand):
        await journal.append([(put(ROOMS, 0, 100, "c2", mark=True), put(SEATS, 1, 1, "c1"))])
    assert where(await everything(journal)) == [(SEATS, 1)]
    assert await journal.heads([ROOMS]) == {}
    await journal.append([(put(ROOMS, 0, 100, "c2"), put(SEATS, 1, 1, "c2"))])
    assert len(await everything(journal)) == 102


async def test_no_error_shows_what_is_in_a_row(schema: str, journal: PostgresJournal) -> None:
    await run("alter table events add check (data not like '%s3cret%')", schema=schema)
    with pytest.raises(AppendFailed, match="violates check constraint") as caught:
        await journal.append([(put(SEATS, 0, [NewEvent("A", b'"s3cret"', b"{}")]),)])
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_the_servers_own_limits_are_not_ours(schema: str) -> None:
    limits = "statement_timeout=1234&lock_timeout=1234&default_transaction_isolation=serializable"
    async with opened(f"{url_of(schema)}&{limits}") as journal:
        for name, value in (
            ("statement_timeout", "0"),
            ("lock_timeout", "0"),
            ("transaction_isolation", "read committed"),
        ):
            assert await writer_of(journal).fetch("select current_setting($1)", name) == [(value,)]
        await journal.append([(put(SEATS, 0),)])


async def test_what_the_server_refuses_leaves_the_journal_usable(journal: PostgresJournal) -> None:
    """A NUL is not JSON; no codec lets it through, and neither does the journal but for who says that it is sound."""
    append = put(SEATS, 0, [NewEvent("A", b"\0", b"{}")])
    append.sound = True
    with pytest.raises(AppendFailed, match="invalid byte sequence"):
        await journal.append([(append,)])
    await journal.append([(put(SEATS, 0),)])
    await journal.recover()
    assert len(await everything(journal)) == 1


# -- damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "update events set data = '{\"n\":9}' where position = 2",
        "update events set meta = '{}' where position = 2",
        "update events set type = 'SeatReleased' where position = 2",
        "update events set time = time + 1 where position = 2",
        "update events set command = 'other' where position = 2",
        "update events set command = null where position = 1",
        "update events set crc = crc + 1 where position = 2",
        "update streams set key = 'LH442' where key = 'LH441'",
        "update streams set category = 'Train' where category = 'Flight'",
        "update events set stream = 2, version = 2 where position = 2",
        "delete from streams where key = 'LH441'",
        "delete from events where position = 2",
        "update events set position = 99 where position = 2",
        "update events set version = 99 where position = 2",
        "drop table events cascade",
    ],
)
async def test_damage_is_found_and_not_read(schema: str, journal: PostgresJournal, change: str) -> None:
    await journal.append([(put(SEATS, 0, 3, "c1"),)])
    await journal.append([(put(ROOMS, 0, 1, "c2"),)])
    await run(change, schema=schema)
    with pytest.raises(JournalDamaged, match=r"is damaged: .*restore it from a backup") as caught:
        await journal.read_all(limit=10)
    assert schema in str(caught.value)


async def test_two_events_that_have_changed_places_are_found(schema: str, journal: PostgresJournal) -> None:
    await journal.append([(put(SEATS, 0, [NewEvent("A", b"1", b"{}"), NewEvent("A", b"2", b"{}")]),)])
    await run("update events set position = -position", schema=schema)
    await run("update events set position = 3 + position", schema=schema)
    with pytest.raises(JournalDamaged, match="checksum differs"):
        await journal.read_all()
    with pytest.raises(JournalDamaged, match="checksum differs"):
        await journal.read(SEATS)


async def test_a_gap_is_found_by_who_reads_one_stream_or_a_page(schema: str, journal: PostgresJournal) -> None:
    await journal.append([(put(SEATS, 0, 4),)])
    await run("delete from events where position = 2", schema=schema)
    with pytest.raises(JournalDamaged, match="in stream Flight/LH441 the event with version 2 is missing"):
        await journal.read(SEATS)
    with pytest.raises(JournalDamaged, match="in the journal the event with position 2 is missing"):
        await journal.read_all(limit=2)
    assert [record.version for record in await journal.read(SEATS, 2)] == [3, 4]


async def test_what_is_missing_at_the_end_is_missed(schema: str, journal: PostgresJournal) -> None:
    await journal.append([(put(SEATS, 0, 3),)])
    await run("delete from events where position = 3", schema=schema)
    with pytest.raises(JournalDamaged, match="the event with position 3 is missing"):
        await journal.read_all()
    with pytest.raises(JournalDamaged, match="ends at position 2, but was written up to position 3"):
        await journal.recover()
