"""Exploring goes through every fault, says what it has reached, and tells the smallest failing story."""

import asyncio
import re
from datetime import timedelta
from itertools import pairwise

import pytest

from actors import Actor, Refused
from runtime.simulation import (
    Deadlock,
    Effects,
    InvariantBroken,
    Plan,
    Simulation,
    World,
    always,
    eventually,
    finally_,
)
from runtime.simulation.faults import plan_of
from runtime.simulation.points import every_fault
from tests.runtime.cast import ALL, Account, BookTrip, Hold, Room, TakeTour, Tour, Trip, Withdraw
from tests.simulation import company
from tests.simulation.company import (
    ACTORS,
    FLIGHTS,
    INVARIANTS,
    SCENARIOS,
    Flight,
    Mailer,
    SendLetter,
    TripSaga,
    is_refused,
    post,
)


async def book(world: World) -> None:
    await world.runtime.ask(Trip.at("t"), BookTrip(["flight", "hotel"]), id="t")


# -- what is gone through ------------------------------------------------------------------------------------


def test_depth_1_is_every_fault_at_every_point() -> None:
    simulation = Simulation()
    base = simulation.run(book, actors=ALL)
    plans = list(every_fault(Plan(), base.points))
    assert len(set(plans)) == len(plans)
    explored = simulation.explore(book, actors=ALL, runs=0)
    assert explored.runs == 1 + len(plans)
    assert sum(explored.faults.values()) == len(plans)  # each has happened
    kept = [plan.faults[0].how for plan in plans if plan.faults[0].what == "crash" and plan.faults[0].place == "write"]
    batches = [point.batches for point in base.points if point.place == "write"]
    assert kept == [str(number) for count in batches for number in range(count + 1)]  # every prefix of the journal
    for what in ("kill before", "kill after"):
        for sort in ("Trip: BookTrip", "Room: Hold", "Trip: StepOutcome"):
            assert explored.faults[f"{what} at a turn {sort}"], (what, sort)
    assert "Room: Release" in explored.points  # a reply that comes too late makes the saga go back
    assert "Tour: TakeTour" in explored.not_reached
    assert "246 faults" not in str(explored)
    assert re.match(
        rf"{explored.runs} runs, {len(plans)} faults, \d+ different orders of turns, \d+ different journals\n",
        str(explored),
    )


def test_the_real_runtime_keeps_its_promises_at_depth_2() -> None:
    explored = Simulation().explore(*SCENARIOS, actors=ACTORS, invariants=INVARIANTS, outside=post, depth=2, runs=300)
    assert explored.schedules > 100
    assert not explored.not_reached


def test_tours_survive_as_well() -> None:
    async def tours(world: World) -> None:
        await world.runtime.ask(Tour.at("naps"), TakeTour(["flight", "hotel"], "ana", nap=60.0), id="naps")
        with pytest.raises(Refused):
            await world.runtime.ask(Tour.at("full"), TakeTour(["flight", "full"], "ana"), id="full")

    def balanced(world: World) -> None:
        assert world.state_of(Account.at("ana")).amount == 90
        assert world.state_of(Account.at("guide")).amount == 110
        assert world.state_of(Room.at("flight")).held == ("naps",)

    Simulation().explore(tours, actors=ALL, invariants=[finally_(balanced)], runs=100)


def test_other_seeds_are_other_runs() -> None:
    traces = {Simulation(seed).run(book, actors=ALL).trace for seed in range(5)}
    assert len(traces) == 5


def test_negative_budgets_are_refused() -> None:
    with pytest.raises(ValueError, match="depth and runs are at least 0"):
        Simulation().explore(book, actors=ALL, depth=-1)


def test_a_year_of_naps_takes_no_time() -> None:
    async def naps(world: World) -> None:
        before = world.now
        await world.runtime.ask(Tour.at("t"), TakeTour(["r"], "ana", nap=365 * 86_400.0), id="t")
        assert timedelta(days=365) <= world.now - before < timedelta(days=366)

    result = Simulation().run(naps, actors=ALL)
    assert result.steps < 1_000


# -- invariants ---------------------------------------------------------------------------------------------


def test_always_is_looked_at_whenever_something_is_durable() -> None:
    seen: list[int] = []

    async def twice(world: World) -> None:
        await world.runtime.ask(Room.at("a"), Hold("t"), id="1")
        await world.runtime.ask(Room.at("b"), Hold("t"), id="2")

    def at_most_one_room(world: World) -> bool:
        seen.append(len(world.records))
        return len(world.records) < 2

    with pytest.raises(InvariantBroken, match=r"broken: at most one room\n  it does not hold"):
        Simulation().run(twice, actors=ALL, invariants=[always(at_most_one_room)])
    assert [after - before for before, after in pairwise(seen)] == [1] * (len(seen) - 1)


def test_finally_is_looked_at_once_at_the_end() -> None:
    seen: list[int] = []
    Simulation().run(book, actors=ALL, invariants=[finally_(lambda world: seen.append(len(world.records)))])
    assert len(seen) == 1


def test_eventually_has_its_time() -> None:
    async def naps(world: World) -> None:
        await world.runtime.start(Tour.at("t"), TakeTour(["r"], "ana", nap=60.0))

    def paid(world: World) -> bool:
        return bool(world.events(Account.at("ana")))

    Simulation().run(naps, actors=ALL, invariants=[eventually(paid, within=timedelta(seconds=61))])
    with pytest.raises(InvariantBroken, match=r"broken: paid\n  it did not hold within 0:00:59 of the last fault"):
        Simulation().run(naps, actors=ALL, invariants=[eventually(paid, within=timedelta(seconds=59))])
    with pytest.raises(InvariantBroken, match="broken: never"):
        Simulation().run(
            book, actors=ALL, invariants=[eventually(lambda _: False, within=timedelta(hours=1), name="never")]
        )


def test_what_a_scenario_raises_is_a_failure() -> None:
    async def wrong(world: World) -> None:
        assert (await world.runtime.ask(Room.at("r"), Hold("t"), id="1")).number == 2, "the second"

    with pytest.raises(InvariantBroken, match="broken: wrong works\n  AssertionError: the second"):
        Simulation().run(wrong, actors=ALL)


def test_an_actor_that_fails_without_any_fault_is_a_failure() -> None:
    class Broken(Actor):
        async def receive(self, message: SendLetter) -> None:
            raise ZeroDivisionError

    Broken.__name__ = Broken.__qualname__ = "Mailer"

    async def sends(world: World) -> None:
        await world.runtime.ask(Mailer.at("m"), SendLetter("hello"), id="1")

    with pytest.raises(InvariantBroken, match=r"broken: sends works\n  Failed: .*ZeroDivisionError"):
        Simulation().run(sends, actors=[Broken])


def test_waiting_for_nobody_is_a_failure() -> None:
    async def waits(world: World) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(InvariantBroken, match=r"(?s)nothing can happen any more.*waits, line \d+: await"):
        Simulation().run(waits, actors=ALL)
    assert issubclass(Deadlock, Exception)


# -- the smallest story -------------------------------------------------------------------------------------


class Careless(Mailer):
    """Tells the outside world as often as it is told."""

    async def receive(self, message: SendLetter) -> None:
        Mailer.post.calls += 1
        Mailer.post.do(f"letter {Mailer.post.calls}", message.text)


Careless.__name__ = Careless.__qualname__ = "Mailer"
CARELESS = [Flight, Careless, TripSaga]


async def one_trip(world: World) -> None:
    await world.runtime.ask(TripSaga.at("fine"), company.BookTrip(FLIGHTS["fine"]), id="fine")


def test_the_report_tells_the_smallest_story_and_its_plan_is_it_again() -> None:
    with pytest.raises(InvariantBroken) as failed:
        Simulation().explore(one_trip, is_refused, actors=CARELESS, outside=post)
    text, result = str(failed.value), failed.value.result
    assert text.startswith("broken: no effect twice\n  'fine is booked' was done twice, as ['letter 1', 'letter ")
    (fault,) = result.fired
    assert (fault.what, fault.place, fault.how) == ("kill", "handling", "after")
    assert "the smallest that shows it has 1 fault and 0 choices" in text
    assert ">>> the actor is killed after Mailer/m handles SendLetter" in text
    assert "the journal when kill-h1.after happened" in text
    assert "the journal at the end" in text
    assert "sequenceDiagram" in text
    assert f'Simulation(replay="{result.plan}")' in text
    with pytest.raises(InvariantBroken) as again:
        Simulation(replay=str(result.plan)).explore(one_trip, is_refused, actors=CARELESS, outside=post)
    assert again.value.result.trace == result.trace
    Simulation(replay=str(result.plan)).explore(one_trip, is_refused, actors=ACTORS, outside=post)  # one that keeps ids


def test_a_race_is_found_by_schedules_and_shrunk_to_few_choices() -> None:
    """Two who look before they leap: fine in most orders, and wrong where both look first."""

    async def takes(world: World) -> None:
        account = Account.at("shared")
        if world.state_of(account).amount == 100:
            await world.sleep(0)
            await world.runtime.ask(account, Withdraw(60), id=str(id(takes)))

    async def takes_too(world: World) -> None:
        await world.sleep(0.0001)
        account = Account.at("shared")
        if world.state_of(account).amount == 100:
            await world.runtime.ask(account, Withdraw(30), id="other")

    def one_at_the_most(world: World) -> bool:
        return len(world.events(Account.at("shared"))) < 2

    with pytest.raises(InvariantBroken) as failed:
        Simulation().explore(takes, takes_too, actors=[Account], invariants=[finally_(one_at_the_most)], depth=0)
    assert not failed.value.result.fired
    assert len(failed.value.result.plan.given) <= 2


def test_effects_know_repeats() -> None:
    effects = Effects()
    assert effects.do("1", "letter")
    assert not effects.do("1", "letter")
    assert effects.repeats() == []
    assert effects.do("2", "letter")
    effects.do("2", "bill")
    assert effects.repeats() == [
        "the id '2' came with 'letter' and then with 'bill'",
        "'letter' was done twice, as ['1', '2']",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "seed-0",
        "seed-7+random",
        "seed-1+pct+crash-w3.2",
        "seed-0+kill-t1.before+late-t2.3600+twice-t3+fail-v1.after+step-w1.-3600+full-w2.30+crash-h1.after",
        "seed-0+choice-3.1+choice-17.2",
    ],
)
def test_a_plan_is_its_text(text: str) -> None:
    assert str(plan_of(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "hello", "seed-0+crash-t1.before", "kill-w1.before", "twice-t1.x", "late-t1.soon", "crash-w1.-1", "seed-x"],
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="copy the whole line"):
        Simulation(replay=text)


def test_the_report_tells_what_the_runtime_has_logged() -> None:
    with pytest.raises(InvariantBroken, match=r"log: event='actor crashed' actor='Mailer/m'") as failed:
        Simulation().explore(one_trip, actors=[Flight, Careful, TripSaga], outside=post, runs=0)
    plain = Simulation(replay=str(failed.value.result.plan))
    with pytest.raises(InvariantBroken) as again:
        plain.run(one_trip, actors=[Flight, Careful, TripSaga], outside=post)
    assert again.value.result.trace == failed.value.result.trace


class Careful(Mailer):
    """Crashes with the second copy of a message, and then tells the outside world again."""

    crashed = 0

    async def receive(self, message: SendLetter) -> None:
        if Mailer.post.calls == 1:
            Mailer.post.calls += 1
            raise ZeroDivisionError
        Mailer.post.do(f"letter {Mailer.post.calls}", message.text)


Careful.__name__ = Careful.__qualname__ = "Mailer"


def test_what_can_not_be_simulated_is_refused() -> None:
    with pytest.raises(ValueError, match="give it a scenario"):
        Simulation().explore(actors=ALL)
    with pytest.raises(ValueError, match="a simulation has a clock of its own"):
        Simulation().run(book, actors=ALL, clock=None)
    with pytest.raises(ValueError, match="a simulation has one node; name also the classes of others in actors="):
        Simulation().run(book, actors=ALL[1:], remote=ALL[:1], network="nats://127.0.0.1:4222")


async def test_it_runs_within_a_running_loop_too() -> None:
    loop = asyncio.get_running_loop()
    assert Simulation().run(book, actors=ALL).trace == Simulation().run(book, actors=ALL).trace
    assert asyncio.get_running_loop() is loop
    await asyncio.sleep(0)
