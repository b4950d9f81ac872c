"""Several runtimes on one PostgreSQL journal, as its owners: each runs its own actors, all see all that happened."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from actors import Backoff, Elsewhere, OutcomeUnknown, ReadModelBehind, Refused, RestartPolicy
from persistence import AppendFailed, JournalUnusable, postgres_schema
from persistence.postgres import PostgresJournal
from runtime import ManualClock, Runtime, follower
from tests.postgres import needs_server, run, url_of
from tests.relay import a_relay
from tests.runtime.cast import (
    ALL,
    Account,
    Board,
    BookTrip,
    Deposit,
    Hold,
    Lines,
    Look,
    Room,
    TakeTour,
    Tour,
    Trip,
    Withdraw,
)
from tests.runtime.test_postgres import everything, finish
from tests.runtime.tools import check_books, check_once, content, node_of

pytestmark = needs_server


def url(schema: str, owner: str) -> str:
    return f"{url_of(schema)}&owner={owner}&application_name={schema}"


def two(schema: str) -> tuple[Runtime, Runtime]:
    return Runtime(url(schema, "ana"), ALL), Runtime(url(schema, "bob"), ALL)


async def terminate(schema: str) -> None:
    await run("select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1", schema)


async def becomes(happened: Callable[[], Awaitable[object]]) -> None:
    """Wait until something is so, that only time brings."""
    async with asyncio.timeout(60):
        while not await happened():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.001)


async def left_behind(schema: str, owner: str, nap: float) -> None:
    """Begin five tours as an owner whose process dies in the middle of them: for it, no time passes."""
    async with Runtime(url(schema, owner), ALL, clock=ManualClock(round(time.time() * 1e6))) as runtime:
        for n in range(5):
            await runtime.tell(Tour.at(f"{n}"), TakeTour([f"x{n}", "y"], "payer", nap=nap))

        async def begun() -> bool:
            return len(await runtime.unfinished()) == 5

        await becomes(begun)
        node_of(runtime).writer.end(AppendFailed("gone"))


# -- each its own -------------------------------------------------------------------------------------------------


async def test_an_actor_that_lives_elsewhere_says_where(schema: str) -> None:
    ana, bob = two(schema)
    async with ana, bob:
        await ana.ask(Room.at("r"), Hold("t1"))
        await ana.ask(Trip.at("t"), BookTrip(["x", "y"]))
        calm = asyncio.create_task(bob.ask(Room.at("own"), Hold("t2")))
        asked: list[Any] = [
            bob.ask(Room.at("r"), Hold("t3")),
            bob.ask(Room.at("r"), Look()),
            bob.ask(Trip.at("t"), BookTrip(["x", "y"])),
            bob.result(Trip.at("t")),
            bob.transact((Account.at("b"), Withdraw(1)), (Room.at("r"), Hold("t4"))),
        ]
        for end in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(end, Elsewhere)
            assert "lives where the journal's owner 'ana' is; ask it there" in str(end)
        assert (await calm).number == 1  # nobody else has noticed
        assert bob.groups == 1
        assert bob.parked() == {}
        await bob.tell(Room.at("r"), Hold("t5"))

        async def lost() -> bool:
            return "Elsewhere" in "".join(dead.error for dead in bob.dead_letters())

        await becomes(lost)
        # Looking is for all.
        assert (await bob.state_of(Room.at("r"))).held == ("t1",)
        assert len([entry async for entry in bob.history(Room.at("r"))]) == 1
        for number in range(2, 12):
            assert (await ana.ask(Room.at("r"), Hold(f"t{number}"))).number == number
            # It has come, whether the news of it have or not.
            assert (await bob.state_of(Room.at("r"), position=ana.position)).count == number


async def test_of_two_who_begin_an_actor_at_once_one_has_it(schema: str) -> None:
    """The other one's outcome is unknown at first; asked again, it is told."""
    ana, bob = two(schema)
    async with ana, bob:
        for n in range(4):
            room = Room.at(f"r{n}")
            asked = [runtime.ask(room, Hold(f"t{n}"), id=f"{n} {name}") for runtime, name in ((ana, "a"), (bob, "b"))]
            ends = await asyncio.gather(*asked, return_exceptions=True)
            assert sum(not isinstance(end, Exception) for end in ends) == 1
            loser = bob if isinstance(ends[1], Exception) else ana
            with pytest.raises(Elsewhere):
                await loser.ask(room, Hold(f"t{n}"), id="again")
        assert (await ana.ask(Room.at("a's"), Hold("t"))).number == (await bob.ask(Room.at("b's"), Hold("t"))).number
    check_once(await everything(schema))


async def test_each_wakes_its_own_sagas_only(schema: str) -> None:
    await left_behind(schema, "ana", 60)
    async with Runtime(url(schema, "bob"), ALL) as bob:
        assert await bob.unfinished() == []
        await bob.ask(Trip.at("bob's"), BookTrip(["b1", "b2"]))
    async with Runtime(url(schema, "ana"), ALL) as ana:
        assert len(await ana.unfinished()) == 5


async def test_what_one_has_left_goes_on_with_another(schema: str) -> None:
    await left_behind(schema, "ana", 0.01)
    journal = PostgresJournal(url(schema, "bob"))
    await journal.open()
    assert await journal.take_streams("ana") > 5
    await journal.close()
    async with Runtime(url(schema, "bob"), ALL) as bob:
        await finish(bob)
        assert await bob.ask(Room.at("y"), Look()) == 5
    check_books(await everything(schema))


async def test_one_whose_streams_were_taken_is_out(schema: str) -> None:
    async with Runtime(url(schema, "ana"), ALL) as ana:
        await ana.ask(Room.at("r"), Hold("t1"))
        async with Runtime(url(schema, "bob"), ALL) as bob:
            await bob.ask(Room.at("own"), Hold("t2"))
            with pytest.raises(Elsewhere):
                await bob.ask(Room.at("r"), Hold("t3"))
            await run(
                """select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objsubid = 1
                and classid = (select oid from pg_namespace where nspname = $1) and objid =
                (select number from owners where name = 'ana')""",
                schema,
                schema=schema,
            )
            journal: Any = node_of(bob).journal
            await journal.take_streams("ana")
            assert (await bob.ask(Room.at("r"), Hold("t3"))).number == 2
            with pytest.raises(OutcomeUnknown):
                await ana.ask(Room.at("r"), Hold("t4"))
            assert "the owner 'bob'" in str(await ana.replaced())
            assert (await bob.ask(Room.at("r"), Hold("t5"))).number == 3
    assert [content(record)["trip"] for record in await everything(schema)] == ["t1", "t2", "t3", "t5"]


# -- all see all --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["", "&notify=off"])
async def test_each_read_model_is_the_fold_of_what_all_have_written(schema: str, option: str) -> None:
    names = ("ana", "bob", "eve")
    runtimes = [Runtime(url(schema, name) + option, ALL) for name in names]
    async with runtimes[0], runtimes[1], runtimes[2]:

        async def book(runtime: Runtime, name: str) -> None:
            async def one(n: int) -> None:
                rooms = [f"{name} flight", f"{name} {n % 3}", f"full {name}" if n % 4 == 0 else f"{name} cab"]
                try:
                    await runtime.ask(Trip.at(f"{name}-{n}"), BookTrip(rooms))
                except Refused:
                    assert n % 4 == 0
                lines = await runtime.ask(Board.at(), Lines(), consistent=True)
                assert any(line == f"TripBooked {name}-{n}" for _, line in lines) == (n % 4 != 0)

            for begin in range(0, 24, 6):
                await asyncio.gather(*(one(n) for n in range(begin, begin + 6)))

        await asyncio.gather(*(book(runtime, name) for runtime, name in zip(runtimes, names, strict=True)))
        boards = [await runtime.ask(Board.at(), Lines(), consistent=True) for runtime in runtimes]
    records = await everything(schema)
    check_books(records)
    follows = ("TripBooked", "WasHeld", "WasReleased")
    rows = [
        (record.position, f"{record.type} {content(record)['trip']}") for record in records if record.type in follows
    ]
    assert boards == [rows] * 3


async def test_what_another_one_writes_is_seen_though_nobody_asks(schema: str) -> None:
    """By one who writes nothing himself, and is only told."""
    ana, bob = two(schema)
    async with ana, bob:
        for n in range(1, 6):
            await ana.ask(Room.at("r"), Hold(f"t{n}"))

            async def seen(n: int = n) -> bool:
                return len(await bob.ask(Board.at(), Lines())) == n

            await becomes(seen)
            assert bob.position == n


async def test_read_models_of_several_owners_share_a_folder(schema: str, tmp_path: Any) -> None:
    for n in range(2):
        ana, bob = (Runtime(f"{url(schema, name)}&views={tmp_path}", ALL) for name in ("ana", "main"))
        async with ana, bob:
            await asyncio.gather(ana.ask(Room.at("a"), Hold(f"a{n}")), bob.ask(Room.at("b"), Hold(f"b{n}")))
            boards = [await runtime.ask(Board.at(), Lines(), consistent=True) for runtime in (ana, bob)]
            assert boards[0] == boards[1]
            assert len(boards[0]) == 2 * n + 2
    assert len({path.name.rpartition(".")[0] for path in tmp_path.iterdir() if ".Board-" in path.name}) == 2


# -- a journal that can't be read ---------------------------------------------------------------------------------


async def test_while_the_server_is_down_nobody_is_parked(
    schema: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage is no actor's fault: these rooms may not crash once."""
    soon = RestartPolicy(restarts=0, backoff=Backoff(cap=timedelta(milliseconds=100)))
    monkeypatch.setattr(Room, "restart", soon)
    async with a_relay() as relay, Runtime(f"{relay.url(schema)}&owner=ana", ALL) as ana:
        await ana.ask(Room.at("r0"), Hold("before"))
        relay.closed = True
        relay.cut()
        with pytest.raises(OutcomeUnknown):
            await ana.ask(Room.at("r0"), Hold("t0"), id="0")
        asked = [asyncio.create_task(ana.ask(Room.at(f"r{n}"), Hold(f"t{n}"), id=f"{n}")) for n in range(5)]
        with pytest.raises(ReadModelBehind, match="how far the journal is can't be known now"):
            await ana.ask(Board.at(), Lines(), consistent=True)

        async def told() -> bool:
            return caplog.text.count("actor crashed") == 5

        await becomes(told)
        relay.closed = False
        for end in await asyncio.gather(*asked):
            assert end.number in (1, 2)
        assert ana.parked() == {}
        assert len(await ana.ask(Board.at(), Lines(), consistent=True)) == 6
    check_once(await everything(schema))


async def test_a_read_model_reads_on_when_it_can(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage is not its fault either: this one may not fail once."""
    monkeypatch.setattr(follower, "AGAIN", 0.001)
    ana, bob = two(schema)
    async with ana, bob:
        journal: Any = node_of(bob).journal
        read_all, failures = journal.read_all, 0

        async def failing(*asked: Any) -> Any:
            nonlocal failures
            failures += 1
            if failures < 4:
                raise JournalUnusable("the server is down")
            return await read_all(*asked)

        monkeypatch.setattr(journal, "read_all", failing)
        await ana.ask(Room.at("r"), Hold("t1"))
        assert await bob.ask(Board.at(), Lines(), consistent=True) == [(1, "WasHeld t1")]
        assert failures >= 4


async def test_a_cut_of_one_owners_connections_is_not_the_others(schema: str) -> None:
    async with a_relay() as relay:
        ana = Runtime(f"{relay.url(schema)}&owner=ana", ALL)
        bob = Runtime(url(schema, "bob"), ALL)
        async with ana, bob:
            for n in range(15):
                relay.cut_at(n)
                mine = asyncio.create_task(until_known(ana, Room.at("a"), f"a{n}"))
                assert (await bob.ask(Room.at("b"), Hold(f"b{n}"))).number == n + 1
                await mine
            relay.watch = lambda way, data: True
            boards = [await runtime.ask(Board.at(), Lines(), consistent=True) for runtime in (bob, ana)]
            assert boards[0] == boards[1]
            assert sorted(line for _, line in boards[0]) == sorted(
                f"WasHeld {name}{n}" for name in "ab" for n in range(15)
            )
    check_once(await everything(schema))


async def until_known(runtime: Runtime, room: Any, trip: str) -> None:
    while True:
        try:
            await runtime.ask(room, Hold(trip), id=trip)
        except OutcomeUnknown:
            continue
        return


async def test_the_seat_of_one_who_is_alive_is_not_taken(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_schema, "PATIENCE", 0.05)
    ana, bob = two(schema)
    async with ana, bob:
        journal: Any = node_of(bob).journal
        with pytest.raises(Exception, match="as its owner 'ana'"):
            await journal.take_streams("ana")
        await asyncio.gather(ana.ask(Account.at("a"), Deposit(1)), bob.ask(Account.at("b"), Deposit(1)))
