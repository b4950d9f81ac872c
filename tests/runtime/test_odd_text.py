"""Any text is a key, an id and a payload, for every sort of actor, and reads back as it was. Failure 33."""

import asyncio

from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime import Runtime
from tests.runtime.cast import ALL, Begin, BookTrip, Held, Hold, Play, Room, Trip
from tests.runtime.crew import CREW, Agent, Clerk, Say
from tests.runtime.tools import HeldJournal, restart_of

EVERYONE = [*ALL, *CREW]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)  # what UTF-8 can't hold is refused elsewhere


async def story(self: Play, command: Begin) -> Held:
    held: Held = await self.ask("step", Room.at(f"room {self.key}"), Hold(command.line))
    return held


@settings(deadline=None)
@given(TEXT, TEXT, TEXT)
@example("a/b", "#!>", "\0")
@example("", "", "")
def test_any_text_is_a_key_an_id_and_a_payload(key: str, request_id: str, payload: str) -> None:
    async def play() -> None:
        Play.script = story
        journal = HeldJournal()
        async with Runtime(journal, EVERYONE) as runtime:
            assert await runtime.ask(Room.at(f"room {key}"), Hold(payload), id=request_id) == Held(1)
            assert await runtime.ask(Clerk.at(key), Say(payload), id=request_id) == payload
            assert await runtime.ask(Agent.at(key), Say(payload), id=request_id) == payload
            assert await runtime.ask(Play.at(key), Begin(payload), id=request_id) == Held(2)
            assert (await runtime.ask(Trip.at(key), BookTrip(["r"]))).trip == key
        async with Runtime(restart_of(journal.records), EVERYONE) as runtime:
            assert await runtime.ask(Room.at(f"room {key}"), Hold(payload), id=request_id) == Held(1)
            assert await runtime.ask(Play.at(key), Begin(payload)) == Held(2)
            assert (await runtime.state_of(Room.at(f"room {key}"))).held[:2] == (payload, payload)

    asyncio.run(play())
