"""Subscription queries outlive kills, rebuilds and crowds, and leave nothing behind when they end."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors import Mailbox, RuntimeClosed
from persistence import JournalTaken
from persistence.sqlite_view import SqliteView
from runtime import ManualClock, Runtime
from runtime.lending import Lending
from tests.runtime.asking import ASKED, Add, Story, Sum, Tally, Total, Totals
from tests.runtime.tools import HeldJournal, comes, node_of, quiet
from tests.runtime.watchers import Watcher, at_rest, followers, some_turns, watching

T, TOTALS = Tally.at("t"), Totals.at()


async def test_kills_are_not_noticed() -> None:
    async with Runtime("memory:", ASKED) as runtime:
        both = runtime.watch(T, Sum()), runtime.watch(TOTALS, Total("t"))
        async with watching(*both) as watchers:
            total = 0
            for n in range(1, 20):
                await runtime.kill(T)
                await runtime.kill(TOTALS)
                total = await runtime.ask(T, Add(n))
                await runtime.kill(TOTALS)
                for watcher in watchers:
                    await watcher.sees(total)
            assert [watcher.seen == sorted(watcher.seen) for watcher in watchers] == [True, True]


async def test_a_kill_behind_the_commit_is_not_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are there, and nobody was told."""
    async with Runtime("memory:", ASKED) as runtime, watching(runtime.watch(TOTALS, Total("t"))) as (watcher,):
        await watcher.sees(0)
        await at_rest(runtime)
        view = node_of(runtime).projectors["Totals"].view
        apply, committed = view.apply, asyncio.Event()

        async def stuck(*arguments: Any, **options: Any) -> None:
            await apply(*arguments, **options)
            committed.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(view, "apply", stuck)
        await runtime.ask(T, Add(1))
        await committed.wait()
        await some_turns()
        assert watcher.seen == [0]
        monkeypatch.setattr(view, "apply", apply)
        await runtime.kill(TOTALS)
        await watcher.sees(1)


async def test_it_goes_over_to_a_read_model_that_is_built_anew() -> None:
    async with Runtime("memory:", ASKED) as runtime, watching(runtime.watch(TOTALS, Total("t"))) as (watcher,):
        await runtime.ask(T, Add(1))
        await watcher.sees(1)
        async with node_of(runtime).projectors["Totals"].view.reading() as db:
            await db.execute("pragma query_only = 0")
            await db.execute("update total set sum = 100")  # somebody changes it by hand
            await db.commit()
        node_of(runtime).news.tell_category("Totals")
        await watcher.sees(100)
        await at_rest(runtime)
        await runtime.rebuild(TOTALS)
        await watcher.sees(1)
        await runtime.ask(T, Add(1))
        await watcher.sees(2)


async def test_what_stood_in_gives_way_to_what_has_caught_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:{tmp_path / 'journal.db'}"
    async with Runtime(url, ASKED) as runtime:
        await runtime.ask(T, Add(1))
        assert await runtime.ask(TOTALS, Total("t"), consistent=True) == 1
    async with Runtime(url, [Tally]) as runtime:
        await runtime.ask(T, Add(2))
    monkeypatch.setattr(Totals, "version", 2)
    caught_up, keep_ready = asyncio.Event(), SqliteView.keep_ready

    async def held_back(view: SqliteView) -> None:
        await caught_up.wait()
        await keep_ready(view)

    monkeypatch.setattr(SqliteView, "keep_ready", held_back)
    async with Runtime(url, ASKED) as runtime, watching(runtime.watch(TOTALS, Total("t"))) as (watcher,):
        await node_of(runtime).projectors["Totals"].reached(runtime.position)
        await watcher.sees(1)
        await at_rest(runtime)
        caught_up.set()
        await watcher.sees(3)
        assert watcher.seen == [1, 3]


async def test_one_that_has_seen_the_new_tables_never_sees_the_old_ones_again() -> None:
    class Older(Lending):
        def reading(self) -> Any:
            raise AssertionError("that would be a step back")

    async with Runtime("memory:", ASKED) as runtime:
        await runtime.ask(T, Add(1))
        async with watching(runtime.watch(TOTALS, Total("t"), consistent=True)) as (watcher,):
            await watcher.sees(1)
            projector = node_of(runtime).projectors["Totals"]
            projector.stand_in = Older(projector.view)  # it has not been put away yet
            await runtime.ask(T, Add(1))
            await watcher.sees(2)
            projector.stand_in = None


async def test_it_comes_in_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    journal, clock = HeldJournal(), ManualClock()
    monkeypatch.setattr(Tally, "mailbox", Mailbox(limit=2, overflow="refuse"))
    async with Runtime(journal, ASKED, clock=clock) as runtime, watching(runtime.watch(T, Sum())) as (watcher,):
        await watcher.sees(0)
        await runtime.tell(T, Add(1))
        await quiet(runtime)
        journal.hold()
        await runtime.tell(T, Add(2, once="x"))  # from here on the service waits for the journal
        await journal.arrived.wait()
        await runtime.tell(T, Add(3))
        await runtime.tell(T, Add(4))
        late = Watcher(runtime.watch(T, Sum()))
        await some_turns()
        assert not late.task.done()
        journal.gate.set()
        await watcher.sees(10)
        clock.advance(2)
        await late.sees(10)
        late.task.cancel()
        await asyncio.gather(late.task, return_exceptions=True)


@pytest.mark.parametrize("held", [False, True])
async def test_the_end_of_the_runtime_is_told(held: bool) -> None:
    async with Runtime("memory:", ASKED) as runtime:
        answers = runtime.watch(T, Sum()), runtime.watch(TOTALS, Total("t"))
        watchers = [Watcher(one) for one in answers]
        never_begun = runtime.watch(T, Sum())
        for watcher in watchers:
            if held:
                watcher.gate.clear()
            await watcher.sees(0)
        await runtime.ask(T, Add(1))
    for watcher in watchers:
        watcher.gate.set()
        with pytest.raises(RuntimeClosed, match="can't be watched any more: the runtime was closed"):
            await watcher.task
    with pytest.raises(RuntimeClosed, match="can't be watched any more: the runtime was closed"):
        await anext(never_begun)


async def test_one_that_was_replaced_says_by_whom() -> None:
    async with Runtime("memory:", ASKED) as runtime:
        watchers = [Watcher(runtime.watch(T, Sum())), Watcher(runtime.watch(TOTALS, Total("t")))]
        for watcher in watchers:
            await watcher.sees(0)

        async def follow() -> None:
            async for _ in runtime.saga(Story.at("s")).follow():
                pass

        follower = asyncio.ensure_future(follow())
        await comes(lambda: "Story" in followers(runtime))
        node_of(runtime).trouble.end(JournalTaken("the journal belongs to bob"))
        for watcher in watchers:
            with pytest.raises(RuntimeClosed, match="can't be watched any more: the journal belongs to bob"):
                await watcher.task
        with pytest.raises(RuntimeClosed):
            await follower


async def test_cancelling_leaves_nothing_behind() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ASKED) as runtime:
        node = node_of(runtime)
        for turns in range(40):  # wherever it is
            watchers = [Watcher(runtime.watch(T, Sum())), Watcher(runtime.watch(TOTALS, Total("t")))]
            runtime.tell(T, Add(1))
            await some_turns(turns)
            for watcher in watchers:
                watcher.task.cancel()
            await asyncio.gather(*(watcher.task for watcher in watchers), return_exceptions=True)
            assert followers(runtime) == {}
            assert not node.promises.open
            assert not node.projectors["Totals"].waiting
        await quiet(runtime)
