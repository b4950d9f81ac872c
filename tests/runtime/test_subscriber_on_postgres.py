"""Subscribers on PostgreSQL: one of several processes is at work, another one takes over, none is left out."""

from typing import Any

import pytest

from actors import Elsewhere
from runtime import Runtime
from tests.postgres import drop_all, needs_server, run, url_of
from tests.runtime.cast import Room
from tests.runtime.subscribing import Mail, Outside, deliverer, outside, tell
from tests.runtime.test_owners import becomes

__all__ = ["outside"]

pytestmark = needs_server


def two(schema: str) -> tuple[Runtime, Runtime]:
    ana, bob = (Runtime(f"{url_of(schema)}&owner={owner}", [Room, Mail]) for owner in ("ana", "bob"))
    return ana, bob


async def all_caught_up(*runtimes: Runtime) -> None:
    for runtime in runtimes:
        await runtime.caught_up(Mail.at())


async def test_its_checkpoint_is_in_the_journals_own_database(schema: str, outside: Outside) -> None:
    for n in range(3):
        async with Runtime(url_of(schema), [Room, Mail]) as runtime:
            await tell(runtime, f"a{n}")
            await runtime.caught_up(Mail.at())
    assert outside.trips == ["a0", "a1", "a2"]
    found = await run("select nspname from pg_namespace where starts_with(nspname::text, $1)", f"{schema}_Mail_")
    assert len(found) == 1
    await drop_all(f"{schema}_")  # lost: what came behind where the journal knows it was comes again
    async with Runtime(url_of(schema), [Room, Mail]) as runtime:
        await tell(runtime, "a3")
        await runtime.caught_up(Mail.at())
    assert outside.trips == ["a0", "a1", "a2", "a0", "a1", "a2", "a3"]


async def test_one_of_several_processes_handles_what_all_write(schema: str, outside: Outside) -> None:
    outside.bad.add("b2")
    ana, bob = two(schema)
    async with ana, bob:
        await tell(ana, "a1")
        await tell(bob, "b1", "b2")
        await tell(ana, "a2")
        await all_caught_up(ana, bob)
        assert sorted(outside.trips) == ["a1", "a2", "b1"]
        leads = [deliverer(one).view.leading for one in (ana, bob)]
        assert sorted(leads) == [False, True]
        other = bob if leads[0] else ana
        assert [event.key for event in await other.parked_events(Mail.at())] == ["b"]
        with pytest.raises(Elsewhere, match="Mail is at work in another process"):
            await other.retry_parked(Mail.at())
        outside.bad.clear()
        assert await (ana if leads[0] else bob).retry_parked(Mail.at()) == 1


async def test_when_the_one_at_work_goes_another_one_goes_on(schema: str, outside: Outside) -> None:
    ana, bob = two(schema)
    async with bob:
        async with ana:
            await tell(ana, "a1")
            await all_caught_up(ana, bob)
            await tell(bob, "b1")
            await all_caught_up(ana, bob)
        await tell(bob, "b2")
        await all_caught_up(bob)
    assert outside.trips == ["a1", "b1", "b2"]
    ana, bob = two(schema)
    async with ana, bob:
        await tell(ana, "a2")
        await all_caught_up(ana, bob)
        leader, other = (ana, bob) if deliverer(ana).view.leading else (bob, ana)
        view: Any = deliverer(leader).view
        assert await run("select pg_terminate_backend($1)", view._writer.get_server_pid()) == [(True,)]
        for n in range(5):
            await tell(leader, *([f"a{n + 3}"] if leader is ana else [f"b{n + 3}"]))
            await tell(other, *([f"a{n + 3}"] if other is ana else [f"b{n + 3}"]))

        async def all_there() -> bool:
            return {f"{room}{n}" for room in "ab" for n in range(3, 8)} <= set(outside.trips)

        await becomes(all_there)
    for room in "ab":
        assert list(dict.fromkeys(outside.of(room))) == sorted(set(outside.of(room)))
