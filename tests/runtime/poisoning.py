"""A stage with poison on it: what kills the process each time, among many that are innocent."""

from typing import Any

import pytest

from persistence import Record
from runtime import Runtime
from tests.runtime.cast import DOWN, BookTrip, Desk, Note, Room, Trip
from tests.runtime.ending import Stage
from tests.runtime.tools import of

INNOCENTS = [f"innocent {n}" for n in range(20)]
ROOMS = ["flight", "hotel", "cab"]


def deadly_stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Return a stage on which the process ends when the room called poison has to decide, or Desk is told of poison.

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
