"""What the tests of sagas share: one saga whose story each test writes, and what it is to be parked."""

from typing import Any

import pytest

from actors import Parked
from runtime import Runtime
from tests.runtime.cast import Begin, BookTrip, Hold, Play, Release, Room, Trip

PLAY = Play.at("p")


def hold(self: Play, name: str, room: str | None = None) -> Any:
    return self.ask(name, Room.at(room or name), Hold(self.key), undo=Release(self.key))


async def parked_with(text: str, runtime: Runtime) -> None:
    """Check that the saga is parked, that its askers are told why, and that the others go on."""
    with pytest.raises(Parked, match=text):
        await runtime.ask(PLAY, Begin())
    with pytest.raises(Parked, match=text):
        await runtime.result(PLAY)
    assert await runtime.unfinished() == [PLAY]
    assert (await runtime.ask(Trip.at("other"), BookTrip(["elsewhere"]))).trip == "other"
