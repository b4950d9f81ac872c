"""P8 where a request is passed on between owners: what is uncertain on one way is uncertain on the next one."""

from collections.abc import Sequence
from typing import Any

import pytest

from actors import Refused
from persistence import Stream
from runtime import Runtime
from runtime.cluster import Fate, MemoryNetwork, Sent
from runtime.simulation.clock import SimulatedClock
from tests.cluster.plays import PLAY
from tests.cluster.virtual import play
from tests.runtime.cast import Begin, Held, Look, Play, Room
from tests.runtime.playing import hold
from tests.runtime.tools import HeldJournal, content, of, types_of

FULL = Room.at("full")


class Shared(HeldJournal):
    """A journal of two owners, as one of them sees it: only what is in ``theirs`` belongs to the other one, Ana."""

    def __init__(self, owner: str, *theirs: Stream) -> None:
        super().__init__()
        self.identity, self.owner, self.theirs = "shared", owner, theirs

    async def strangers(self, streams: Sequence[Stream]) -> dict[Stream, str]:
        return {stream: "ana" for stream in streams if stream in self.theirs}

    async def heads(self, streams: Sequence[Stream]) -> dict[Stream, int]:
        return {**await super().heads(streams), **{stream: 1 for stream in streams if stream in self.theirs}}


@pytest.mark.parametrize("copies", [1, 2])
def test_a_refusal_is_uncertain_where_two_copies_were_passed_on(copies: int) -> None:
    async def story(self: Play, command: Begin) -> Held:
        return await hold(self, "full")  # type: ignore[no-any-return]

    async def main(clock: SimulatedClock) -> None:
        Play.script = story
        network, journal = MemoryNetwork(), HeldJournal()
        ana, bob = Shared("ana"), Shared("bob", ("Room", "full"))
        more: Any = {"network": network, "clock": clock}
        async with Runtime(bob, [Room], **more), Runtime(journal, [Play], remote=[Room], **more) as front:
            assert await front.ask(Room.at("x"), Look()) == 0  # so it is Bob who is asked
            async with Runtime(ana, [Room], **more):
                answers: list[int] = []

                def fate(sent: Sent) -> Fate:
                    answers.extend([sent.number] if b'"error":"Refused"' in sent.data else [])
                    return () if answers == [sent.number] and copies == 2 else (0.0,)

                network.decide = fate
                with pytest.raises(Refused, match="full is full"):
                    await front.ask(PLAY, Begin())
                assert len(answers) == copies + 1
        (refused,) = of(journal.records, "saga.refused")
        assert content(refused).get("uncertain", False) is (copies == 2)
        assert types_of(ana.records, FULL) == ([] if copies == 1 else ["service.fenced"])

    play(main)
