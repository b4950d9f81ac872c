"""A saga that has an ``answer`` is asked by the runtime's ``ask``, wherever it stands."""

from datetime import timedelta
from typing import Any

import pytest

from actors import Command, NotTaken, Query, Saga, UnknownActor
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Look
from tests.runtime.tools import HeldJournal, quiet


class Walk(Command["Walker", int]):
    pass


class Where(Query["Walker", str]):
    pass


class Walker(Saga[Walk, int]):
    where = "at home"

    async def run(self, command: Walk) -> int:
        self.where = "on the way"
        await self.sleep("walk", timedelta(hours=1))
        self.where = "there"
        return 1

    def answer(self, query: Where) -> str:
        return self.where


async def test_a_saga_is_asked_where_it_is_and_nothing_comes_of_it() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, [*ALL, Walker], clock=clock) as runtime:
        anyone: Any = runtime
        with pytest.raises(UnknownActor, match="was never started"):
            await runtime.ask(Walker.at("w"), Where())
        await runtime.start(Walker.at("w"), Walk())
        await quiet(runtime)
        assert await runtime.ask(Walker.at("w"), Where()) == "on the way"
        assert await runtime.ask(Walker.at("w"), Where(), timeout=5) == "on the way"
        with pytest.raises(NotTaken, match="Walker doesn't take Look"):
            await anyone.ask(Walker.at("w"), Look())
        clock.advance(3600)
        assert await runtime.result(Walker.at("w")) == 1
        before = len(journal.records)
        assert await runtime.ask(Walker.at("w"), Where()) == "there"
        assert len(journal.records) == before
