"""A snapshot that doesn't fit is ignored, with a warning; what would not read back is not kept."""

import logging
from typing import Any, ClassVar

import pytest

from actors import Command, Decision, DefinitionError, Event, Failed, Service, State
from persistence import Snapshot
from runtime import Runtime
from tests.runtime.cast import ALL, Look, Room
from tests.runtime.keeping import ROOM, cell_of, hold, keep_often, note_replays, set_snapshot, snapshot_of
from tests.runtime.tools import HeldJournal

STREAM = ("Room", "r")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_often(monkeypatch)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return note_replays(monkeypatch)


def damaged(snapshot: Snapshot) -> Snapshot:
    return Snapshot(snapshot.version, snapshot.fingerprint, None)


def of_another_form(snapshot: Snapshot) -> Snapshot:
    return Snapshot(snapshot.version, "1-other", b'{"state":{"held":["wrong"]}}')


def not_as_it_says(snapshot: Snapshot) -> Snapshot:
    return Snapshot(snapshot.version, snapshot.fingerprint, b'{"state":{"held":"wrong"}}')


def no_snapshot_at_all(snapshot: Snapshot) -> Snapshot:
    return Snapshot(snapshot.version, snapshot.fingerprint, b"[1, 2")


def too_deep(snapshot: Snapshot) -> Snapshot:
    return Snapshot(snapshot.version, snapshot.fingerprint, b'{"state":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def with_a_broken_filter(snapshot: Snapshot) -> Snapshot:
    return Snapshot(snapshot.version, snapshot.fingerprint, b'{"state":{},"seen":{"older":["AAAA"]}}')


def ahead(snapshot: Snapshot) -> Snapshot:
    return Snapshot(99, snapshot.fingerprint, snapshot.data)


@pytest.mark.parametrize(
    "wrong", [damaged, of_another_form, not_as_it_says, no_snapshot_at_all, too_deep, with_a_broken_filter, ahead]
)
async def test_one_that_doesn_t_fit_is_ignored_with_a_warning(
    wrong: Any, replayed: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await hold(runtime, *range(1, 8))
    snapshot = await snapshot_of(journal, ROOM)
    assert snapshot is not None
    set_snapshot(journal, STREAM, wrong(snapshot))
    replayed.clear()
    caplog.set_level(logging.WARNING)
    async with Runtime(journal, ALL) as runtime:
        assert await runtime.ask(ROOM, Look()) == 7
        assert replayed == list(range(7))
        warnings = [record.getMessage() for record in caplog.records if "ignored" in record.getMessage()]
        assert len(warnings) == 1
        assert "Room/r" in warnings[0]
        assert (await runtime.state_of(ROOM)).count == 7
        await hold(runtime, 1, 8)  # the first one is known
        assert (await runtime.state_of(ROOM)).count == 8
        snapshot = await snapshot_of(journal, ROOM)
        assert snapshot is not None
        assert snapshot.version == 8
        assert snapshot.fingerprint != "1-other"


@pytest.mark.parametrize("change", ["snapshot_version", "initial"])
async def test_another_number_and_another_first_state_need_other_snapshots(
    change: str, monkeypatch: pytest.MonkeyPatch, replayed: list[int]
) -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await hold(runtime, *range(1, 8))
    match change:
        case "snapshot_version":
            monkeypatch.setattr(Room, "snapshot_version", 2)
        case _:
            monkeypatch.setattr(Room, "initial", type(Room.initial)(count=100))
    replayed.clear()
    async with Runtime(journal, ALL) as runtime:
        assert await runtime.ask(ROOM, Look()) == 7
        assert len(replayed) == 7


class Odd(State):
    what: Any = None


class OddEvent(Event):
    pass


class DoOdd(Command[Any, None]):
    pass


class Strange(Service[Odd, DoOdd, OddEvent]):
    initial = Odd()
    next_state: ClassVar[Any] = None

    def decide(self, state: Odd, command: DoOdd) -> Decision:
        return command.reply(None, OddEvent())

    def evolve(self, state: Odd, event: OddEvent) -> Odd:
        return Odd(Strange.next_state)


class Sneaky:
    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("state", [object(), (1, 2), {1: 2}, float("nan"), {"a": Sneaky()}, "\ud800"])
async def test_a_state_that_would_not_read_back_is_not_kept(
    state: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Strange, "snapshot_every", 2)
    monkeypatch.setattr(Strange, "next_state", state)
    journal = HeldJournal()
    caplog.set_level(logging.WARNING)
    async with Runtime(journal, [Strange]) as runtime:
        for key in ("a", "b"):
            for _ in range(5):
                await runtime.ask(Strange.at(key), DoOdd())
        assert await snapshot_of(journal, Strange.at("a")) is None
        warnings = [record.getMessage() for record in caplog.records if "no snapshot" in record.getMessage()]
        assert len(warnings) == 1
        with pytest.raises(Failed, match="can't be kept in a snapshot"):
            await runtime.snapshot(Strange.at("a"))
        with pytest.raises(Failed, match="can't be kept in a snapshot"):
            await runtime.truncate(Strange.at("a"), 3)
        assert len(await journal.read(("Strange", "a"))) == 5
        await runtime.kill(Strange.at("a"))
        await runtime.ask(Strange.at("a"), DoOdd())
        await runtime.delete(Strange.at("a"))
        await runtime.kill(Strange.at("a"))
        assert cell_of(runtime, Strange.at("a")).version == 0
        await runtime.ask(Strange.at("a"), DoOdd())
        assert [record.version for record in await journal.read(("Strange", "a"))] == [7, 8]


class Unstorable(State):
    value: complex = 1j


class Complex(Service[Unstorable, DoOdd, OddEvent]):
    initial = Unstorable()
    snapshot_every = 1

    def decide(self, state: Unstorable, command: DoOdd) -> Decision:
        return command.reply(None, OddEvent())

    def evolve(self, state: Unstorable, event: OddEvent) -> Unstorable:
        return state


async def test_a_state_that_msgspec_doesn_t_know_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    journal = HeldJournal()
    async with Runtime(journal, [Complex]) as runtime:
        for _ in range(3):
            await runtime.ask(Complex.at("c"), DoOdd())
        await runtime.kill(Complex.at("c"))
        await runtime.ask(Complex.at("c"), DoOdd())
        assert (await runtime.state_of(Complex.at("c"))).value == 1j
    assert len([record for record in caplog.records if "no snapshot" in record.getMessage()]) == 1


@pytest.mark.parametrize("every", [0, -1, 2.5, True])
def test_how_often_must_be_a_number_of_events(every: Any) -> None:
    with pytest.raises(DefinitionError, match="snapshot_every of 1 or more"):
        type("Bad", (Strange,), {"snapshot_every": every})
