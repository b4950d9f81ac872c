"""P3, P11: reminders of a service's own take effect once, whatever dies, fails, or becomes of the clock."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from actors import OutcomeUnknown, Parked, RestartPolicy
from actors.reminders import Forget
from persistence import MemoryJournal
from runtime import Chaos, ManualClock, Runtime
from tests.runtime.cast import DOWN, BookTrip, Hold, Room, Trip
from tests.runtime.reminding import (
    BELL,
    EVERYBODY,
    SECOND,
    Bell,
    Strike,
    Wind,
    check_never_early,
    pass_time,
    strike,
    struck,
    struck_at,
    wind,
)
from tests.runtime.tools import HeldJournal, check_once, content, node_of, of, quiet, restart_of

DROP = Forget("a")


# -- when things die ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "release", "reopen"])
async def test_it_survives(how: str, tmp_path: Path) -> None:
    clock = ManualClock()
    url = f"sqlite:{tmp_path / 'journal.db'}"
    async with Runtime(url, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 10), strike("b", 20, every=10))
        if how == "kill":
            await runtime.kill(BELL)
        elif how == "release":
            node = node_of(runtime)
            cell = node.find(BELL)
            assert cell is not None
            node.release(cell)
            assert node.find(BELL) is None
        if how != "reopen":
            await pass_time(runtime, clock, 10)
            assert await struck(runtime) == ("a",)
            await pass_time(runtime, clock, 20, 20)
            assert await struck(runtime) == ("a", "b", "b")
    if how == "reopen":
        async with Runtime(url, EVERYBODY, clock=clock) as runtime:
            await pass_time(runtime, clock, 9.999)
            assert await struck(runtime) == ()
            await pass_time(runtime, clock, 0.001)
            assert await struck(runtime) == ("a",)
        async with Runtime(url, EVERYBODY, clock=clock) as runtime:
            await pass_time(runtime, clock, 20, 20)
            assert await struck(runtime) == ("a", "b", "b")


async def test_every_prefix_is_brought_to_its_end() -> None:
    """Wherever the node dies: a reminder is there with its decision, and takes effect once."""
    journal, clock = HeldJournal(), ManualClock()
    start = clock.now()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 5), strike("b", 6, command=Strike("b", again=(("c", 3),))))
        await wind(runtime, strike("d", 7, every=100), Forget("a"), address=Bell.at("other"))
        await wind(runtime, strike("e", 4, command=Strike("e", silent=True)))
        await runtime.remind(BELL, "f", Strike("f"), after=timedelta(seconds=8))
        await pass_time(runtime, clock, 20, 20)
    whole = sorted(struck_at(journal.records, start))
    assert whole == [("a", 5), ("b", 6), ("c", 9), ("d", 7), ("f", 8)]
    sizes = [len(append.events) for group in journal.groups for batch in group for append in batch]
    for crash in range(len(sizes) + 1):
        records = journal.records[: sum(sizes[:crash])]
        again, later = restart_of(records), ManualClock(records[-1].time if records else start)
        async with Runtime(again, EVERYBODY, clock=later) as runtime:
            await pass_time(runtime, later, 50, 50)
        check_once(again.records)
        check_never_early(again.records)
        wound = {content(record)["name"] for record in of(again.records, "service.reminder")} - {"e"}
        assert {text for text, _ in struck_at(again.records, start)} == wound
        assert len(struck_at(again.records, start)) == len(wound)


@pytest.mark.parametrize("seed", range(5))
async def test_killed_at_random_each_takes_effect_once(seed: int) -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock, chaos=Chaos(seed, 0.6)) as runtime:
        for n in range(10):
            await runtime.ask(BELL, Wind("x", (strike(f"{n}", n),)), id=f"{n}")
            await runtime.remind(BELL, f"{n}", Strike(f"other {n}"), after=timedelta(seconds=n))
        await pass_time(runtime, clock, 200, 40)
    texts = [text for text, _ in struck_at(journal.records, 0)]
    assert sorted(texts) == sorted([f"{n}" for n in range(10)] + [f"other {n}" for n in range(10)])
    check_once(journal.records)


async def test_a_second_copy_of_a_firing_does_nothing() -> None:
    """Nor does one that somebody has sent by hand, with its id: the reminder is done with it."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 5), strike("b", 5))
        due = clock.now() + 5 * SECOND
        assert await runtime.ask(BELL, Strike("a"), id=f"Bell/big~a/2@{due}") == 0
        await pass_time(runtime, clock, 5)
        assert await struck(runtime) == ("a", "b")
        assert await runtime.ask(BELL, Strike("b"), id=f"Bell/big~b/3@{due}") == 1
        assert await struck(runtime) == ("a", "b")
        assert await runtime.reminders(BELL) == []


async def test_forgotten_or_replaced_while_it_is_in_the_mailbox_it_does_not_come() -> None:
    clock = ManualClock()
    async with Runtime("memory:", EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 5), strike("b", 5), strike("c", 5))
        sent = runtime.tell(BELL, Wind("x", (DROP, strike("b", 7))))  # its turn comes first
        clock.advance(5)
        await sent
        await quiet(runtime)
        assert await struck(runtime) == ("c",)
        await pass_time(runtime, clock, 7)
        assert await struck(runtime) == ("c", "b")


# -- the clock ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-3_600.0, 3_600.0])
@pytest.mark.parametrize("awake", [True, False])
async def test_the_wall_clock_steps_by_an_hour(step: float, awake: bool) -> None:
    """FAILURES 31: it comes when the wall says so, within the longest nap, and never before."""
    journal, clock = HeldJournal(), ManualClock()
    start = clock.now()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("soon", 60), strike("later", 3_660), strike("often", every=600))
        if not awake:
            await runtime.kill(BELL)
        clock.step(step)
        await pass_time(runtime, clock, 7_400, 740)
    times = dict(struck_at(journal.records, start))
    assert set(times) == {"soon", "later", "often"}
    if step < 0:
        assert (times["soon"], times["later"]) == (60, 3_660)
    else:
        assert times["soon"] == pytest.approx(3_610, abs=1)
        assert times["later"] == 3_660
    check_never_early(journal.records)


async def test_the_clock_is_set_back_between_the_alarm_and_the_turn() -> None:
    journal, clock = HeldJournal(), ManualClock()
    start = clock.now()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 60))
        await quiet(runtime)
        clock.advance(60)  # it is in the mailbox now
        clock.step(-30)
        await quiet(runtime)
        assert await struck(runtime) == ()
        await pass_time(runtime, clock, 30, 30)
    assert struck_at(journal.records, start) == [("a", 60)]


# -- failing ------------------------------------------------------------------------------------------------------


async def test_one_that_fails_is_tried_again_with_the_same_id_until_it_works() -> None:
    journal, clock = HeldJournal(), ManualClock()
    start = clock.now()
    DOWN.add("a")
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 10, every=10))
        await pass_time(runtime, clock, 25, 250)
        assert await struck(runtime) == ()
        assert (await runtime.reminders(BELL))[0].due == datetime.fromtimestamp(start / 1e6 + 10, UTC)
        DOWN.clear()
        await pass_time(runtime, clock, 20, 2_000)
    found = struck_at(journal.records, start)
    assert 25 <= found[0][1] <= 10 + 2 * 16  # it doubles: tried at the latest when it has been failing twice as long
    grid = [40, 50][: len(found) - 1] if found[0][1] >= 30 else [30, 40][: len(found) - 1]
    assert [round(seconds) for _, seconds in found[1:]] == grid
    assert of(journal.records, "Struck")[0].command == f"Bell/big~a/2@{start + 10 * SECOND}"
    assert len(journal.groups) < 20
    check_never_early(journal.records)


async def test_a_retry_outlives_its_service_and_its_node() -> None:
    journal, clock = HeldJournal(), ManualClock()
    DOWN.add("a")
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 10))
        await pass_time(runtime, clock, 10)
        node = node_of(runtime)
        cell = node.find(BELL)
        assert cell is not None
        node.release(cell)
        assert node.find(BELL) is None
        await pass_time(runtime, clock, 3, 30)
        assert await struck(runtime) == ()
        (sleeper,) = await journal.sleeping()
        assert sleeper.wake > clock.now()
    DOWN.clear()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await pass_time(runtime, clock, 60, 60)
        assert await struck(runtime) == ("a",)
        assert await journal.sleeping() == []


@pytest.mark.parametrize("apart", [True, False], ids=["a service each", "one service"])
async def test_failing_ones_keep_nobody_waiting(apart: bool) -> None:
    """FAILURES 21: 101 bad, 1 good."""
    journal, clock = HeldJournal(), ManualClock()
    start = clock.now()
    DOWN.update(f"bad {n}" for n in range(101))
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        for n in range(101):
            await wind(runtime, strike(f"bad {n}", 5), address=Bell.at(f"{n}") if apart else BELL)
        await wind(runtime, strike("good", 5), strike("soon", 30), strike("often", every=10))
        await pass_time(runtime, clock, 60, 60)
        assert struck_at(journal.records, start) == [
            ("good", 5), ("often", 10), ("often", 20), ("soon", 30), ("often", 30), ("often", 40), ("often", 50),
            ("often", 60),
        ]  # fmt: skip
        DOWN.clear()
        await pass_time(runtime, clock, 120, 60)
    assert len(of(journal.records, "Struck")) > 101 + 8
    check_never_early(journal.records)


async def test_a_refusal_counts_as_done() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("never", 5), strike("a", 6))
        await pass_time(runtime, clock, 100, 10)
        assert await struck(runtime) == ("a",)
        assert await runtime.reminders(BELL) == []
    assert [content(record).get("refused") for record in of(journal.records, "service.reminded")] == [
        "it never strikes", None,
    ]  # fmt: skip


async def test_a_service_that_is_parked_with_one_in_its_mailbox_gets_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Bell, state: Any, event: Any) -> Any:
        raise ValueError("a bug")

    monkeypatch.setattr(Bell, "restart", RestartPolicy(restarts=0))
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 5))
        await quiet(runtime)
        clock.advance(5)
        with monkeypatch.context() as bug:
            bug.setattr(Bell, "evolve", fails)
            await runtime.kill(BELL)
            await pass_time(runtime, clock, 10, 10)
            with pytest.raises(Parked):
                await runtime.reminders(BELL)
        await pass_time(runtime, clock, 120, 60)
        assert await struck(runtime) == ("a",)


async def test_reminders_of_a_class_that_is_not_here_wait() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 5))
        await runtime.remind(BELL, "b", Strike("b"), after=timedelta(seconds=5))
    without = [actor for actor in EVERYBODY if actor is not Bell]
    async with Runtime(journal, without, clock=clock) as runtime:
        await pass_time(runtime, clock, 100, 10)
        assert (await runtime.ask(Trip.at("t"), BookTrip(["r"]))).trip == "t"
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await pass_time(runtime, clock, 60, 6)
        assert sorted(await struck(runtime)) == ["a", "b"]


async def test_a_lost_journal_loses_no_reminder() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 5), strike("b", 20))
        journal.fail = ["before"]
        clock.advance(5)  # the firing's own events are lost
        await pass_time(runtime, clock, 5, 10)
        journal.fail = ["after"]
        with pytest.raises(OutcomeUnknown):
            await runtime.ask(Room.at("r"), Hold("t"))
        await pass_time(runtime, clock, 20, 20)
        assert await struck(runtime) == ("a", "b")
    check_once(journal.records)


async def test_sagas_alone_are_unfinished() -> None:
    journal = MemoryJournal()
    async with Runtime(journal, EVERYBODY, clock=ManualClock()) as runtime:
        await wind(runtime, strike("a", 5))
        await runtime.remind(Room.at("r"), "b", Hold("t"), after=timedelta(0))
        assert await runtime.unfinished() == []
        assert len(await journal.sleeping()) == 2
