"""P3, P11: messages to sagas that are personal, were renamed, or do not decode any more."""

from datetime import timedelta
from typing import Any, ClassVar

import msgspec
import pytest

from actors import Command, CommandIdReused, Failed, NotTaken, Parked, Personal, Saga
from persistence.keys import MemoryKeys
from tests.runtime.cast import Account, Approve, Begin, Held, Play, Withdraw
from tests.runtime.playing import PLAY, house
from tests.runtime.tools import content, of


class Open(Command["Case", str]):
    line: str = ""


class Whisper(Command["Case", None]):
    text: Personal[str]


class Say(Command["Case", None]):
    text: str


class Case(Saga[Open, str]):
    receives = Whisper
    heard: ClassVar[list[Any]] = []

    async def run(self, command: Open) -> str:
        said = await self.receive(Whisper)
        Case.heard.append(said.text)
        await self.receive(Whisper, name="more")
        return "over"


async def test_what_is_personal_in_a_message_is_sealed_in_the_journal() -> None:
    Case.heard.clear()
    keys = MemoryKeys()
    async with house(actors=[Case], keys=keys) as at:
        await at.runtime.start(Case.at("c"), Open())
        await at.runtime.ask(Case.at("c"), Whisper(Personal("ana", "secret words")), id="1")
        await at.runtime.ask(Case.at("c"), Whisper(Personal("ana", "secret words")), id="1")
        assert Case.heard[0].value == "secret words"
    assert len(of(at.journal.records, "saga.received")) == 1
    assert not any(b"secret words" in record.data for record in at.journal.records)


class Hush(Command["Case", None], tag="Speak", aliases=("Say",)):
    text: str


class CaseNow(Saga[Open, str]):
    receives = Hush
    heard: ClassVar[list[Any]] = []

    async def run(self, command: Open) -> str:
        await self.sleep("nap", timedelta(seconds=10))
        CaseNow.heard.append((await self.receive(Hush, name="Say")).text)
        CaseNow.heard.append((await self.receive(Hush, name="more")).text)
        return "over"


class CaseThen(Saga[Open, str]):
    receives = Say

    async def run(self, command: Open) -> str:
        await self.sleep("nap", timedelta(seconds=10))
        await self.receive(Say)
        await self.receive(Say, name="more")
        return "over"


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_message_whose_class_was_renamed_is_still_awaited_and_taken(awaited: bool) -> None:
    CaseThen.__name__ = CaseNow.__name__ = "Case"
    CaseNow.heard.clear()
    case: Any = CaseNow.at("c")
    then: Any = CaseThen.at("c")
    async with house(actors=[CaseThen]) as at:
        await at.runtime.start(then, Open())
        if awaited:
            await at.passes(10)
        else:
            await at.runtime.ask(then, Say("one"), id="1")
    async with house(at.journal.records, at.clock, actors=[CaseNow]) as again:
        await again.runtime.ask(case, Hush("one"), id="1")
        await again.passes(10)
        await again.runtime.ask(case, Hush("two"), id="2")
        assert await again.runtime.result(case) == "over"
        assert CaseNow.heard[-2:] == ["one", "two"]
    assert len(of(again.journal.records, "saga.received")) == 2


async def test_a_message_that_does_not_decode_any_more_parks_it_and_a_pivot_behind_it_is_not_taken() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.sleep("nap", timedelta(seconds=5))
        await self.receive(Approve)
        await self.pivot("pay", Account.at("ana"), Withdraw(1))
        return Held(1)

    Play.script = story
    async with house() as at:
        await at.begin()
        await at.runtime.ask(PLAY, Approve("ana"))
    records = list(at.journal.records)
    (received,) = of(records, "saga.received")
    broken = content(received)
    broken["message"]["by"] = 5
    records[received.position - 1] = msgspec.structs.replace(received, data=msgspec.json.encode(broken))
    async with house(records, at.clock) as again:
        await again.passes(5)
        with pytest.raises(Parked, match="Approve"):
            await again.runtime.result(PLAY)
        assert not of(again.journal.records, "Withdrawn")
        with pytest.raises((CommandIdReused, Failed, NotTaken)):
            await again.runtime.ask(PLAY, Approve("ana"), id=broken["id"])
