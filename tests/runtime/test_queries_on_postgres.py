"""Where several processes share a journal, a service is asked where it lives, and a read model watched anywhere."""

import pytest

from actors import Elsewhere
from runtime import Runtime
from tests.postgres import needs_server, url_of
from tests.runtime.asking import ASKED, Add, Sum, Tally, Total, Totals
from tests.runtime.cast import Hold, Room
from tests.runtime.test_views_on_postgres import Log, Seen
from tests.runtime.tools import node_of
from tests.runtime.watchers import watching

pytestmark = needs_server


def owner(schema: str, name: str, actors: list[type], views: str | None = None) -> Runtime:
    return Runtime(f"{url_of(schema)}&owner={name}", actors, views=views)


async def test_a_service_that_lives_elsewhere_says_where(schema: str) -> None:
    async with owner(schema, "ana", ASKED) as ana, owner(schema, "bob", ASKED) as bob:
        assert await ana.ask(Tally.at("t"), Add(1)) == 1
        assert await ana.ask(Tally.at("t"), Sum()) == 1
        with pytest.raises(Elsewhere, match="'ana'"):
            await bob.ask(Tally.at("t"), Sum())
        with pytest.raises(Elsewhere, match="'ana'"):
            await anext(bob.watch(Tally.at("t"), Sum()))
        assert await bob.ask(Tally.at("u"), Sum()) == 0
        assert await bob.ask(Totals.at(), Total("t"), consistent=True) == 1


async def test_a_read_model_is_watched_where_another_process_writes(schema: str) -> None:
    async with owner(schema, "ana", ASKED) as ana, owner(schema, "bob", ASKED) as bob:
        answers = bob.watch(Totals.at(), Total("t"), consistent=True)
        async with watching(answers) as (watcher,):
            await watcher.sees(0)
            for n in range(1, 6):
                total = await ana.ask(Tally.at("t"), Add(n))
                await watcher.sees(total)


async def test_a_read_model_is_watched_where_another_process_projects(schema: str) -> None:
    views, actors = f"{url_of(schema)}_views", [Room, Log]
    async with owner(schema, "ana", actors, views) as ana, owner(schema, "bob", actors, views) as bob:
        leading = [node_of(one).projectors["Log"].view.leading for one in (ana, bob)]
        assert sorted(leading) == [False, True]
        async with watching(bob.watch(Log.at(), Seen()), ana.watch(Log.at(), Seen("b"))) as (everything, bs):
            await everything.sees([])
            await bs.sees([])
            for trip in ("t1", "t2"):
                await ana.ask(Room.at("a"), Hold(trip))
                await bob.ask(Room.at("b"), Hold(trip))
            await everything.sees(["t1", "t1", "t2", "t2"])
            await bs.sees(["t1", "t2"])
