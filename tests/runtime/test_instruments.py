"""Instruments are told what happens, as it happens; one that fails is let go of, and harms nobody."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from actors import Actor, Address, Backoff, Command, Failed, Mailbox, MailboxFull, Parked, Refused, RestartPolicy
from runtime import ManualClock, Runtime
from runtime.instruments import BaseInstrument, Instrument
from runtime.saga_cell import SagaCell
from runtime.service_cell import ServiceCell
from tests.runtime.cast import (
    ALL,
    Board,
    BookTrip,
    Desk,
    Hold,
    Lines,
    Look,
    Note,
    Room,
    TakeTour,
    Tour,
    Trip,
)
from tests.runtime.tools import HeldJournal, comes, node_of, quiet

R = Room.at("r")


class Tape(BaseInstrument):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def of(self, *whats: str) -> list[tuple[Any, ...]]:
        return [one for one in self.told if one[0] in whats]

    def sent(self, address: Address[Any], message: str, /) -> None:
        self.told.append(("sent", str(address), message))

    def handled(self, address: Address[Any], message: str, seconds: float, outcome: str, /) -> None:
        self.told.append(("handled", str(address), message, round(seconds, 3), outcome))

    def started(self, address: Address[Any], /) -> None:
        self.told.append(("started", str(address)))

    def stopped(self, address: Address[Any], reason: str, /) -> None:
        self.told.append(("stopped", str(address), reason))

    def crashed(self, address: Address[Any], error: BaseException, /) -> None:
        self.told.append(("crashed", str(address), type(error)))

    def restarted(self, address: Address[Any], /) -> None:
        self.told.append(("restarted", str(address)))

    def parked(self, address: Address[Any], error: BaseException, /) -> None:
        self.told.append(("parked", str(address)))

    def saga_ended(self, address: Address[Any], end: str, seconds: float, /) -> None:
        self.told.append(("saga ended", str(address), end, seconds))

    def group_written(self, events: int, seconds: float, /) -> None:
        self.told.append(("group", events, seconds))

    def projected(self, read_model: str, events: int, seconds: float, /) -> None:
        self.told.append(("projected", read_model, events, seconds))

    def dead_letter(self, address: Address[Any], message: str, error: Exception, /) -> None:
        self.told.append(("dead letter", str(address), message, type(error)))

    def mailbox_full(self, address: Address[Any], /) -> None:
        self.told.append(("full", str(address)))


class Job(Command["Smith", None]):
    what: str = ""


class Smith(Actor):
    """Works in turns, and does what the test says; has room for one message."""

    restart = RestartPolicy(restarts=1, backoff=Backoff(timedelta(seconds=10), jitter=0.0))
    mailbox = Mailbox(limit=1)
    work: ClassVar[Callable[[str], None]]

    def receive(self, message: Job) -> None:
        if message.what == "fail":
            raise ValueError("no iron")
        if message.what == "refuse":
            raise Refused("not today")
        if message.what == "end":
            self.stop()


def test_the_base_is_an_instrument() -> None:
    tape: Instrument = Tape()
    base: Instrument = BaseInstrument()
    assert {name for name in vars(Instrument) if not name.startswith("_")} == {
        name for name in vars(BaseInstrument) if not name.startswith("_")
    }
    assert tape is not base


async def test_messages_are_told_with_how_they_ended_and_how_long_they_took() -> None:
    tape, clock = Tape(), ManualClock()

    async def slowly(self: Desk, message: Note) -> str:
        clock.advance(0.25)
        if message.text == "fail":
            raise ConnectionError("no line")
        return ""

    Desk.script = slowly
    async with Runtime("memory:", [*ALL, Smith], clock=clock, instruments=[tape]) as runtime:
        await runtime.ask(R, Hold("t"))
        with pytest.raises(Refused):
            await runtime.ask(Room.at("full"), Hold("t"))
        await runtime.ask(Smith.at(), Job())
        with pytest.raises(Refused):
            await runtime.ask(Smith.at(), Job("refuse"))
        with pytest.raises(Failed):
            await runtime.ask(Smith.at(), Job("fail"))
        await runtime.ask(Desk.at(), Note("fine"))
        with pytest.raises(Failed):
            await runtime.ask(Desk.at(), Note("fail"))
        await runtime.ask(Board.at(), Lines())
    assert tape.of("handled") == [
        ("handled", "Room/r", "Hold", 0.0, "done"),
        ("handled", "Room/full", "Hold", 0.0, "refused"),
        ("handled", "Smith", "Job", 0.0, "done"),
        ("handled", "Smith", "Job", 0.0, "refused"),
        ("handled", "Smith", "Job", 0.0, "failed"),
        ("handled", "Desk", "Note", 0.25, "done"),
        ("handled", "Desk", "Note", 0.25, "failed"),
        ("handled", "Board", "Lines", 0.0, "done"),
    ]
    assert tape.of("sent")[:3] == [
        ("sent", "Room/r", "Hold"),
        ("sent", "Room/full", "Hold"),
        ("sent", "Smith", "Job"),
    ]


async def test_lives_are_told() -> None:
    tape, clock = Tape(), ManualClock()
    async with Runtime("memory:", [*ALL, Smith], clock=clock, instruments=[tape]) as runtime:
        await runtime.ask(R, Look())
        await runtime.kill(R)
        await runtime.ask(R, Look())
        await runtime.ask(Smith.at(), Job("end"))
        for _ in range(2):
            with pytest.raises(Failed):
                await runtime.ask(Smith.at("s"), Job("fail"))
            clock.advance(11)
            await quiet(runtime)
        await runtime.ask(Desk.at(), Note("fine"))
    lives = tape.of("started", "stopped", "crashed", "restarted", "parked")
    assert [one for one in lives if one[1] == "Room/r"] == [
        ("started", "Room/r"),
        ("stopped", "Room/r", "killed"),
        ("started", "Room/r"),
    ]
    assert [one for one in lives if one[1] == "Smith"] == [("started", "Smith"), ("stopped", "Smith", "finished")]
    assert [one for one in lives if one[1] == "Smith/s"] == [
        ("started", "Smith/s"),
        ("crashed", "Smith/s", Failed),
        ("restarted", "Smith/s"),
        ("started", "Smith/s"),
        ("crashed", "Smith/s", Failed),
        ("parked", "Smith/s"),
    ]
    assert [one for one in lives if one[1] == "Desk"] == [("started", "Desk"), ("stopped", "Desk", "rested")]


async def test_one_that_was_cut_off_is_told_when_it_is_handled_at_last() -> None:
    tape, tries = Tape(), 0

    async def hangs_once(self: Desk, message: Note) -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            await asyncio.Event().wait()
        return ""

    Desk.script = hangs_once
    async with Runtime("memory:", ALL, instruments=[tape]) as runtime:
        asked = asyncio.ensure_future(runtime.ask(Desk.at(), Note("a")))
        await comes(lambda: tries == 1)
        await runtime.kill(Desk.at())
        await asked
    assert [one[4] for one in tape.of("handled")] == ["done"]


async def test_ends_of_sagas_are_told_and_those_that_are_set_aside() -> None:
    tape, clock = Tape(), ManualClock()
    async with Runtime("memory:", ALL, clock=clock, instruments=[tape]) as runtime:
        asked = asyncio.ensure_future(runtime.ask(Tour.at("t"), TakeTour(["r"], "ann", nap=60.0)))
        await quiet(runtime)
        clock.advance(60)
        await asked
        with pytest.raises(Refused):
            await runtime.ask(Trip.at("t"), BookTrip(["r", "full"]))
        with pytest.raises(Parked):
            await runtime.ask(Tour.at("bad"), TakeTour(["r", "r"], "ann"))
    assert tape.of("saga ended", "parked") == [
        ("saga ended", "Tour/t", "completed", 60.0),
        ("saga ended", "Trip/t", "compensated", 0.0),
        ("parked", "Tour/bad"),
    ]


async def test_groups_and_projections_are_told() -> None:
    tape, clock, journal = Tape(), ManualClock(), HeldJournal()
    async with Runtime(journal, ALL, clock=clock, instruments=[tape]) as runtime:
        journal.hold()
        asked = [asyncio.ensure_future(runtime.ask(R, Hold(trip))) for trip in ("a", "b", "unprintable")]
        await journal.arrived.wait()
        clock.advance(0.5)
        journal.gate.set()
        await asyncio.gather(*asked)
        with pytest.raises(Parked):
            await runtime.ask(Board.at(), Lines(), consistent=True)
    assert tape.of("group", "projected") == [("group", 3, 0.5), ("projected", "Board", 2, 0.0)]
    assert tape.of("crashed", "parked") == [("crashed", "Board", ValueError), ("parked", "Board")]


async def test_dead_letters_and_full_mailboxes_are_told() -> None:
    tape = Tape()
    async with Runtime("memory:", [*ALL, Smith], instruments=[tape]) as runtime:
        await runtime.tell(Room.at("full"), Hold("t"))
        await quiet(runtime)
        sent = [runtime.tell(Smith.at(), Job()) for _ in range(2)]
        await asyncio.gather(*map(asyncio.ensure_future, sent))
    assert tape.of("dead letter", "full") == [("dead letter", "Room/full", "Hold", Refused), ("full", "Smith")]


async def test_a_sender_that_waits_for_room_in_vain_is_told_once() -> None:
    tape, clock, over = Tape(), ManualClock(), asyncio.Event()

    async def hangs(self: Desk, message: Note) -> str:
        await over.wait()
        return ""

    Desk.script = hangs
    limit = Desk.mailbox.limit
    async with Runtime("memory:", ALL, clock=clock, instruments=[tape]) as runtime:
        for _ in range(limit + 1):
            await runtime.tell(Desk.at(), Note("a"))
            await comes(lambda: Desk.inbox)
        await quiet_but_for_one(runtime)
        asked = asyncio.ensure_future(runtime.ask(Desk.at(), Note("b"), timeout=1.0))
        await comes(lambda: tape.of("full"))
        clock.advance(2)
        with pytest.raises(MailboxFull):
            await asked
        over.set()
    assert tape.of("full") == [("full", "Desk")]


async def quiet_but_for_one(runtime: Runtime) -> None:
    await comes(lambda: runtime.stats().actors["Desk"].mail == Desk.mailbox.limit)


HOOKS = sorted(name for name in vars(BaseInstrument) if not name.startswith("_"))


def breaking(name: str) -> tuple[BaseInstrument, list[str]]:
    """Return an instrument whose method of this name raises, and the calls of it."""
    calls: list[str] = []

    def raises(self: object, *args: object) -> None:
        calls.append(name)
        raise RuntimeError("a broken gauge")

    raises.__qualname__ = f"Gauge.{name}"
    return type("Gauge", (BaseInstrument,), {name: raises})(), calls


@pytest.mark.parametrize("name", HOOKS)
async def test_a_hook_that_raises_is_called_once_and_harms_nobody(name: str, caplog: pytest.LogCaptureFixture) -> None:
    gauge, calls = breaking(name)
    tape, clock = Tape(), ManualClock()
    async with Runtime("memory:", [*ALL, Smith], clock=clock, instruments=[gauge, tape]) as runtime:
        for key in ("a", "b"):
            await runtime.ask(Trip.at(key), BookTrip(["r"]))
            with pytest.raises(Refused):
                await runtime.ask(Room.at("full"), Hold("t"))
            await runtime.tell(Room.at("full"), Hold("t"))
            await asyncio.gather(*(asyncio.ensure_future(runtime.tell(Smith.at(), Job())) for _ in range(2)))
            await quiet(runtime)
            for _ in range(2):
                with pytest.raises(Failed):
                    await runtime.ask(Smith.at(key), Job("fail"))
                clock.advance(11)
                await quiet(runtime)
            await runtime.kill(R)
            await runtime.ask(R, Look())
            await runtime.ask(Board.at(), Lines(), consistent=True)
    assert calls == [name]
    told = [record.getMessage() for record in caplog.records if "instrument" in record.getMessage()]
    assert len(told) == 1
    assert f"hook='Gauge.{name}'" in told[0]
    # The others are told all of it, the same as without the one that breaks.
    assert len(tape.of("saga ended")) == 2
    assert len(tape.of("crashed")) == 4
    assert len(tape.of("parked")) == 2
    assert len(tape.of("dead letter")) == 2


async def test_without_instruments_nothing_is_in_the_way() -> None:
    async with Runtime("memory:", ALL) as runtime:
        await runtime.ask(Trip.at("a"), BookTrip(["r"]))
        node = node_of(runtime)
        assert type(node.cell(R)) is ServiceCell
        assert type(node.cell(Trip.at("b"))) is SagaCell
        assert not node.observer.handled
