"""Subscription queries: the answer now and whenever it changes, never back, with nothing left behind or queued up."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest

from actors import Failed, Mailbox, NotTaken, Parked, Refused, RuntimeClosed
from persistence import JournalTaken, JournalUnusable
from persistence.sqlite_view import SqliteView
from runtime import Chaos, ManualClock, Runtime
from runtime.lending import Lending
from tests.runtime.asking import (
    ASKED,
    Add,
    Asker,
    Everything,
    Far,
    Last,
    Mood,
    Odd,
    Start,
    Story,
    Sum,
    Tally,
    Total,
    Totals,
)
from tests.runtime.tools import HeldJournal, comes, node_of, quiet
from tests.runtime.watchers import Watcher, at_rest, followers, watching

R = TypeVar("R")
T, TOTALS = Tally.at("t"), Totals.at()


async def some_turns(turns: int = 200) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


# -- what is told -------------------------------------------------------------------------------------------------


async def test_a_service_is_watched() -> None:
    async with Runtime("memory:", ASKED) as runtime, watching(runtime.watch(T, Sum())) as (watcher,):
        await watcher.sees(0)
        for n in (1, 2, 0, 3):
            total = await runtime.ask(T, Add(n))
            await watcher.sees(total)
        await runtime.ask(Tally.at("other"), Add(1))
        await quiet(runtime)
        assert watcher.seen == [0, 1, 3, 6]  # the 0 has changed nothing


async def test_a_read_model_is_watched() -> None:
    async with Runtime("memory:", ASKED) as runtime:
        answers = runtime.watch(TOTALS, Total("t")), runtime.watch(TOTALS, Everything())
        async with watching(*answers) as (one, everything):
            await one.sees(0)
            await everything.sees([])
            for n in (1, 2, 3):
                total = await runtime.ask(T, Add(n))
                await one.sees(total)
                await everything.sees([("t", total)])
            await runtime.ask(Tally.at("u"), Add(1))
            await everything.sees([("t", 6), ("u", 1)])
        assert one.seen == [0, 1, 3, 6]
        assert everything.seen == [[], [("t", 1)], [("t", 3)], [("t", 6)], [("t", 6), ("u", 1)]]


async def test_a_saga_is_watched_to_its_end_and_beyond() -> None:
    async def script(story: Any) -> int:
        for n in range(1, 4):
            story.far = n
            await story.sleep(f"{n}", timedelta(hours=1))
        return 1

    Story.script, clock, s = script, ManualClock(), Story.at("s")
    async with Runtime("memory:", ASKED, clock=clock) as runtime:
        await runtime.start(s, Start())
        async with watching(runtime.watch(s, Far())) as (watcher,):
            for n in (1, 2, 3):
                await watcher.sees(n)
                clock.advance(3600)
            await runtime.result(s)
            await quiet(runtime)
            assert not watcher.task.done()
        assert watcher.seen == [1, 2, 3]


async def test_who_is_slow_sees_the_latest_and_nothing_queues_up() -> None:
    async with Runtime("memory:", ASKED) as runtime:
        async with watching(runtime.watch(T, Sum()), runtime.watch(TOTALS, Total("t"))) as watchers:
            for watcher in watchers:
                watcher.gate.clear()
                await watcher.sees(0)
            before = node_of(runtime).kind("Tally").counts.turns, len(Totals.asked)
            for n in range(100):
                await runtime.ask(T, Add(n))
            await runtime.ask(TOTALS, Total("other"), consistent=True)
            assert (node_of(runtime).kind("Tally").counts.turns, len(Totals.asked)) == (before[0] + 100, before[1] + 1)
            for watcher in watchers:
                watcher.gate.set()
                await watcher.sees(4950)
        assert [watcher.seen for watcher in watchers] == [[0, 4950], [0, 4950]]


async def test_an_answer_is_told_when_what_it_shows_is_durable() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ASKED) as runtime:
        async with watching(runtime.watch(T, Sum()), runtime.watch(TOTALS, Total("t"))) as watchers:
            for watcher in watchers:
                await watcher.sees(0)
            journal.hold()
            await runtime.tell(T, Add(1))
            await journal.arrived.wait()
            fresh = Watcher(runtime.watch(T, Sum()))
            await some_turns()
            assert [watcher.seen for watcher in (*watchers, fresh)] == [[0], [0], []]
            journal.gate.set()
            for watcher in (*watchers, fresh):
                await watcher.sees(1)
            fresh.task.cancel()
            await asyncio.gather(fresh.task, return_exceptions=True)
        assert fresh.seen == [1]


async def test_the_first_answer_sees_as_much_as_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    held = asyncio.Event()
    async with Runtime("memory:", ASKED) as runtime:
        view = node_of(runtime).projectors["Totals"].view
        apply = view.apply

        async def slow(*arguments: Any, **options: Any) -> None:
            await held.wait()
            await apply(*arguments, **options)

        monkeypatch.setattr(view, "apply", slow)
        await runtime.ask(T, Add(1))
        answers = [
            runtime.watch(TOTALS, Total("t")),
            runtime.watch(TOTALS, Total("t"), consistent=True),
            runtime.watch(TOTALS, Total("t"), after=runtime.position),
        ]
        async with watching(*answers) as watchers:
            await watchers[0].sees(0)
            await some_turns()
            assert [watcher.seen for watcher in watchers] == [[0], [], []]
            held.set()
            for watcher in watchers:
                await watcher.sees(1)
        assert [watcher.seen for watcher in watchers] == [[0, 1], [1], [1]]


async def test_what_the_reader_does_to_an_answer_is_his_own_affair() -> None:
    async with Runtime("memory:", ASKED) as runtime, aclosing(runtime.watch(T, Last())) as answers:
        first = await anext(answers)
        first.append(7)  # which is what the answer will be next
        await runtime.ask(T, Add(7))
        assert await anext(answers) == [7]


async def test_what_can_not_be_encoded_is_compared_as_it_is() -> None:
    Tally.odd = lambda _, state: complex(len(state.added) // 2, 0)
    async with Runtime("memory:", ASKED) as runtime, watching(runtime.watch(T, Odd())) as (watcher,):
        await watcher.sees(0j)
        for _ in range(4):
            await runtime.ask(T, Add(1))
            await quiet(runtime)
        await watcher.sees(2 + 0j)
        assert watcher.seen == [0j, 1 + 0j, 2 + 0j]


# -- who is told --------------------------------------------------------------------------------------------------


async def test_many_who_watch_cost_the_projector_nothing_that_is_not_theirs() -> None:
    async with Runtime("memory:", ASKED) as runtime:
        async with watching(*[runtime.watch(TOTALS, Total(f"{n}")) for n in range(2_000)]) as watchers:
            for watcher in watchers:
                await watcher.sees(0)
            Totals.asked.clear()
            for _ in range(10):
                await runtime.ask(Tally.at("1999"), Add(1))
                await runtime.ask(Tally.at("nobody watches it"), Add(1))
            await watchers[1999].sees(10)
            await quiet(runtime)
            assert set(Totals.asked) == {"1999"}
            assert len(Totals.asked) <= 10
            Totals.asked.clear()
            await runtime.ask(Tally.at("7"), Add(0))  # it comes to no rows
            await node_of(runtime).projectors["Totals"].reached(runtime.position)
            await some_turns()
            assert Totals.asked == []
        assert followers(runtime) == {}


async def test_of_many_events_at_once_all_are_told() -> None:
    async with Runtime("memory:", ASKED) as runtime:
        names = [f"{n}" for n in range(300)]
        async with watching(*[runtime.watch(TOTALS, Total(name)) for name in names]) as watchers:
            for watcher in watchers:
                await watcher.sees(0)
            await asyncio.gather(*(runtime.ask(Tally.at(name), Add(1)) for name in names))
            for watcher in watchers:
                await watcher.sees(1)


async def test_a_key_that_can_not_be_told_has_all_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(self: Any, event: Any, meta: Any) -> str:
        raise ValueError("whose is it?")

    async with Runtime("memory:", ASKED) as runtime, watching(runtime.watch(TOTALS, Total("t"))) as (watcher,):
        await watcher.sees(0)
        monkeypatch.setattr(Totals, "key", key)
        await runtime.ask(T, Add(1))
        await watcher.sees(1)
        assert not await runtime.parked_events(TOTALS)


async def test_what_can_not_be_watched_is_said_at_once() -> None:
    anyone: Any
    async with Runtime("memory:", ASKED) as runtime:
        anyone = runtime
        with pytest.raises(NotTaken, match="Asker/a is a plain actor, whose answers change unseen"):
            runtime.watch(Asker.at("a"), Mood())
        with pytest.raises(NotTaken, match="Tally/t answers no queries of this kind"):
            anyone.watch(T, Mood())
        with pytest.raises(NotTaken, match="Tally/t answers no queries of this kind"):
            anyone.watch(T, Add(1))
    with pytest.raises(RuntimeClosed):
        runtime.watch(T, Sum())


# -- what goes wrong ----------------------------------------------------------------------------------------------


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


# -- comings and goings -------------------------------------------------------------------------------------------


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


# -- properties ---------------------------------------------------------------------------------------------------


def is_in_order(seen: list[Any], prefixes: list[Any]) -> bool:
    """Whether what was seen are states that there were, in their order."""
    states = iter(prefixes)
    return all(any(state == one for state in states) for one in seen)


@pytest.mark.parametrize("seed", range(30))
async def test_answers_are_prefixes_in_order_and_the_last_is_the_last(seed: int) -> None:
    random, journal, clock = Random(seed), HeldJournal(), ManualClock()
    kinds: list[Callable[[Runtime], AsyncGenerator[Any]]] = [
        lambda runtime: runtime.watch(T, Last(1_000)),
        lambda runtime: runtime.watch(TOTALS, Total("t"), consistent=random.random() < 0.5),
        lambda runtime: runtime.watch(TOTALS, Everything()),
    ]
    async with Runtime(journal, ASKED, clock=clock, chaos=Chaos(seed, 0.02)) as runtime:
        watchers: list[tuple[int, Watcher]] = []
        for _ in range(random.randrange(20, 60)):
            match random.randrange(9):
                case 0 | 1 | 2:
                    runtime.tell(T, Add(random.choice([0, 1, 2, 3, 666])))
                case 3:
                    kind = random.randrange(3)
                    watchers.append((kind, Watcher(kinds[kind](runtime))))
                case 4 if watchers:
                    gate = random.choice(watchers)[1].gate
                    gate.clear() if gate.is_set() else gate.set()
                case 5:
                    await runtime.kill(random.choice([T, TOTALS]))
                case 6:
                    journal.fail = [random.choice(["before", "after"])]
                case 7:
                    clock.advance(1)
                case _:
                    await some_turns(random.randrange(30))
        journal.fail.clear()
        for _ in range(10):
            clock.advance(10)
            await some_turns()
        await runtime.ask(T, Add(1))
        numbers: list[int] = await runtime.ask(T, Last(1_000))
        await node_of(runtime).projectors["Totals"].reached(runtime.position)
        aside = {event.position for event in await runtime.parked_events(TOTALS)}
        projected = [n for position, n in enumerate(numbers, 1) if position not in aside]
        sums = [sum(projected[:n]) for n in range(len(projected) + 1)]
        expected: list[tuple[Any, list[Any]]] = [
            (numbers, [numbers[:n] for n in range(len(numbers) + 1)]),
            (sums[-1], sums),
            ([("t", sums[-1])] if any(projected) else [], [[], *[[("t", one)] for one in sums]]),
        ]
        for kind, watcher in watchers:
            watcher.gate.set()
            last, prefixes = expected[kind]
            if watcher.task.done() and isinstance(watcher.task.exception(), Parked):
                assert aside  # it was to see what is set aside
                continue
            await watcher.sees(last)
            assert is_in_order(watcher.seen, prefixes), (watcher.seen, prefixes)
            assert all(one != other for one, other in zip(watcher.seen, watcher.seen[1:], strict=False))
            watcher.task.cancel()
        await asyncio.gather(*(watcher.task for _, watcher in watchers), return_exceptions=True)
        assert followers(runtime) == {}
