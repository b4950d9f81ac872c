"""Subscription queries when something goes wrong: errors, parking, and journals and databases that are away."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors import Failed, Parked, Refused
from persistence import JournalUnusable
from runtime import ManualClock, Runtime
from tests.runtime.asking import ASKED, Add, Odd, Sum, Tally, Total, Totals
from tests.runtime.tools import HeldJournal, comes, node_of, quiet
from tests.runtime.watchers import Watcher, at_rest, followers, some_turns, watching

T, TOTALS = Tally.at("t"), Totals.at()


async def test_an_answer_that_fails_is_raised() -> None:
    def refuses(_: Any, state: Any) -> Any:
        if state.added:
            raise Refused("not for you")

    Tally.odd = refuses
    async with Runtime("memory:", ASKED) as runtime:
        async with watching(runtime.watch(T, Odd()), runtime.watch(TOTALS, Total("nobody"))) as (odd, nobody):
            await odd.sees(None)
            with pytest.raises(LookupError, match="there is no such tally"):
                await nobody.task
            await runtime.ask(T, Add(1))
            with pytest.raises(Refused, match="not for you"):
                await odd.task
        Tally.odd = lambda _tally, _state: 1 // 0
        with pytest.raises(Failed, match="ZeroDivisionError"):
            await anext(runtime.watch(T, Odd()))
        assert followers(runtime) == {}


async def test_who_is_parked_is_told() -> None:
    async with Runtime("memory:", ASKED) as runtime:
        both = runtime.watch(T, Sum()), runtime.watch(TOTALS, Total("t"))
        async with watching(*both) as (sums, totals):
            await sums.sees(0)
            await totals.sees(0)
            await runtime.ask(T, Add(1))
            await sums.sees(1)
            await totals.sees(1)
            Tally.broken.add("t")
            await runtime.kill(T)
            with pytest.raises(Parked, match="t is broken"):
                await runtime.ask(T, Add(1))
            await some_turns()
            assert not sums.task.done()  # nothing has happened to what it watches
            Tally.broken.clear()
            runtime.unpark(T)
            await runtime.ask(T, Add(1))
            await sums.sees(2)


async def test_a_read_model_that_is_parked_tells_what_it_has_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Totals, "parked_limit", 0)
    async with Runtime("memory:", ASKED) as runtime:
        await runtime.ask(T, Add(1))
        async with watching(runtime.watch(TOTALS, Total("t"), consistent=True)) as (watcher,):
            await watcher.sees(1)
            await at_rest(runtime)
            await runtime.ask(T, Add(666))
            with pytest.raises(Parked, match="Totals is parked behind position 1"):
                await watcher.task
        answers = runtime.watch(TOTALS, Total("t"))
        assert await anext(answers) == 1
        with pytest.raises(Parked, match="Totals is parked behind position 1"):
            await anext(answers)
        monkeypatch.setattr(Totals, "parked_limit", 10)
        runtime.unpark(TOTALS)
        async with watching(runtime.watch(TOTALS, Total("u"))) as (watcher,):
            await runtime.ask(Tally.at("u"), Add(1))
            await watcher.sees(1)


async def test_what_was_set_aside_is_told_when_it_is_projected_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Runtime("memory:", ASKED) as runtime, watching(runtime.watch(TOTALS, Total("t"))) as (watcher,):
        await runtime.ask(T, Add(1))
        await watcher.sees(1)
        await runtime.ask(T, Add(666))
        await runtime.ask(T, Add(2))
        await comes(lambda: node_of(runtime).projectors["Totals"].aside.count == 2)
        await runtime.skip_parked(TOTALS, "t", reason="the beast", by="ana")
        await watcher.sees(3)


@pytest.mark.parametrize("fate", ["before", "after"])
async def test_it_goes_on_when_the_journal_was_lost(fate: str) -> None:
    journal = HeldJournal()
    async with Runtime(journal, ASKED) as runtime:
        both = runtime.watch(T, Sum()), runtime.watch(TOTALS, Total("t"))
        async with watching(*both) as watchers:
            for watcher in watchers:
                await watcher.sees(0)
            journal.fail = [fate]
            await runtime.tell(T, Add(1))
            late = Watcher(runtime.watch(T, Sum()))  # its first question is lost with it
            await comes(lambda: not journal.fail)
            await quiet(runtime)
            await runtime.ask(T, Add(10))
            expected = 10 if fate == "before" else 11
            for watcher in (*watchers, late):
                await watcher.sees(expected)
                assert set(watcher.seen) <= {0, 1, expected}
                assert watcher.seen == sorted(watcher.seen)
            late.task.cancel()
            await asyncio.gather(late.task, return_exceptions=True)


async def test_it_waits_while_the_disk_is_full() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ASKED, clock=clock) as runtime, watching(runtime.watch(T, Sum())) as (watcher,):
        await watcher.sees(0)
        journal.full = True
        await runtime.tell(T, Add(1))
        for _ in range(20):
            await some_turns()
            clock.advance(1)
        assert watcher.seen == [0]
        assert not watcher.task.done()
        journal.full = False
        for _ in range(10):
            await some_turns()
            clock.advance(5)
        await runtime.ask(T, Add(2))
        await watcher.sees(2)


async def test_it_waits_while_the_read_models_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    async with Runtime("memory:", ASKED, clock=clock) as runtime:
        view = node_of(runtime).projectors["Totals"].view
        reading, away = view.reading, True
        tries = 0

        @asynccontextmanager
        async def cut_off() -> AsyncGenerator[Any]:
            nonlocal tries
            tries += 1
            if away:
                raise JournalUnusable("the server is away")
            async with reading() as db:
                yield db

        async with watching(runtime.watch(TOTALS, Total("t"))) as (watcher,):
            await watcher.sees(0)
            monkeypatch.setattr(view, "reading", cut_off)
            await runtime.ask(T, Add(1))
            await comes(lambda: tries)
            with pytest.raises(JournalUnusable, match="the server is away"):
                await anext(runtime.watch(TOTALS, Total("t")))  # one who has seen nothing yet is told
            away = False
            clock.advance(2)
            await watcher.sees(1)
            assert watcher.seen == [0, 1]
