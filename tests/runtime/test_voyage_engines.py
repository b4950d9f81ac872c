"""P8, P14: a saga with everything in it, on journals whose processes die: it ends as it should, each effect once."""

import asyncio
import sys
from pathlib import Path

import pytest

from runtime import ManualClock
from tests.runtime.tools import of, stored
from tests.runtime.voyage import DEADLY, SAILS, check_voyage, sail_on

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("which", SAILS)
async def test_it_ends_as_it_should(which: str, url: str) -> None:
    await sail_on(url, ManualClock(), SAILS[which])
    check_voyage(await stored(url), SAILS[which])


@pytest.mark.parametrize(("which", "batches"), [("fine", (5, 9, 8)), ("full", (14, 6, 7)), ("poor", (20, 4))])
async def test_it_goes_on_where_a_process_has_died(which: str, batches: tuple[int, ...], url: str) -> None:
    """Process after process dies when it has written so many batches, and the last one sails to the end."""
    for number in batches:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.runtime.voyage", "die", url, which, f"{number}", cwd=ROOT
        )
        assert await process.wait() == DEADLY
    await sail_on(url, ManualClock(), SAILS[which])
    records = await stored(url)
    assert len(of(records, "saga.resumed")) >= len(batches)  # somebody was under way each time
    check_voyage(records, SAILS[which])
