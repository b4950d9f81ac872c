"""P8, P14: a saga with everything in it, on a runtime that is observed, with cells of its own; its end is told once."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from actors import Address, OutcomeUnknown, Parked
from persistence import Record
from runtime import BaseInstrument, ManualClock, Runtime
from runtime.instruments import End
from runtime.observed_cells import ObservedSaga, ObservedService
from tests.runtime.cast import ALL, Begin, Held, Play
from tests.runtime.striking import StrikeAt, strikes_behind
from tests.runtime.tools import HeldJournal, quiet
from tests.runtime.voyage import SAILS, check_voyage, sail


class Ends(BaseInstrument):
    """What is told of the end of a voyage, or of a play."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def saga_ended(self, address: Address[Any], end: End, seconds: float, /) -> None:
        if address.actor in ("Voyage", "Play"):
            assert seconds >= 0
            self.told.append(end)

    def parked(self, address: Address[Any], error: BaseException, /) -> None:
        assert isinstance(error, ZeroDivisionError)
        self.told.append("parked")


async def observed(records: list[Record], which: str, chaos: StrikeAt | None = None) -> list[Record]:
    """Sail on to the end; who observes it is told of the end once, and rightly."""
    ends = Ends()
    found = await sail(records, SAILS[which], chaos, [ends])
    check_voyage(found, SAILS[which])
    assert ends.told == (["completed"] if which == "fine" else ["compensated"])
    return found


@pytest.mark.parametrize("which", SAILS)
async def test_recovery_from_every_prefix(which: str) -> None:
    whole = await observed([], which)
    assert [record.data for record in whole] == [record.data for record in await sail([], SAILS[which])]
    ends = ("saga.completed", "saga.compensated")
    last = next(n for n, one in enumerate(whole) if one.stream == ("Voyage", "v") and one.type in ends)
    for crash in range(last + 1):
        await observed(whole[:crash], which)


@pytest.mark.parametrize("which", SAILS)
async def test_a_kill_before_every_message(which: str) -> None:
    turn, chaos = 1, StrikeAt(1)
    while True:
        await observed([], which, chaos)
        if not chaos.struck:
            break
        turn += 1
        chaos = StrikeAt(turn)
    assert turn > 60


@pytest.mark.parametrize("which", SAILS)
async def test_a_kill_behind_every_message(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    after, turn = strikes_behind(monkeypatch, ObservedSaga, ObservedService), 0
    while True:
        turn += 1
        struck = after(turn)
        await observed([], which)
        if not struck:
            break
    assert turn > 60


@pytest.mark.parametrize("end", ["completed", "parked"])
async def test_an_end_that_is_lost_with_its_journal_is_none(end: str) -> None:
    """The saga goes on from what there is, and ends again."""

    async def at_once(self: Play, command: Begin) -> Held:
        if end == "parked":
            raise ZeroDivisionError
        return Held(1)

    Play.script = at_once
    ends, journal, clock = Ends(), HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock, instruments=[ends]) as runtime:
        journal.hold()
        journal.fail = ["before"]
        asked = asyncio.create_task(runtime.ask(Play.at("p"), Begin()))
        await journal.arrived.wait()
        assert [kind for _, kind, _ in journal.enqueued] == ["saga.started", f"saga.{end}"]
        early = list(ends.told)
        journal.gate.set()
        with pytest.raises(OutcomeUnknown):
            await asked
        await quiet(runtime)
        assert ends.told == early == []
        with suppress(Parked):
            assert await runtime.ask(Play.at("p"), Begin()) == Held(1)
        assert ends.told == [end]
        if end == "parked":
            await runtime.saga(Play.at("p")).kill(by="ana", reason="it never works")
            await quiet(runtime)
            assert ends.told == [end, "killed"]
