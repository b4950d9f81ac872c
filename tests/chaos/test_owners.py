"""P5, P6, P7 with several processes on one journal: one is paused while its streams move on, another is killed."""

import signal
from typing import Any

import pytest

from persistence import JournalInUse, postgres_schema
from runtime import Runtime
from tests.chaos.keeper import ALL, IN_FLIGHT, SHELVES, Keep, Shelf
from tests.chaos.keepers import ROOT, check_rows, everything, keepers
from tests.postgres import needs_server, run, url_of
from tests.runtime.tools import content, node_of

pytestmark = needs_server


def url(schema: str, owner: str) -> str:
    return f"{url_of(schema)}&owner={owner}"


async def end_sessions(schema: str, owner: str) -> None:
    """End the session of one that is paused, as the guide says: till then it is taken for alive."""
    guide = (ROOT / "docs" / "postgresql.md").read_text()
    statement = guide.partition("```sql\n")[2].partition("```")[0].rstrip().rstrip(";")
    ended = await run(statement.replace("booking-1", owner).replace("booking", schema))
    assert ended == [(True,)]


async def test_one_that_was_paused_while_its_streams_moved_on_stays_out(
    schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another owner goes on all the while, and a third one takes the streams over."""
    async with keepers([(name, url(schema, name)) for name in ("ana", "bob")]) as (ana, bob):
        await ana.goes_on(100)
        ana.process.send_signal(signal.SIGSTOP)
        await bob.goes_on(100)
        async with Runtime(url(schema, "eve"), ALL) as eve:
            journal: Any = node_of(eve).journal
            monkeypatch.setattr(postgres_schema, "PATIENCE", 0.1)
            with pytest.raises(JournalInUse, match=f"in use by process {ana.process.pid} on .*, as its owner 'ana'"):
                await journal.take_streams("ana")
            monkeypatch.setattr(postgres_schema, "PATIENCE", 30.0)
            await end_sessions(schema, "ana")
            assert await journal.take_streams("ana") == SHELVES
            before = [content(record)["thing"] for record in await everything(url_of(schema))]
            for n in range(20):
                await eve.ask(Shelf.at(f"ana {n % SHELVES}"), Keep(f"eve-{n}"))
            ana.process.send_signal(signal.SIGCONT)
            await ana.says("replaced", IN_FLIGHT)
            for n in range(20, 40):
                await eve.ask(Shelf.at(f"ana {n % SHELVES}"), Keep(f"eve-{n}"))
            await bob.goes_on(100)
            assert await bob.tell("stop") == "stopped"
            await check_rows(url_of(schema), [bob])
    things = [content(record)["thing"] for record in await everything(url_of(schema))]
    assert [thing for thing in things[len(before) :] if thing.startswith("ana")] == []
    assert [thing for thing in things if thing.startswith("eve")] == [f"eve-{n}" for n in range(40)]
    # All that it had said is there, from before.
    assert ana.kept <= set(before)


async def test_one_that_is_killed_again_and_again_leaves_the_others_alone(schema: str) -> None:
    async with keepers([("bob", url(schema, "bob"))]) as (bob,):
        kept: set[str] = set()
        for kill in range(6):  # the next one comes as soon as the server has seen that the last one is gone
            async with keepers([(f"ana{kill}", url(schema, "ana"))]) as (ana,):
                await ana.goes_on(20 * kill)
                ana.process.kill()
                assert await ana.end() == -signal.SIGKILL
                kept |= ana.kept
            await bob.goes_on(20)
        assert await bob.tell("stop") == "stopped"
        await check_rows(url_of(schema), [bob])
        things = [content(record)["thing"] for record in await everything(url_of(schema))]
        assert len(things) == len(set(things))
        assert set(things) >= kept | bob.kept
        assert {thing for thing in things if thing.startswith("bob")} <= bob.kept | bob.unknown
        assert await bob.end() == 0
