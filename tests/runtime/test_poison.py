"""What kills the process each time is counted before it is begun again, and parked in the end. Failure 22; P13, P14."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from actors import Parked, Refused, RetryPolicy
from actors.reminders import Remind
from persistence import MemoryJournal, Record
from runtime import Chaos, ManualClock, Runtime
from runtime.reminders import reminders_for
from runtime.suspects import GATHER, LONGEST, PATIENCE, Suspect, Suspects
from runtime.timers import Timers
from tests.runtime.cast import ALL, DOWN, Begin, BookTrip, Desk, Held, Hold, Note, Play, Release, Room, Trip
from tests.runtime.ending import Stage, counted
from tests.runtime.playing import PLAY
from tests.runtime.reminding import EVERYBODY, Bell, Strike, check_never_early, strike, wind
from tests.runtime.tools import check_books, check_once, comes, content, of, quiet, restart_of, types_of

INNOCENTS = [f"innocent {n}" for n in range(20)]
ROOMS = ["flight", "hotel", "cab"]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage on which the process ends when the room called poison has to decide, or Desk is told of poison.

    Not so while anything is down: then they fail.
    """
    stage = Stage()
    decide = Room.decide

    def deadly(self: Room, state: Any, command: Any) -> Any:
        if self.key == "poison" and not DOWN:
            stage.end()
        return decide(self, state, command)

    async def receive(self: Desk, message: Note) -> str:
        if message.text == "poison" and not DOWN:
            stage.end()
        if DOWN:
            raise ConnectionError("it is down")
        return message.text

    monkeypatch.setattr(Room, "decide", deadly)
    monkeypatch.setattr(Desk, "script", receive)
    return stage


async def in_flight(stage: Stage, *poison: tuple[Any, Any]) -> None:
    """Have innocent sagas under way when the first process ends, and poison among them, all about to try again."""
    DOWN.update([*ROOMS, "poison"])

    async def begin(runtime: Runtime) -> None:
        for key in INNOCENTS:
            await runtime.tell(Trip.at(key), BookTrip(ROOMS))
            for address, command in poison if key == INNOCENTS[7] else ():
                await runtime.tell(address, command)

    assert await stage.process(begin, seconds=0, crashed=False)
    assert len(of(stage.records, "saga.started")) == len(INNOCENTS) + len(poison)
    assert ended(stage) == {}
    DOWN.clear()


def ended_in(records: list[Record]) -> dict[str, str]:
    return {
        record.stream[1]: record.type.removeprefix("saga.")
        for record in of(records, "saga.completed", "saga.compensated", "saga.parked")
    }


def ended(stage: Stage) -> dict[str, str]:
    return ended_in(stage.records)


def check_innocents(stage: Stage) -> None:
    """All have come to their end; none was counted more than all together, with some others, and alone."""
    assert {key: ended(stage)[key] for key in INNOCENTS} == dict.fromkeys(INNOCENTS, "completed")
    assert max(max(counted(stage.records, key), default=0) for key in INNOCENTS) <= 3
    check_once(stage.records)


async def told_parked(runtime: Runtime, saga: Any, text: str) -> None:
    with pytest.raises(Parked, match=text):
        await runtime.result(saga)
    assert await runtime.unfinished() == [saga]
    assert (await runtime.ask(Trip.at("later"), BookTrip(ROOMS))).trip == "later"


# -- sagas --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["step", "actor", "code", "code at its end", "undo", "undo by an actor"])
async def test_a_saga_that_kills_the_process_is_parked_alone(
    what: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask_desk(self: Play, command: Begin) -> Held:
        await self.ask("note", Desk.at("d"), Note("poison"))
        return Held(1)

    async def code(self: Play, command: Begin) -> Held:
        if not DOWN and what == "code":
            stage.end()
        await self.ask("hotel", Room.at("hotel"), Hold("t"))
        stage.end()
        return Held(1)

    async def no_way_back(self: Play, command: Begin) -> Held:
        if what == "undo":
            await self.ask("flight", Room.at("undone"), Hold("t"), undo=Release("t"))
        else:
            await self.ask("flight", Desk.at("d"), Note("fine"), undo=Note("poison"))
        await self.ask("hotel", Room.at("hotel"), Hold("t"))
        raise Refused("enough")

    scripts = {"actor": ask_desk, "code": code, "code at its end": code}
    monkeypatch.setattr(Play, "script", scripts.get(what, no_way_back))
    if what == "undo":
        decide = Room.decide

        def deadly(self: Room, state: Any, command: Any) -> Any:
            return stage.end() if isinstance(command, Release) else decide(self, state, command)

        monkeypatch.setattr(Room, "decide", deadly)
    saga: Any = Trip.at("p") if what == "step" else PLAY
    await in_flight(stage, (saga, BookTrip(["poison"]) if what == "step" else Begin()))
    ends = await stage.processes()
    assert ends == (6 if what == "undo by an actor" else 5)  # that it has turned is progress, and durable
    assert counted(stage.records, "p")[-5:] == [1, 2, 3, 4, 5]
    assert ended(stage)["p"] == "parked"
    check_innocents(stage)
    (parked,) = of(stage.records, "saga.parked")
    assert content(parked)["error"].startswith(f"PoisonMessage: the process crashed 6 times in a row while {saga} was")
    # It stays so, as others that are parked do, and nothing more is written for it.
    count = len(types_of(stage.records, saga))
    assert await stage.process(lambda runtime: told_parked(runtime, saga, "PoisonMessage"))
    assert len(types_of(stage.records, saga)) == count


async def test_what_is_sent_again_was_counted_durably_before(stage: Stage) -> None:
    await in_flight(stage, (Trip.at("p"), BookTrip(["poison"])))
    for ends in range(1, 6):
        assert not await stage.process()  # what is left is the journal as it was when the handler was called
        assert types_of(stage.records, Trip.at("p"))[-1] == "saga.resumed"
        assert counted(stage.records, "p") == [*range(1, ends + 1)]


async def test_a_journal_that_was_closed_counts_nothing(stage: Stage) -> None:
    await in_flight(stage, (Trip.at("p"), BookTrip(["poison"])))
    DOWN.update([*ROOMS, "poison"])
    for _ in range(20):
        assert await stage.process(crashed=False, seconds=0)
    DOWN.clear()
    assert not await stage.process(crashed=False)
    assert counted(stage.records, "p") == []
    assert of(stage.records, "saga.resumed", "saga.parked") == []


async def test_the_count_outlives_a_journal_that_was_closed(stage: Stage) -> None:
    await in_flight(stage, (Trip.at("p"), BookTrip(["poison"])))
    for _ in range(3):
        assert not await stage.process()
    assert counted(stage.records, "p") == [1, 2, 3]
    assert not await stage.process(crashed=False)
    assert await stage.processes() == 2
    assert counted(stage.records, "p") == [1, 2, 3, 4, 5]
    assert ended(stage)["p"] == "parked"


async def test_progress_begins_the_count_anew(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps; each ends the process at its first five attempts."""
    attempts: list[str] = []

    async def steps(self: Play, command: Begin) -> Held:
        for n in range(10):
            await self.ask(f"{n}", Desk.at("d"), Note(f"{n}"))
        return Held(1)

    async def deadly(self: Desk, message: Note) -> str:
        attempts.append(message.text)
        if attempts.count(message.text) <= 5:
            stage.end()
        return message.text

    monkeypatch.setattr(Play, "script", steps)
    monkeypatch.setattr(Play, "deadline", None)
    monkeypatch.setattr(Desk, "script", deadly)
    await stage.process(lambda runtime: runtime.tell(PLAY, Begin()), seconds=0)
    assert await stage.processes(most=100) == 49  # and once before
    assert ended(stage) == {"p": "completed"}
    assert max(counted(stage.records, "p")) == 5


async def test_a_failure_is_progress_too(stage: Stage) -> None:
    """The handler came back: it has not ended the process."""
    DOWN.add("hotel")
    await stage.process(lambda runtime: runtime.tell(Trip.at("t"), BookTrip(["hotel"])), seconds=0)
    for _ in range(10):
        assert await stage.process(seconds=0)
    assert counted(stage.records, "t") == [1] * 10
    DOWN.clear()
    assert await stage.process()
    assert ended(stage) == {"t": "completed"}


@pytest.mark.parametrize("child", [False, True])
async def test_a_saga_that_only_waits_has_no_hand_in_it(
    child: bool, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For its time, or for another saga: as many crashes as there may be in three weeks don't park it."""

    async def wait(self: Play, command: Begin) -> Held:
        if child and command.line == "":
            return await self.ask("wait", Play.at("child"), Begin("child"))
        await self.sleep("nap", timedelta(days=21))
        return Held(1)

    monkeypatch.setattr(Play, "script", wait)
    monkeypatch.setattr(Play, "deadline", None)
    await stage.process(lambda runtime: runtime.tell(PLAY, Begin()), seconds=0)
    for _ in range(10):
        assert await stage.process(seconds=0)
    assert counted(stage.records, "p") == ([1, 0] * 10 if child else [])  # one that sleeps is not even woken
    stage.clock.step(21 * 24 * 3600)
    assert await stage.process()
    assert set(ended(stage).values()) == {"completed"}


@pytest.mark.parametrize("what", ["nap", "deadline"])
async def test_what_begins_at_once_when_its_time_has_come_is_no_waiting(
    what: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wake(self: Play, command: Begin) -> Held:
        await self.ask("hotel", Room.at("deadly undo"), Hold("t"), undo=Release("t"))
        await self.sleep("nap", timedelta(seconds=60 if what == "nap" else 3_600))
        stage.end()
        return Held(1)

    decide = Room.decide

    def deadly(self: Room, state: Any, command: Any) -> Any:
        return stage.end() if isinstance(command, Release) else decide(self, state, command)

    monkeypatch.setattr(Room, "decide", deadly)
    monkeypatch.setattr(Play, "script", wake)
    await stage.process(lambda runtime: runtime.tell(PLAY, Begin()), seconds=0)
    assert await stage.process(seconds=0)
    stage.clock.step(60 if what == "nap" else 301)
    assert await stage.processes() in (5, 6)
    assert ended(stage) == {"p": "parked"}
    assert counted(stage.records, "p")[-5:] == [1, 2, 3, 4, 5]


async def test_crashes_inside_the_process_count_nothing(stage: Stage) -> None:
    await in_flight(stage)

    async def kill_all(runtime: Runtime) -> None:
        DOWN.update(ROOMS)
        for _ in range(10):
            for key in INNOCENTS:
                await runtime.kill(Trip.at(key))
            await quiet(runtime)
        DOWN.clear()

    assert await stage.process(kill_all, chaos=Chaos(7, 0.1))
    assert {tuple(counted(stage.records, key)) for key in INNOCENTS} == {(1,)}
    check_books(stage.records)


@pytest.mark.parametrize("most", [0, 1, 2])
async def test_how_many_crashes_it_may_cost_is_the_policys(
    most: int, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trip, "retry", RetryPolicy(crashes=most))
    await in_flight(stage, (Trip.at("p"), BookTrip(["poison"])))
    assert await stage.processes() == most
    assert ended(stage)["p"] == "parked"
    if most:  # else there is nothing to tell them from it by
        check_innocents(stage)


@asynccontextmanager
async def released(answer: asyncio.Event) -> AsyncGenerator[None]:
    """Let those go who wait for the answer, also where the test fails: the runtime closes behind it."""
    try:
        yield
    finally:
        answer.set()


# -- the line -----------------------------------------------------------------------------------------------------


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


# -- reminders ----------------------------------------------------------------------------------------------------


def names_of(stage: Stage) -> dict[str, list[str]]:
    """Return how each firing of each reminder was settled, by the reminder's name."""
    found: dict[str, list[str]] = {}
    for record in of(stage.records, "service.reminded"):
        found.setdefault(content(record)["name"], []).append(content(record).get("refused", ""))
    return found


@pytest.mark.parametrize("whose", ["own", "actor", "saga"])
@pytest.mark.parametrize("every", [None, timedelta(hours=1)])
async def test_a_reminder_that_kills_the_process_is_given_up(
    whose: str, every: timedelta | None, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.actors = EVERYBODY
    decide = Bell.decide

    def deadly(self: Bell, state: Any, command: Any) -> Any:
        return stage.end() if command == Strike("poison") else decide(self, state, command)

    async def code(self: Play, command: Begin) -> Held:
        stage.end()
        return Held(1)

    monkeypatch.setattr(Bell, "decide", deadly)
    monkeypatch.setattr(Play, "script", code)
    seconds = timedelta(seconds=10)

    async def begin(runtime: Runtime) -> None:
        for key in INNOCENTS:
            await runtime.remind(Room.at(key), key, Hold("t"), after=seconds)
            await wind(runtime, strike(key, 10), address=Bell.at("b"))
        if whose == "own":
            one = Remind("poison", Strike("poison"), seconds if every is None else None, None, every)
            await wind(runtime, one, address=Bell.at("b"))
        elif whose == "actor":
            after = seconds if every is None else None
            await runtime.remind(Desk.at("d"), "poison", Note("poison"), after=after, every=every)
        else:
            await runtime.remind(PLAY, "poison", Begin(), after=seconds if every is None else None, every=every)

    assert await stage.process(begin, seconds=0)
    stage.clock.step(10 if every is None else 3_600)
    assert await stage.processes() == 5
    assert counted(stage.records, "poison") == [1, 2, 3, 4, 5]
    settled = names_of(stage)
    assert settled.pop("poison") == ["PoisonMessage: the process crashed 6 times in a row while it was under way"]
    assert settled == {key: ["", ""] for key in INNOCENTS}  # one for a room, and one of the bell's own
    assert max(max(counted(stage.records, key), default=0) for key in INNOCENTS) <= 3
    assert of(stage.records, "saga.parked") == []
    check_once(stage.records)
    # One with an interval goes on with its next time, and is counted from the beginning.
    count = len(stage.records)
    if every is not None:
        stage.clock.step(3_600)
        assert not await stage.process()
        assert counted(stage.records[count:], "poison") == [1]
    else:
        assert await stage.process()
        assert len(stage.records) == count


async def test_a_reminder_is_counted_durably_before_and_not_after_a_close(stage: Stage) -> None:
    await stage.process(lambda runtime: runtime.remind(Room.at("poison"), "r", Hold("t"), after=timedelta(seconds=1)))
    assert stage.left is not None
    assert not await stage.process(crashed=False)
    assert counted(stage.records, "r") == []
    for ends in range(1, 6):
        assert not await stage.process()
        assert counted(stage.records, "r") == [*range(1, ends + 1)]
        assert stage.records[-1].type == "service.resent"
        assert not await stage.process(crashed=False)
    assert await stage.process()
    assert len(names_of(stage)["r"]) == 1


async def test_a_reminder_that_fails_has_come_back(stage: Stage) -> None:
    DOWN.add("hotel")
    await stage.process(
        lambda runtime: runtime.remind(Room.at("hotel"), "r", Hold("t"), after=timedelta(seconds=1)), seconds=2
    )
    for _ in range(10):
        assert await stage.process(seconds=0)
    assert counted(stage.records, "r") == [1, 0] * 10
    assert await stage.process(seconds=300)  # many attempts in one process
    assert counted(stage.records, "r") == [1, 0] * 11
    DOWN.clear()
    assert await stage.process(seconds=100)
    assert names_of(stage) == {"r": [""]}
    check_never_early(stage.records)


async def test_a_reminder_that_is_not_due_yet_is_not_suspect(stage: Stage) -> None:
    await stage.process(
        lambda runtime: runtime.remind(Room.at("hotel"), "r", Hold("t"), after=timedelta(seconds=20)), seconds=0
    )
    assert await stage.process()
    assert counted(stage.records, "r") == []
    assert names_of(stage) == {"r": [""]}


async def test_a_reminder_in_the_line_can_be_forgotten_and_its_keeper_killed(stage: Stage) -> None:
    async def begin(runtime: Runtime) -> None:
        for name in ("a", "b"):
            await runtime.remind(Room.at("poison"), name, Hold(name), after=timedelta(seconds=1))

    await stage.process(begin)
    for _ in range(3):
        assert not await stage.process()
    DOWN.add("poison")

    async def drop(runtime: Runtime) -> None:
        for _ in range(3):
            await runtime.kill(reminders_for(Room.at("poison")))
            await quiet(runtime)
        await runtime.forget(Room.at("poison"), "b")

    assert await stage.process(drop, seconds=100)
    DOWN.clear()
    stage.actors = ALL
    assert await stage.processes() <= 6
    assert list(names_of(stage)) == ["a"]
    assert len(of(stage.records, "service.forgotten")) == 1


# -- being seen ---------------------------------------------------------------------------------------------------


async def test_it_stands_in_the_history(stage: Stage) -> None:
    await in_flight(stage, (Trip.at("p"), BookTrip(["poison"])))
    await stage.processes()
    journal = restart_of(stage.records)
    async with Runtime(journal, ALL, clock=stage.clock) as runtime:
        entries = [entry async for entry in runtime.history(Trip.at("p"))]
        trail = await runtime.trail(Trip.at("p"))
        await quiet(runtime)
        assert runtime.stats().actors["Trip"].parked == 1
    assert [entry.event for entry in entries if entry.type == "saga.resumed"] == [{"crashes": n} for n in range(1, 6)]
    assert trail == entries


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
