"""A saga's step may be a query: its answer is kept in the story like any reply, and there is nothing to undo."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from actors import Command, Event, Parked, Query, Rate, Refused, Service, State
from persistence import Record
from runtime import ManualClock, Runtime
from runtime.kinds import kind_of
from tests.runtime.asking import ASKED, Add, Asker, Far, Mood, Odd, Start, Story, Sum, Take, Tally, Total, Totals
from tests.runtime.tools import HeldJournal, content, of, quiet, restart_of, types_of

S, T = Story.at("s"), Tally.at("t")


async def asks_and_adds(story: Any) -> int:
    """Add what there is, so that an answer that is not kept shows in the sum."""
    before: int = await story.ask("before", T, Sum())
    await story.ask("add", T, Add(before), undo=Take(before))
    after: int = await story.ask("after", T, Sum())
    return after


async def run_from(records: Sequence[Record]) -> tuple[int, list[Record]]:
    """Restart from these records, and let the saga come to its end."""
    Story.script = asks_and_adds
    journal = restart_of(records)
    async with Runtime(journal, ASKED, clock=ManualClock()) as runtime:
        await runtime.ask(T, Add(5), id="first")
        return await runtime.ask(S, Start()), journal.records


async def test_the_answer_is_kept_whatever_dies_and_whenever() -> None:
    end, first = await run_from([])
    assert end == 10
    assert types_of(first, S)[1:] == ["saga.asked", "saga.answered"] * 3 + ["saga.completed"]
    asked = content(of(first, "saga.asked")[0])
    assert (asked["command"], "undo" in asked) == ({"type": "Sum"}, False)
    for crash in range(len(first)):
        again, records = await run_from(first[:crash])
        assert again == 10
        assert len(of(records, "Added")) == 2


async def test_an_answer_that_was_kept_stays_though_the_service_goes_on() -> None:
    async def script(story: Any) -> int:
        before: int = await story.ask("before", T, Sum())
        await story.sleep("long", timedelta(hours=1))
        return before

    Story.script, clock = script, ManualClock()
    async with Runtime("memory:", ASKED, clock=clock) as runtime:
        await runtime.ask(T, Add(1))
        await runtime.start(S, Start())
        await quiet(runtime)
        await runtime.ask(T, Add(1))
        await runtime.kill(S)
        clock.advance(3600)
        assert await runtime.result(S) == 1


async def test_a_refusal_goes_back_and_a_query_is_not_undone() -> None:
    def refuses(*_: Any) -> None:
        raise Refused("not for you")

    async def script(story: Any) -> int:
        await story.ask("add", T, Add(1), undo=Take(1))
        await story.ask("sum", T, Sum())
        await story.ask("odd", T, Odd())
        return 1

    Story.script, Tally.odd, journal = script, refuses, HeldJournal()
    async with Runtime(journal, ASKED) as runtime:
        with pytest.raises(Refused, match="not for you"):
            await runtime.ask(S, Start())
        assert await runtime.ask(T, Sum()) == 0
    assert [content(record)["step"] for record in of(journal.records, "saga.undone")] == ["add"]


async def test_a_failure_is_tried_again() -> None:
    tries = iter([ZeroDivisionError(), None])

    def fails_once(*_: Any) -> int:
        error = next(tries)
        if error is not None:
            raise error
        return 7

    async def script(story: Any) -> int:
        answer: int = await story.ask("odd", T, Odd())
        return answer

    Story.script, Tally.odd, clock = script, fails_once, ManualClock()
    async with Runtime("memory:", ASKED, clock=clock) as runtime:
        await runtime.start(S, Start())
        await quiet(runtime)
        clock.advance(1)
        assert await runtime.result(S) == 7


async def test_plain_actors_and_sagas_are_asked_too() -> None:
    async def script(story: Any) -> int:
        if story.key == "other":
            story.far = 3
            return 0
        mood: str = await story.ask("mood", Asker.at(), Mood())
        far: int = await story.ask("far", Story.at("other"), Far())
        both = await story.parallel(story.ask("a", T, Sum()), story.ask("b", T, Add(1)))
        chosen = await story.select(story.ask("c", T, Sum()), story.sleep("d", timedelta(hours=1)))
        weight: int = chosen.reply + sum(both) * 10
        return len(mood) * 1000 + far * 100 + weight

    Story.script = script
    async with Runtime("memory:", ASKED) as runtime:
        await runtime.ask(Story.at("other"), Start())
        mood = await runtime.ask(Asker.at(), Mood())
        assert await runtime.ask(S, Start()) == len(mood) * 1000 + 311
        plan = await runtime.progress_of(Story.at("other"))
        assert plan.status == "completed"


async def test_a_saga_that_was_only_asked_is_not_compensated() -> None:
    async def script(story: Any) -> int:
        if story.key == "other":
            return 0
        await story.ask("far", Story.at("other"), Far())
        raise Refused("no")

    Story.script = script
    async with Runtime("memory:", ASKED) as runtime:
        await runtime.ask(Story.at("other"), Start())
        with pytest.raises(Refused):
            await runtime.ask(S, Start())
        assert (await runtime.progress_of(Story.at("other"))).status == "completed"


async def test_a_query_keeps_to_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(story: Any) -> int:
        answers = await story.parallel(*(story.ask(f"{n}", T, Sum()) for n in range(3)))
        return len(answers)

    Story.script, clock = script, ManualClock()
    monkeypatch.setattr(Tally, "rate", Rate(1, per=timedelta(seconds=1)))
    async with Runtime("memory:", ASKED, clock=clock) as runtime:
        await runtime.start(S, Start())
        for _ in range(2):
            await quiet(runtime)
            assert (await runtime.progress_of(S)).status == "running"
            clock.advance(1)
        assert await runtime.result(S) == 3


StepOf = Callable[[Any], Any]
"""What makes a step of a story."""
MISTAKES: list[tuple[StepOf, str]] = [
    (lambda story: story.pivot("x", T, Sum()), "asks the query Sum, which changes nothing, so it is no pivot"),
    (lambda story: story.ask("x", T, Sum(), undo=Take(1)), "has no undo and no lock; write self.ask"),
    (lambda story: story.ask("x", T, Sum(), lock=True), "has no undo and no lock; write self.ask"),
    (lambda story: story.ask("x", Totals.at(), Total("t")), "asks the read model Totals, which reads a database"),
    (lambda story: story.ask("x", T, Mood()), "Tally/t answers no Mood; name it in the annotation of Tally.answer"),
    (lambda story: story.ask("x", S, Far()), "asks the saga itself"),
]


@pytest.mark.parametrize(("step", "text"), MISTAKES)
async def test_what_a_saga_can_not_ask(step: StepOf, text: str) -> None:
    async def script(story: Any) -> int:
        await step(story)
        return 1

    Story.script = script
    async with Runtime("memory:", ASKED) as runtime:
        with pytest.raises(Parked, match=text):
            await runtime.ask(S, Start())


class Renamed(Query["Known", int], aliases=("Once",)):
    pass


class Learn(Command["Known", None]):
    pass


class Learned(Event):
    pass


class Known(Service[State, Learn, Learned]):
    initial = State()

    def answer(self, state: State, query: Renamed) -> int:
        return 1


def test_a_query_is_read_back_under_the_name_that_it_had() -> None:
    """In a story that was begun before it was renamed."""
    kind = kind_of(Known)
    stored: list[Any] = [kind.command(msgspec.Raw(b'{"type":"%b"}' % name)) for name in (b"Once", b"Renamed")]
    assert stored == [Renamed(), Renamed()]
