"""What reports say beyond the story: what helps, what was reached, what was not; and what invariants look at."""

from collections.abc import Iterator

import pytest

from actors import Command, Decision, Event, Meta, ReadModel, Refused, Saga, Service, State, Statement, sql
from runtime import BaseInstrument
from runtime.simulation import InvariantBroken, Simulation, World, finally_
from runtime.simulation.run import Run, RunResult


class Paid(Event):
    euros: int


class PaidBack(Event):
    euros: int


class Pay(Command["Till", int]):
    euros: int


class PayBack(Command["Till", int]):
    euros: int


class Cash(State):
    euros: int = 0


class Till(Service[Cash, Pay | PayBack, Paid | PaidBack]):
    initial = Cash()

    def decide(self, state: Cash, command: Pay | PayBack) -> Decision:
        if isinstance(command, Pay):
            return command.reply(state.euros + command.euros, Paid(command.euros))
        return command.reply(state.euros - command.euros, PaidBack(command.euros))

    def evolve(self, state: Cash, event: Paid | PaidBack) -> Cash:
        return Cash(state.euros + (event.euros if isinstance(event, Paid) else -event.euros))


class Takings(ReadModel):
    schema = "create table takings (till text primary key, euros int not null)"
    again = 0
    """What a read model must not have: something that it counts by itself."""

    def project(self, event: Paid | PaidBack, meta: Meta) -> Iterator[Statement]:
        euros = event.euros + Takings.again
        text = "insert into takings values (?, ?) on conflict (till) do update set euros = euros + excluded.euros"
        yield sql(text, meta.key, euros if isinstance(event, Paid) else -euros)


async def pays_back(world: World) -> None:
    await world.runtime.ask(Till.at("t"), PayBack(5), id="back")


async def pays(world: World) -> None:
    await world.runtime.ask(Till.at("t"), Pay(7), id="pay")


def test_an_actor_that_was_forgotten_is_told() -> None:
    class Buy(Command["Sale", None]):
        pass

    class Sale(Saga[Buy, None]):
        async def run(self, command: Buy) -> None:
            await self.ask("pay", Till.at("t"), Pay(7), undo=PayBack(7))

    async def buys(world: World) -> None:
        await world.runtime.ask(Sale.at("s"), Buy())

    with pytest.raises(InvariantBroken) as failed:
        Simulation().explore(buys, actors=[Sale], runs=0)
    assert failed.value.result.broken is not None
    assert failed.value.result.broken.name == "every saga ends"
    assert "there is no actor 'Till' here, only Sale; add its class to actors=[...]" in str(failed.value)


def test_what_only_sounds_alike_was_not_reached() -> None:
    explored = Simulation().explore(pays_back, actors=[Till], runs=0)
    assert explored.not_reached == ["Till: Pay", "Till:Paid"]


def test_a_report_says_what_helps_and_what_was_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    project = Takings.project

    def unsteady(self: Takings, event: Paid | PaidBack, meta: Meta) -> Iterator[Statement]:
        Takings.again += 1
        return project(self, event, meta)

    monkeypatch.setattr(Takings, "again", 0)
    monkeypatch.setattr(Takings, "project", unsteady)
    with pytest.raises(InvariantBroken) as failed:
        Simulation().explore(pays, actors=[Till, Takings])
    text = str(failed.value)
    assert "broken: read models are the fold of the journal\n" in text
    assert "\nwhat helps: project must be pure" in text
    assert "\nreached so far: 1 x Till: Pay\n" in text
    assert text.endswith("\nnot reached so far: Till: PayBack, Till:PaidBack")


def test_invariants_look_at_rows() -> None:
    seen: list[list[tuple[object, ...]]] = []

    def balanced(world: World) -> bool:
        seen.append(world.rows(Takings, "select till, euros from takings where euros <> ?", 0))
        return seen[-1] == [("t", 7)]

    Simulation().explore(pays, actors=[Till, Takings], invariants=[finally_(balanced)], runs=5)
    assert len(seen) > 5


def test_what_is_built_in_is_looked_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says more of the cause."""
    monkeypatch.setattr(Takings, "schema", f"{Takings.schema}; create table numbers as select random() as one")
    with pytest.raises(InvariantBroken) as failed:
        Simulation().explore(pays, actors=[Till, Takings], invariants=[finally_(lambda _: False, "never")])
    assert failed.value.result.broken is not None
    assert failed.value.result.broken.name == "read models are the fold of the journal"


@pytest.mark.parametrize("instruments", [(), (BaseInstrument(),)], ids=["alone", "observed"])
def test_a_refusal_in_evolve_is_told(monkeypatch: pytest.MonkeyPatch, instruments: tuple[BaseInstrument, ...]) -> None:
    """A client can't tell it from one in decide, and would take it for an answer."""
    evolve = Till.evolve

    def refuses(self: Till, state: Cash, event: Paid | PaidBack) -> Cash:
        if isinstance(event, PaidBack) and event.euros > state.euros:
            raise Refused("there isn't so much")
        return evolve(self, state, event)

    Simulation().explore(pays_back, actors=[Till], runs=5, instruments=instruments)
    monkeypatch.setattr(Till, "evolve", refuses)
    with pytest.raises(InvariantBroken) as failed:
        Simulation().explore(pays_back, actors=[Till], runs=5, instruments=instruments)
    text = str(failed.value)
    assert "broken: evolve refuses nothing\n  Till.evolve refuses PaidBack(euros=5): there isn't so much\n" in text
    assert "\nwhat helps: an event has happened, and evolve only says what it leads to" in text


@pytest.mark.parametrize("word", ["random()", "'same'"])
def test_an_index_of_words_is_compared_by_its_words(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """And not by how they lie in it, which depends on the batches in which they came."""
    words = f"create virtual table words using fts5 (word); insert into words values ({word})"
    monkeypatch.setattr(Takings, "schema", f"{Takings.schema}; {words}")
    if word == "'same'":
        Simulation().explore(pays, actors=[Till, Takings], runs=5)
        return
    with pytest.raises(InvariantBroken, match="table words holds"):
        Simulation().explore(pays, actors=[Till, Takings], runs=5)


def test_two_explorations_have_few_runs_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    go = Run.go
    plans: list[set[str]] = []

    def noting(self: Run) -> RunResult:
        result = go(self)
        plans[-1].add(str(result.plan))
        return result

    monkeypatch.setattr(Run, "go", noting)
    for seed in (0, 0, 1, 2):
        plans.append(set())
        Simulation(seed).explore(pays, actors=[Till], depth=0, runs=50)
    assert len(plans[0]) == 51
    assert plans[1] == plans[0]
    assert not plans[0] & (plans[2] | plans[3])


def test_no_turn_is_slow_in_virtual_time() -> None:
    with pytest.raises(InvariantBroken) as failed:
        Simulation(replay="seed-0+crash-w1.0").explore(pays, actors=[Till], invariants=[finally_(lambda _: False)])
    assert "the next process starts" in str(failed.value)
    assert "slow turn" not in str(failed.value)
