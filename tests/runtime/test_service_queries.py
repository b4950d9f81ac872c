"""Queries on services: answered by the service itself, in its turn, from all that came before."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actors import (
    DeletedForGood,
    Failed,
    NotTaken,
    OutcomeUnknown,
    Parked,
    Refused,
)
from persistence import Journal, MemoryJournal, SqliteJournal
from runtime import ManualClock, Runtime
from runtime.instruments import BaseInstrument
from runtime.service_cell import ServiceCell
from tests.runtime.asking import (
    ASKED,
    Add,
    Asker,
    Last,
    Mood,
    Numbers,
    Odd,
    Sent,
    Start,
    Story,
    Sum,
    Sure,
    Take,
    Tally,
    Total,
    Totals,
)
from tests.runtime.cast import Account, Deposit
from tests.runtime.tools import HeldJournal, node_of, quiet

T = Tally.at("t")


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Journal]:
    """Open the same journal again and again."""
    memory = MemoryJournal()
    return (lambda: memory) if request.param == "memory" else (lambda: SqliteJournal(tmp_path / "journal.db"))


# -- what it sees -------------------------------------------------------------------------------------------------


async def test_a_query_sees_all_that_was_sent_before_it(journal: Callable[[], Journal]) -> None:
    async with Runtime(journal(), ASKED) as runtime:
        for n in range(1, 101):
            await runtime.tell(T, Add(n))
        assert await runtime.ask(T, Sum()) == 5050
        assert await runtime.ask(T, Last(), timeout=5, consistent=True, after=1_000_000) == [98, 99, 100]
    async with Runtime(journal(), ASKED) as runtime:
        assert await runtime.ask(T, Sum()) == 5050


async def test_what_it_saw_is_durable_before_anybody_outside_gets_the_answer() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ASKED) as runtime:
        journal.hold()
        await runtime.tell(T, Add(1))
        asked = asyncio.ensure_future(runtime.ask(T, Sum()))
        await journal.arrived.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not asked.done()
        assert node_of(runtime).kind("Tally").counts.turns == 2
        journal.gate.set()
        assert await asked == 1


async def test_what_was_lost_is_not_told() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ASKED) as runtime:
        journal.fail = ["before"]
        await runtime.tell(T, Add(1))
        with pytest.raises(OutcomeUnknown, match=r"has handled Sum is unknown: .*; ask again$"):
            await runtime.ask(T, Sum())
        assert await runtime.ask(T, Sum()) == 0


async def test_it_writes_nothing(journal: Callable[[], Journal]) -> None:
    async with Runtime(journal(), ASKED) as runtime:
        assert await runtime.ask(Tally.at("none"), Sum()) == 0
        assert await runtime.ask(Tally.at("none"), Last()) == []
        assert [entry async for entry in runtime.history(Tally.at("none"))] == []
        assert runtime.position == 0
        assert runtime.groups == 0
        await runtime.ask(T, Add(1))
        await runtime.ask(T, Sum())
        assert runtime.position == 1
        cell = node_of(runtime).cell(T)
        assert isinstance(cell, ServiceCell)
        assert not list(cell.seen)


async def test_a_crash_between_is_not_noticed() -> None:
    async with Runtime(HeldJournal(), ASKED) as runtime:
        await runtime.ask(T, Add(1))
        asked = [asyncio.ensure_future(runtime.ask(T, Sum())) for _ in range(3)]
        await asyncio.sleep(0)
        await runtime.kill(T)
        assert await asyncio.gather(*asked) == [1, 1, 1]


# -- what goes wrong ----------------------------------------------------------------------------------------------


def fails(tally: Tally, state: Numbers) -> Any:
    raise ZeroDivisionError("sum of nothing")


def refuses(tally: Tally, state: Numbers) -> Any:
    raise Refused("that is not for you")


async def coroutine() -> int:
    return 1


@pytest.mark.parametrize("query", [Odd(), Sure()])
async def test_an_error_goes_to_the_asker_and_nowhere_else(query: Odd | Sure, caplog: pytest.LogCaptureFixture) -> None:
    async with Runtime("memory:", ASKED) as runtime:
        await runtime.ask(T, Add(1))
        Tally.odd = fails
        with pytest.raises(Failed, match=f"Tally/t failed at {type(query).__name__}: ZeroDivisionError: sum of"):
            await runtime.ask(T, query)
        Tally.odd = refuses
        with pytest.raises(Refused, match="that is not for you"):
            await runtime.ask(T, query)
        assert await runtime.ask(T, Sum()) == 1
        counts = node_of(runtime).kind("Tally").counts
        assert (counts.failures, counts.restarts) == (0, 0)
        assert (runtime.parked(), runtime.dead_letters()) == ({}, [])
    assert caplog.records == []


async def test_an_answer_is_what_the_query_declares() -> None:
    async with Runtime("memory:", ASKED) as runtime:
        wrongs: list[tuple[Callable[[Tally, Numbers], Any], str]] = [
            (lambda _tally, _state: "one", "Sure declares the reply int, but it was a str"),
            (lambda _tally, _state: None, "Sure declares the reply int, but nothing was returned"),
            (lambda _tally, _state: coroutine(), "Sure declares the reply int, but it was a coroutine"),
        ]
        for wrong, text in wrongs:
            Tally.odd = wrong
            with pytest.raises(Failed, match=text):
                await runtime.ask(T, Sure())


async def test_who_is_parked_or_deleted_answers_as_for_a_command() -> None:
    async with Runtime("memory:", ASKED) as runtime:
        await runtime.ask(T, Add(1))
        await runtime.delete(T)
        assert await runtime.ask(T, Sum()) == 0
        await runtime.delete(T, for_good=True)
        with pytest.raises(DeletedForGood, match="Tally/t was deleted for good"):
            await runtime.ask(T, Sum())
        await runtime.ask(Tally.at("p"), Add(1))
        Tally.broken.add("p")
        await runtime.kill(Tally.at("p"))
        with pytest.raises(Parked, match="p is broken"):
            await runtime.ask(Tally.at("p"), Sum())
        with pytest.raises(Parked, match="p is broken"):
            await runtime.ask(Tally.at("p"), Sum())


async def test_one_that_nobody_waits_for_is_not_begun() -> None:
    clock = ManualClock()
    journal = HeldJournal()
    async with Runtime(journal, ASKED, clock=clock) as runtime:
        journal.hold()
        await runtime.tell(T, Add(1, once="x"))  # the service waits for the journal
        asked = asyncio.ensure_future(runtime.ask(T, Sum(), timeout=1))
        await journal.arrived.wait()
        clock.advance(2)
        with pytest.raises(OutcomeUnknown, match=r"no reply came in time; ask again$"):
            await asked
        journal.gate.set()
        await quiet(runtime)
        assert node_of(runtime).kind("Tally").counts.expired == 1


# -- what stands in its way, and what doesn't ---------------------------------------------------------------------


async def test_it_waits_where_the_service_waits_for_the_journal() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ASKED) as runtime:
        journal.hold()
        added = asyncio.ensure_future(runtime.ask(T, Add(7, once="seven")))
        asked = asyncio.ensure_future(runtime.ask(T, Sum()))
        await journal.arrived.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert node_of(runtime).kind("Tally").counts.turns == 1  # it has not even been looked at
        journal.gate.set()
        assert (await added, await asked) == (7, 7)


async def test_it_waits_behind_a_transaction() -> None:
    journal = HeldJournal()
    async with Runtime(journal, [*ASKED, Account]) as runtime:
        journal.hold()
        await runtime.tell(Tally.at("u"), Add(1, once="x"))  # one of the participants is busy
        await journal.arrived.wait()
        both = asyncio.ensure_future(runtime.transact((T, Add(1)), (Tally.at("u"), Add(2))))
        for _ in range(20):
            await asyncio.sleep(0)
        asked = asyncio.ensure_future(runtime.ask(T, Sum()))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not asked.done()
        journal.gate.set()
        assert (await both, await asked) == ((1, 3), 1)


async def test_a_lock_does_not_stand_in_its_way_and_it_sees_who_holds_it() -> None:
    seen: list[Any] = []

    def looks(tally: Tally, state: Numbers) -> Any:
        seen.append({lock: [str(one) for one in holders] for lock, holders in tally.locked_by.items()})

    async def script(story: Any) -> int:
        await story.ask("add", T, Add(1), undo=Take(1), lock=True)
        await story.sleep("wait", timedelta(hours=1))
        return 1

    Story.script, Tally.odd = script, looks
    async with Runtime("memory:", ASKED, clock=ManualClock()) as runtime:
        await runtime.ask(T, Odd())
        await runtime.start(Story.at("s"), Start())
        await quiet(runtime)
        await runtime.ask(T, Odd())
        with pytest.raises(Refused, match="is locked"):
            await runtime.ask(T, Add(2))
        assert await runtime.ask(T, Sum()) == 1
        await runtime.saga(Story.at("s")).compensate(by="ana", reason="enough")
        await runtime.ask(T, Odd())
    assert seen == [{}, {"": ["Story/s"]}, {}]


async def test_it_keeps_to_its_priority() -> None:
    journal, order = HeldJournal(), list[Any]()
    Tally.odd = lambda _, state: order.append(len(state.added))
    async with Runtime(journal, ASKED) as runtime:
        journal.hold()
        await runtime.tell(T, Add(1, once="x"))
        await journal.arrived.wait()
        asked = [asyncio.ensure_future(runtime.ask(T, Add(2))), asyncio.ensure_future(runtime.ask(T, Odd()))]
        await asyncio.sleep(0)
        journal.gate.set()
        await asyncio.gather(*asked)
    assert order == [1]


# -- where it can't go --------------------------------------------------------------------------------------------


async def test_a_query_is_only_asked() -> None:
    anyone: Any
    async with Runtime("memory:", [*ASKED, Account]) as runtime:
        anyone = runtime
        text = "Sum is a query, which changes nothing: it can't be sent, only asked"
        with pytest.raises(NotTaken, match=text):
            anyone.tell(T, Sum())
        await runtime.ask(T, Add(1))
        with pytest.raises(NotTaken, match=text):
            anyone.tell(T, Sum())
        with pytest.raises(NotTaken, match=text):
            await anyone.transact((T, Sum()))
        with pytest.raises(NotTaken, match=text):
            await anyone.remind(T, "x", Sum(), after=timedelta(1))
        with pytest.raises(
            NotTaken, match=r"Tally/t answers no queries of this kind.*; .* name Mood in the annotation"
        ):
            await anyone.ask(T, Mood())
        with pytest.raises(NotTaken, match="Account/a answers no queries of this kind"):
            await anyone.ask(Account.at("a"), Sum())
        assert await runtime.ask(Account.at("a"), Deposit(1)) == 101

        async def tells(asker: Any) -> None:
            asker.tell(T, Sum())

        Asker.script = tells
        with pytest.raises(Failed, match=f"NotTaken: {text}"):
            await runtime.ask(Asker.at(), Sent())


# -- who asks -----------------------------------------------------------------------------------------------------


async def test_a_plain_actor_asks_services_and_read_models() -> None:
    answers: list[Any] = []

    async def asks(asker: Any) -> None:
        answers.append(await asker.ask(T, Sum()))
        answers.append(await asker.ask(T, Add(1)))
        answers.append(await asker.ask(T, Sum(), timeout=5))
        answers.append(await asker.ask(Totals.at(), Total("t"), consistent=True))
        answers.append(await asker.ask(Totals.at(), Total("none")))
        answers.append(await asker.ask(Asker.at("other"), Mood()))

    Asker.script = asks
    async with Runtime("memory:", ASKED) as runtime:
        await runtime.ask(Asker.at("me"), Sent(), timeout=30)
        assert answers == [0, 1, 1, 1, 0, "fine, as True as can be"]
        assert await runtime.ask(Asker.at("x"), Mood()) == "fine, as True as can be"


# -- instruments --------------------------------------------------------------------------------------------------


class Ear(BaseInstrument):
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def handled(self, address: Any, message: str, seconds: float, outcome: str, /) -> None:
        self.heard.append((message, outcome))


async def test_it_is_a_turn_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    clock, ear = ManualClock(), Ear()

    def slow(tally: Tally, state: Numbers) -> Any:
        clock.advance(1)
        raise Refused("no")

    Tally.odd = slow
    with caplog.at_level(logging.WARNING, "understudy"):
        async with Runtime("memory:", ASKED, clock=clock, instruments=[ear]) as runtime:
            assert await runtime.ask(T, Sum()) == 0
            with pytest.raises(Refused):
                await runtime.ask(T, Odd())
            assert runtime.stats().actors["Tally"].turns == 2
    assert ear.heard == [("Sum", "done"), ("Odd", "refused")]
    assert "Odd" in caplog.text
