"""Locks on journals whose processes die: who had one has it again, and each is given back when its saga has ended."""

import pytest

from actors import Locked
from runtime import ManualClock, Runtime
from tests.runtime.dying import dies
from tests.runtime.locking import ALL, Page, Tale, Tell, Write, check_locks, check_tales
from tests.runtime.tales import TALES, tell_on
from tests.runtime.tools import ends, of, quiet, stored


@pytest.mark.parametrize("which", ["in line", "circle of three", "asked, badly"])
async def test_all_comes_to_its_end_where_process_after_process_has_died(which: str, url: str) -> None:
    for batches in (5, 4, 7):
        await dies("tests.runtime.tales", url, which, f"{batches}")
    await tell_on(url, ManualClock(), TALES[which])
    records = await stored(url)
    assert of(records, "service.locked")
    check_tales(records)


@pytest.mark.parametrize("crashed", [False, True])
async def test_a_lock_is_held_until_the_saga_has_ended_whatever_process_is_there(crashed: bool, url: str) -> None:
    clock = ManualClock()
    if crashed:
        await dies("tests.runtime.tales", url, "refused", "4")
    else:
        async with Runtime(url, ALL, clock=clock) as runtime:
            for name, tale in TALES["refused"].items():
                assert isinstance(tale, Tell)
                await runtime.start(Tale.at(name), tale)
            await quiet(runtime)
    async with Runtime(url, ALL, clock=clock) as runtime:
        await quiet(runtime)
        for page, holder in (("p", "Tale/a"), ("q", "Tale/b")):
            with pytest.raises(Locked, match=f"{holder} is in the middle of something"):
                await runtime.ask(Page.at(page), Write("one guest", "nobody"))
        await ends(runtime, clock)
        for page in "pq":
            await runtime.ask(Page.at(page), Write("one guest", "nobody"))
    records = await stored(url)
    assert {record.stream[1] for record in of(records, "saga.compensated")} <= {"a", "b"}
    check_locks(records)
