"""A check before a deployment: which of the sagas that are under way would not go on with today's code."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actors import Saga
from persistence import MemoryJournal
from persistence.archiving import export_to
from runtime import ManualClock, Runtime, check_archive, check_journal
from tests.runtime.cast import ALL, Begin, Held, Play
from tests.runtime.playing import PLAY, hold
from tests.runtime.tools import quiet

Script = Callable[[Any, Begin], Awaitable[Held]]


async def as_it_was(self: Play, command: Begin) -> Held:
    await hold(self, "flight")
    await hold(self, "hotel")
    await self.sleep("nap", timedelta(days=1))
    return Held(1)


async def with_a_step_more(self: Play, command: Begin) -> Held:
    await hold(self, "flight")
    await hold(self, "hotel")
    await self.sleep("nap", timedelta(days=1))
    await hold(self, "cab")
    return Held(1)


async def with_a_step_between(self: Play, command: Begin) -> Held:
    await hold(self, "flight")
    await hold(self, "cab")
    await hold(self, "hotel")
    await self.sleep("nap", timedelta(days=1))
    return Held(1)


async def with_another_room(self: Play, command: Begin) -> Held:
    await hold(self, "flight")
    await hold(self, "hotel", "motel")
    await self.sleep("nap", timedelta(days=1))
    return Held(1)


async def at_its_end_too_soon(self: Play, command: Begin) -> Held:
    await hold(self, "flight")
    return Held(1)


async def broken(self: Play, command: Begin) -> Held:
    await hold(self, "flight")
    raise ZeroDivisionError("a bug")


@pytest.fixture
async def journal(monkeypatch: pytest.MonkeyPatch) -> MemoryJournal:
    """A journal with one saga under way, one that is over, and one that goes back."""
    monkeypatch.setattr(Play, "script", as_it_was)
    monkeypatch.setattr(Play, "deadline", None)
    journal, clock = MemoryJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.start(Play.at("over"), Begin())
        await quiet(runtime)
        clock.advance(24 * 3600)
        await runtime.result(Play.at("over"))
        await runtime.start(PLAY, Begin())
        await quiet(runtime)
    return journal


@pytest.mark.parametrize("script", [as_it_was, with_a_step_more, with_a_step_between])
async def test_code_that_would_go_on(script: Script, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Play, "script", script)
    report = await check_journal(journal, ALL)
    assert report.ok, report


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (with_another_room, r"Step 'hotel' in its journal: ask Room/hotel Hold; in today's code: ask Room/motel Hold"),
        (at_its_end_too_soon, r"today's code came to its end without \['hotel', 'nap'\]"),
        (broken, "a bug"),
    ],
)
async def test_code_that_would_not(
    script: Script, why: str, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Play, "script", script)
    before = list(journal.records)
    report = await check_journal(journal, ALL)
    (problem,) = report.problems
    assert (problem.actor, problem.key, problem.what) == ("Play", "p", "code that would go on with it")
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(problem.reason)
    assert journal.records == before


async def test_sagas_that_are_over_can_be_told_again_too(
    journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a test of code against what production has gone through."""
    assert (await check_journal(journal, ALL, ended=True)).ok
    monkeypatch.setattr(Play, "script", at_its_end_too_soon)
    assert [one.key for one in (await check_journal(journal, ALL)).problems] == ["p"]
    assert sorted(one.key for one in (await check_journal(journal, ALL, ended=True)).problems) == ["over", "p"]


async def test_what_was_exported_is_checked_in_a_test(
    journal: MemoryJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "production.archive"
    await export_to(path, journal)
    assert (await check_archive(path, ALL, ended=True)).ok
    monkeypatch.setattr(Play, "script", broken)
    assert [one.key for one in (await check_archive(path, ALL)).problems] == ["p"]


async def test_a_version_that_is_gone(journal: MemoryJournal) -> None:
    class Newer(Saga[Begin, Held]):
        version = 2

    Newer.__name__ = "Play"
    others = [cls for cls in ALL if cls is not Play]
    (problem,) = (await check_journal(journal, [*others, Newer])).problems
    assert "it was started with version 1 of Play's code, and today's is 2; keep the class" in problem.reason

    class Older(Saga[Begin, Held]):
        async def run(self, command: Begin) -> Held:
            return await as_it_was(self, command)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

    Newer.older = (Older,)
    assert (await check_journal(journal, [*others, Newer])).ok
