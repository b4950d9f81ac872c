"""Who was under way at crashes lines up: a few go at a time, the most suspect alone, nobody else waits. Failure 22."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
import pytest

from persistence import MemoryJournal, Record
from runtime import ManualClock, Runtime
from runtime.suspects import GATHER, LONGEST, PATIENCE, Suspect, Suspects
from runtime.timers import Timers
from tests.runtime.cast import ALL, DOWN, Begin, BookTrip, Desk, Held, Note, Play, Trip
from tests.runtime.ending import Stage, counted
from tests.runtime.poisoning import INNOCENTS, ROOMS, deadly_stage, ended, ended_in, in_flight
from tests.runtime.tools import check_once, comes, of, quiet, restart_of


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return deadly_stage(monkeypatch)


@asynccontextmanager
async def released(answer: asyncio.Event) -> AsyncGenerator[None]:
    """Let those go who wait for the answer, also where the test fails: the runtime closes behind it."""
    try:
        yield
    finally:
        answer.set()


async def suspects(stage: Stage, count: int, crashes: int) -> list[str]:
    """Have sagas under way that had a hand in so many crashes; Desk never answers them until it is told to."""
    keys = [f"s{n}" for n in range(count)]

    async def wait(self: Play, command: Begin) -> Held:
        await self.ask("note", Desk.at(self.key), Note(self.key))
        return Held(1)

    Play.script = wait
    DOWN.add("desk")

    async def begin(runtime: Runtime) -> None:
        for key in keys:
            await runtime.tell(Play.at(key), Begin())

    await stage.process(begin, seconds=0)
    DOWN.clear()
    records: list[Record] = []
    for record in stage.records:  # as if none of their failures was known
        if record.type != "saga.failed":
            records.append(msgspec.structs.replace(record, position=len(records) + 1))
    for _ in range(crashes):
        for key in keys:
            version = sum(record.stream == ("Play", key) for record in records) + 1
            data = b'{"crashes":%d}' % (version - 2)
            records.append(
                Record(len(records) + 1, ("Play", key), version, "saga.resumed", stage.clock.now(), None, data, b"{}")
            )
    stage.records = records
    Desk.inbox.clear()
    return keys


# -- the line -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("crashes", "first"), [(0, 40), (1, 5), (2, 5), (3, 5), (4, 1)])
async def test_suspects_line_up_and_the_next_go_after_a_while(crashes: int, first: int, stage: Stage) -> None:
    """The last one that went on before the crash goes first; who would be parked next goes alone."""
    keys, answer = await suspects(stage, 40, crashes), asyncio.Event()
    if crashes:
        keys.reverse()

    async def never(self: Desk, message: Note) -> str:
        await answer.wait()
        return message.text

    Desk.script = never
    patience = round(PATIENCE * 2**crashes)
    clock, journal = stage.clock, restart_of(stage.records)
    async with Runtime(journal, ALL, clock=clock) as runtime, released(answer):

        async def sent(count: int) -> None:
            await comes(lambda: len(Desk.inbox) >= count)
            for _ in range(1_000):
                await asyncio.sleep(0)
            assert [text for _, text in Desk.inbox] == keys[:count]
            # Those that stand in the line have counted nothing.
            assert [key for key in keys if len(counted(journal.records, key)) > crashes] == keys[:count]

        if first < len(keys):
            await sent(0)
            clock.advance(GATHER + 0.001)
        await sent(first)
        if first < len(keys):
            clock.advance(patience - 0.001)
            await sent(first)
            clock.advance(0.002)
            await sent(2 * first)
        answer.set()  # and then each as soon as the one before it has its answer
        for key in keys:
            assert await runtime.result(Play.at(key)) == Held(1)
    assert len(Desk.inbox) == len(keys)


async def test_the_least_suspect_go_first_and_the_most_suspect_alone(stage: Stage) -> None:
    await in_flight(stage, (Trip.at("p"), BookTrip(["poison"])))
    for _ in range(2):
        assert not await stage.process()
    before, least = len(stage.records), {key for key in INNOCENTS if key not in ended(stage)}
    least = {key for key in least if counted(stage.records, key) == [1]}
    assert least
    assert not await stage.process()
    assert {ended(stage)[key] for key in least} == {"completed"}
    resumed = [record.stream[1] for record in of(stage.records[before:], "saga.resumed")]
    assert set(resumed[: len(least)]) == least
    assert resumed[-1] == "p"


async def test_a_journal_that_is_lost_meanwhile_lets_them_line_up_again(stage: Stage) -> None:
    keys = await suspects(stage, 40, 1)
    journal = restart_of(stage.records)
    journal.fail = ["before", "after", "", "before"]
    async with Runtime(journal, ALL, clock=stage.clock) as runtime:
        for _ in range(7):  # less than the line's patience: nobody waits for one that is gone
            await quiet(runtime)
            stage.clock.advance(0.25)
        assert await runtime.unfinished() == []
        assert [await runtime.result(Play.at(key)) for key in keys] == [Held(1)] * 40
    assert {tuple(counted(journal.records, key)) for key in keys} <= {(1, 2), (1, 2, 3)}
    check_once(journal.records)


async def test_who_is_killed_in_the_line_keeps_its_place(stage: Stage) -> None:
    keys = await suspects(stage, 20, 2)
    journal = restart_of(stage.records)
    async with Runtime(journal, ALL, clock=stage.clock) as runtime:
        for key in (*keys, *keys):
            await runtime.kill(Play.at(key))
        await quiet(runtime)
        stage.clock.advance(1)
        assert [await runtime.result(Play.at(key)) for key in keys] == [Held(1)] * 20
    assert {tuple(counted(journal.records, key)) for key in keys} == {(1, 2, 3)}
    assert len(Desk.inbox) == 20


async def test_closing_leaves_the_line_as_it_is(stage: Stage) -> None:
    keys = await suspects(stage, 20, 4)
    journal = restart_of(stage.records)
    journal.hold()
    async with Runtime(journal, ALL, clock=stage.clock) as runtime:
        await quiet(runtime)
        stage.clock.advance(1)
        await journal.arrived.wait()
        asyncio.get_running_loop().call_soon(journal.gate.set)
    assert [len(counted(journal.records, key)) for key in keys] == [*[4] * 19, 5]
    assert ended_in(journal.records) == {"s19": "completed"}


async def test_others_do_not_wait_for_the_line(stage: Stage) -> None:
    await suspects(stage, 20, 2)
    journal = restart_of(stage.records)
    journal.hold()
    async with Runtime(journal, ALL, clock=stage.clock) as runtime:
        journal.gate.set()
        assert (await runtime.ask(Trip.at("new"), BookTrip(ROOMS))).trip == "new"
        # Who asks a saga that stands in it waits for its result, as of any other.
        asked = asyncio.create_task(runtime.ask(Play.at("s0"), Begin()))
        await quiet(runtime)
        assert not asked.done()
        stage.clock.advance(1)
        assert await asked == Held(1)
        assert counted(journal.records, "new") == []


class Row:
    """A line with the clock in hand; ``gone`` are those that have gone on, in order."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.line = Suspects(MemoryJournal(crashed=True), self.clock, Timers(self.clock, self.clock.steady))
        self.gone: list[str] = []
        self.clear: set[str] = set()

    def come(self, name: str, crashes: int, left: int | None = None, position: int = 1) -> None:
        left = 5 - crashes if left is None else left
        suspect = Suspect(name, crashes, left, position, lambda: self.gone.append(name), lambda: name in self.clear)
        self.line.line_up(suspect)

    def look(self, *clear: str) -> list[str]:
        self.clear.update(clear)
        self.line.look()
        return self.gone


# -- being seen ---------------------------------------------------------------------------------------------------


def test_the_line_by_itself() -> None:
    """Who makes progress makes room, who comes twice stands there once, and none goes beside a more suspect one."""
    row = Row()
    row.come("a", 3)
    for name in "bcdefgh123":
        row.come(name, 1, position=ord(name))
    row.come("b", 1)
    row.come("a", 3)
    row.come("i", 0)
    row.come("j", 5)  # to be parked, which takes no turn of its code
    assert row.gone == ["i", "j"]
    row.clock.advance(GATHER + 0.001)
    assert row.gone == [*"ijhg"]  # an eighth, rounded up
    assert row.look("h") == [*"ijhgf"]
    row.come("k", 2)
    for _ in range(9):
        row.look(*"bcdefg")
    assert row.gone == [*"ijhgfedcb32"]
    assert row.look("3") == [*"ijhgfedcb321"]
    assert row.look("2") == [*"ijhgfedcb321"]  # none that is more suspect goes beside the last one
    assert row.look("1") == [*"ijhgfedcb321k"]
    row.clock.advance(4 * PATIENCE - 0.01)
    assert row.gone[-1] == "k"
    row.clock.advance(0.02)
    assert row.gone[-1] == "a"
    row.come("l", 1)
    assert row.gone[-1] == "a"
    row.line.clear()
    row.clock.advance(100)
    assert row.gone[-1] == "a"
    row.come("m", 2)
    row.clock.advance(1)
    assert row.gone[-1] == "m"
    row.line.close()
    row.come("n", 2)
    row.clock.advance(100)
    assert row.gone[-1] == "m"


@pytest.mark.parametrize(("crashes", "left", "patience"), [(0, 1, 1.0), (4, 1, 16.0), (40, 60, LONGEST)])
def test_who_would_be_parked_next_goes_alone_and_none_waits_for_ever(crashes: int, left: int, patience: float) -> None:
    row = Row()
    for name in "abcd":
        row.come(name, crashes, left, position=ord(name))
    row.clock.advance(GATHER + 0.001)
    for expected in ("d", "dc", "dcb", "dcba"):
        assert "".join(row.gone) == expected
        row.clock.advance(patience - 0.01)
        assert "".join(row.gone) == expected
        row.clock.advance(0.011)
