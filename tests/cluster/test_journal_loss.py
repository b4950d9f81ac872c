"""A node whose journal can't be written while requests to others are on their way."""

import asyncio
from collections.abc import Sequence

import pytest

from actors import OutcomeUnknown
from persistence import Stream
from runtime import Runtime
from runtime.cluster import MemoryNetwork
from tests.cluster.cast import Flight, HoldSeat
from tests.runtime.tools import HeldJournal, comes, node_of, quiet


class Shared(HeldJournal):
    """A journal that has another owner, to whom one stream belongs."""

    owner = "bob"

    async def strangers(self, streams: Sequence[Stream]) -> dict[Stream, str]:
        return {stream: "ana" for stream in streams if stream[1] == "ana's"}

    async def heads(self, streams: Sequence[Stream]) -> dict[Stream, int]:
        return {**await super().heads(streams), **{stream: 1 for stream in streams if stream[1] == "ana's"}}


async def test_what_could_not_be_passed_on_is_a_dead_letter() -> None:
    journal = Shared()
    async with Runtime(journal, [Flight], network=MemoryNetwork()) as bob:
        journal.hold()
        asked = asyncio.ensure_future(bob.ask(Flight.at("mine"), HoldSeat("t")))
        await journal.arrived.wait()
        await bob.tell(Flight.at("ana's"), HoldSeat("t"))
        await comes(lambda: node_of(bob).recovery.idle)
        journal.fail.append("before")
        journal.gate.set()
        with pytest.raises(OutcomeUnknown):
            await asked
        await quiet(bob)
        assert [(dead.address, dead.error) for dead in bob.dead_letters()] == [
            (Flight.at("ana's"), 'Failed("Flight/ana\'s was not sent it: the journal could not be written")')
        ]
