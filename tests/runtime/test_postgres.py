"""P1 to P3, P5, P8, P10, P14 on PostgreSQL: what holds on one machine holds where the journal is a server's."""

import asyncio
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest

from actors import OutcomeUnknown, Refused, RuntimeClosed
from persistence import AppendFailed, JournalTaken, Record
from persistence.postgres import PostgresJournal
from runtime import Chaos, Runtime
from tests import reading
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
from tests.runtime.tools import check_books, check_once, comes, node_of

pytestmark = needs_server


async def everything(schema: str) -> list[Record]:
    return await reading.everything(PostgresJournal(url_of(schema), watching=True))


async def terminate(schema: str) -> None:
    """End every session that works in this schema, as an administrator or a restart of the server would."""
    await run("select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1", schema)


def named(schema: str) -> str:
    """Return the URL of a journal whose sessions bear the schema's name, so that they can be ended."""
    return f"{url_of(schema)}&application_name={schema}"


async def book(runtime: Runtime, key: str, rooms: list[str]) -> bool:
    """Book until the outcome is known, each time under the same id; return whether it is booked."""
    while True:
        try:
            await runtime.ask(Trip.at(key), BookTrip(rooms), id=key)
            return True
        except Refused:
            return False
        except OutcomeUnknown:
            continue


async def finish(runtime: Runtime) -> None:
    """Let what was found unfinished come to its end."""
    while found := await runtime.unfinished():
        await asyncio.gather(*(runtime.result(saga) for saga in found), return_exceptions=True)


# -- a calm server ------------------------------------------------------------------------------------------------


async def test_a_trip_alone_costs_one_group(schema: str) -> None:
    async with Runtime(url_of(schema), ALL) as runtime:
        for number in range(3):
            await runtime.ask(Trip.at(f"t{number}"), BookTrip(["flight", "hotel", "cab"]))
            assert runtime.groups == number + 1
        with pytest.raises(Refused):
            await runtime.ask(Trip.at("f"), BookTrip(["flight", "full"]))
        await runtime.transact((Account.at("a"), Withdraw(10)), (Account.at("b"), Deposit(10)))
        assert runtime.groups == 5
        records = [record async for record in runtime.history(Room.at("flight"))]
        assert len(records) == 5
    check_once(await everything(schema))


async def test_kills_with_a_read_model(schema: str) -> None:
    chaos = Chaos(seed=5, kill=0.2)
    async with Runtime(url_of(schema), ALL, chaos=chaos) as runtime:
        asked = [
            runtime.ask(Trip.at(f"t{n}"), BookTrip([["flight", "hotel"], ["flight", "full"]][n % 2])) for n in range(60)
        ]
        ends = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(end, Refused) for end in ends] == [n % 2 == 1 for n in range(60)]
        assert chaos.kills > 20
        assert await runtime.ask(Room.at("flight"), Look()) == 30
        lines = await runtime.ask(Board.at(), Lines(), consistent=True)
        assert sum(line.startswith("TripBooked") for _, line in lines) == 30
        assert len({position for position, _ in lines}) == len(lines) == 30 + 90 + 30
    check_books(await everything(schema))


async def test_a_command_takes_effect_once_across_restarts(schema: str) -> None:
    for _ in range(3):
        async with Runtime(url_of(schema), ALL) as runtime:
            assert [(await runtime.ask(Room.at("r\0\\"), Hold(f"t{n}"), id=f"\0id {n}")).number for n in (1, 2)] == [
                1,
                2,
            ]
    assert len(await everything(schema)) == 2


async def test_sagas_go_on_after_a_restart(schema: str) -> None:
    """Their process is gone at any moment: its connections end, and nothing of it is closed in good order."""
    for seed in range(6):
        random = Random(seed)
        async with Runtime(named(schema), ALL) as runtime:
            asked: list[asyncio.Task[Any]] = []
            for n in range(12):
                room = "full" if n % 4 == 0 else f"{n}"
                asked.append(asyncio.create_task(runtime.ask(Trip.at(f"{seed}-{n}"), BookTrip(["flight", room]))))
                tour = TakeTour(["hotel", room], f"{seed} {n}", nap=0.001)
                asked.append(asyncio.create_task(runtime.ask(Tour.at(f"{seed}-{n}"), tour)))
            for _ in range(random.randrange(60)):
                await asyncio.sleep(0)
            node_of(runtime).writer.end(AppendFailed("gone"))
            await asyncio.gather(*asked, return_exceptions=True)
        async with Runtime(url_of(schema), ALL) as runtime:
            await finish(runtime)
        check_books(await everything(schema))


# -- read models --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [True, False])
async def test_read_models_are_built_anew_or_kept_where_the_url_says(schema: str, tmp_path: Path, kept: bool) -> None:
    url = f"{url_of(schema)}&views={tmp_path}" if kept else url_of(schema)
    for number in range(1, 4):
        async with Runtime(url, ALL) as runtime:
            await runtime.ask(Room.at("r"), Hold(f"t{number}"))
            lines = await runtime.ask(Board.at(), Lines(), consistent=True)
            assert lines == [(n, f"WasHeld t{n}") for n in range(1, number + 1)]
    assert [name.rpartition(".")[2].partition("-")[0] for name in os.listdir(tmp_path)] == ["Board"] * kept


# -- a server that loses us ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
async def test_connections_end_at_random_under_load(schema: str, seed: int) -> None:
    random = Random(seed)
    keys = [f"t{n}" for n in range(240)]
    rooms = {key: ["flight", f"hotel {n % 5}", "full" if n % 7 == 0 else "cab"] for n, key in enumerate(keys)}
    ends: dict[str, bool] = {}
    async with Runtime(named(schema), ALL) as runtime:
        waiting = iter(keys)

        async def client() -> None:
            for key in waiting:
                ends[key] = await book(runtime, key, rooms[key])

        clients = [asyncio.create_task(client()) for _ in range(12)]
        while len(ends) < len(keys):
            await terminate(schema)
            # Nobody is cut off for ever: something must get through each time.
            enough = min(len(ends) + random.randrange(1, 40), len(keys))
            await comes(lambda: len(ends) >= enough)  # noqa: B023 (awaited here)
        await asyncio.gather(*clients)
        await finish(runtime)
    records = await everything(schema)
    check_books(records)
    assert ends == {key: "full" not in rooms[key] for key in keys}
    completed = {record.stream[1] for record in records if record.type == "saga.completed"}
    assert completed == {key for key, booked in ends.items() if booked}


async def test_answers_that_are_lost_are_asked_for_again(schema: str) -> None:
    """The group is written, and the connection ends before the server has said so: unknown, and once in effect."""
    async with a_relay() as relay, Runtime(relay.url(schema), [Room]) as runtime:
        for n in range(5):
            await runtime.ask(Room.at("r"), Hold(f"calm {n}"))  # by then it has recovered, and nothing else is said
            relay.cut_at(1)  # passes on what is asked, and cuts at the answer
            with pytest.raises(OutcomeUnknown):
                await runtime.ask(Room.at("r"), Hold(f"t{n}"), id=f"id {n}")
            assert (await runtime.ask(Room.at("r"), Hold(f"t{n}"), id=f"id {n}")).number == 2 * n + 2
        assert (await runtime.state_of(Room.at("r"))).count == 10
    check_once(await everything(schema))


async def test_a_server_that_is_down_for_a_while_stops_nobody_for_good(schema: str) -> None:
    async with a_relay() as relay, Runtime(relay.url(schema), ALL) as runtime:
        assert await book(runtime, "before", ["a", "b"])
        relay.closed = True
        relay.cut()
        with pytest.raises(OutcomeUnknown):
            await runtime.ask(Room.at("a"), Hold("during"))
        relay.closed = False
        assert await book(runtime, "during", ["a", "b"])
        assert await book(runtime, "after", ["a", "full"]) is False
    check_books(await everything(schema))


# -- another one takes over ---------------------------------------------------------------------------------------


async def test_one_that_was_replaced_says_that_the_outcome_is_unknown_and_writes_nothing(
    schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Runtime(named(schema), ALL) as zombie:
        await zombie.ask(Room.at("r"), Hold("t1"))
        await terminate(schema)
        async with Runtime(url_of(schema), ALL) as runtime:
            await runtime.ask(Room.at("r"), Hold("t2"))
            watching = asyncio.create_task(zombie.replaced())
            with pytest.raises(OutcomeUnknown):
                await zombie.ask(Room.at("r"), Hold("t3"))
            assert isinstance(await watching, JournalTaken)
            assert await zombie.replaced() is watching.result()
            for late in (
                lambda: zombie.ask(Room.at("r"), Hold("t3")),
                lambda: zombie.ask(Room.at("r"), Look()),  # what it remembers may be wrong
                lambda: zombie.ask(Trip.at("t"), BookTrip(["r"])),
                lambda: zombie.tell(Room.at("r"), Hold("t3")),
            ):
                with pytest.raises(RuntimeClosed, match="taken over by process") as caught:
                    await late()
                assert caught.value.__cause__ is watching.result()
            assert (await runtime.ask(Room.at("r"), Hold("t4"))).number == 3
    assert "the journal belongs to another process, this one is out" in caplog.text
    assert [record.type for record in await everything(schema)] == ["WasHeld"] * 3


async def test_one_that_is_left_while_it_finds_out_that_it_was_replaced(schema: str) -> None:
    """Nobody waits to be told any more."""
    async with Runtime(named(schema), ALL) as zombie:
        await zombie.ask(Room.at("r"), Hold("t1"))
        await terminate(schema)
        async with Runtime(url_of(schema), ALL) as runtime:
            await runtime.ask(Room.at("r"), Hold("t2"))
            with pytest.raises(OutcomeUnknown):
                await zombie.ask(Room.at("r"), Hold("t3"))
            inside = node_of(zombie)
            inside.trouble.taken.cancel()
            async with asyncio.timeout(60):
                while not inside.writer.ended:  # noqa: ASYNC110 (nobody tells)
                    await asyncio.sleep(0.001)
