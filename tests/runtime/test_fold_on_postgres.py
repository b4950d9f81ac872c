"""Folds whose snapshots are on PostgreSQL: one process keeps them, all that share them answer."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest

from actors import Elsewhere, Fold, Meta, Parked, Query, RetryPolicy, State
from runtime import Runtime
from tests.postgres import a_schema, needs_server, run, url_of
from tests.runtime.cast import Hold, Room, WasHeld
from tests.runtime.tools import node_of

pytestmark = needs_server
BAD: set[str] = set()


class Trips(State):
    names: tuple[str, ...] = ()


class Named(Query["Names", list[str]]):
    pass


class Names(Fold[Trips]):
    initial = Trips()
    retry = RetryPolicy(budget=timedelta(0))

    def evolve(self, state: Trips, event: WasHeld, meta: Meta) -> Trips:
        if event.trip in BAD:
            raise ValueError(f"{event.trip} is bad")
        return Trips((*state.names, event.trip))

    def answer(self, state: Trips, query: Named) -> list[str]:
        return list(state.names)


@pytest.fixture
async def schema() -> AsyncGenerator[str]:
    BAD.clear()
    async with a_schema() as name:
        yield name
    BAD.clear()


async def named(runtime: Runtime) -> list[str]:
    return await runtime.ask(Names.at(), Named(), consistent=True)


async def test_it_goes_on_from_its_snapshot(schema: str, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'j.db'}"
    for number in range(3):
        async with Runtime(url, [Room, Names], views=url_of(schema)) as runtime:
            await runtime.ask(Room.at("r"), Hold(f"t\0{number}"))
            assert await named(runtime) == [f"t\0{n}" for n in range(number + 1)]
            if number == 1:
                await runtime.rebuild(Names.at())
                assert await named(runtime) == ["t\0" + "0", "t\0" + "1"]


async def test_what_is_set_aside_and_retried(schema: str, tmp_path: Path) -> None:
    BAD.add("b")
    url = f"sqlite:{tmp_path / 'j.db'}"
    async with Runtime(url, [Room, Names], views=url_of(schema)) as runtime:
        for trip in "abc":
            await runtime.ask(Room.at("r"), Hold(trip))
        with pytest.raises(Parked, match="b is bad"):
            await named(runtime)
        BAD.clear()
        assert await runtime.retry_parked(Names.at()) == 2
        assert await named(runtime) == ["a", "b", "c"]
    async with Runtime(url, [Room, Names], views=url_of(schema)) as runtime:
        assert await named(runtime) == ["a", "b", "c"]


async def test_one_process_keeps_it_and_all_answer(schema: str) -> None:
    ana, bob = (
        Runtime(f"{url_of(schema)}&owner={owner}", [Room, Names], views=url_of(schema)) for owner in ("ana", "bob")
    )
    async with bob:
        async with ana:
            assert [node_of(one).projectors["Names"].view.leading for one in (ana, bob)] == [False, True]
            await ana.ask(Room.at("a"), Hold("a1"))
            await bob.ask(Room.at("b"), Hold("b1"))
            for runtime in (ana, bob):
                assert await named(runtime) == ["a1", "b1"]
            with pytest.raises(Elsewhere, match="projected by another process"):
                await ana.retry_parked(Names.at())
        await bob.ask(Room.at("b"), Hold("b2"))
        assert await named(bob) == ["a1", "b1", "b2"]
    ana, bob = (
        Runtime(f"{url_of(schema)}&owner={owner}", [Room, Names], views=url_of(schema)) for owner in ("ana", "bob")
    )
    async with ana:
        async with bob:
            await bob.ask(Room.at("b"), Hold("b3"))
            assert await named(bob) == ["a1", "b1", "b2", "b3"]
        assert await named(ana) == ["a1", "b1", "b2", "b3"]


async def test_a_table_that_somebody_has_dropped_is_made_again(schema: str, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'j.db'}"
    for number in range(2):
        async with Runtime(url, [Room, Names], views=url_of(schema)) as runtime:
            await runtime.ask(Room.at("r"), Hold(f"t{number}"))
            assert await named(runtime) == [f"t{n}" for n in range(number + 1)]
        ((name,),) = await run("select nspname from pg_namespace where starts_with(nspname::text, $1)", f"{schema}_")
        await run("drop table fold", schema=name)
