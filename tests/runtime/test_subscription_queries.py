"""Subscription queries: the answer now and whenever it changes, never back, to those whom it concerns."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import timedelta
from random import Random
from typing import Any, TypeVar

import pytest

from actors import NotTaken, Parked, RuntimeClosed
from runtime import Chaos, ManualClock, Runtime
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
from tests.runtime.tools import HeldJournal, node_of, quiet
from tests.runtime.watchers import Watcher, followers, some_turns, watching

R = TypeVar("R")
T, TOTALS = Tally.at("t"), Totals.at()


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


def is_in_order(seen: list[Any], prefixes: list[Any]) -> bool:
    """Whether what was seen are states that there were, in their order."""
    states = iter(prefixes)
    return all(any(state == one for state in states) for one in seen)


# -- properties ---------------------------------------------------------------------------------------------------


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
