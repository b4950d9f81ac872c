"""P8, P14: a saga with everything in it, on journals whose processes die: it ends as it should, each effect once."""

import pytest

from runtime import ManualClock
from tests.runtime.dying import dies
from tests.runtime.tools import of, stored
from tests.runtime.voyage import SAILS, check_voyage, sail_on


@pytest.mark.parametrize("which", SAILS)
async def test_it_ends_as_it_should(which: str, url: str) -> None:
    await sail_on(url, ManualClock(), SAILS[which])
    check_voyage(await stored(url), SAILS[which])


@pytest.mark.parametrize(("which", "batches"), [("fine", (5, 9, 8)), ("full", (14, 6, 7)), ("poor", (20, 4))])
async def test_it_goes_on_where_a_process_has_died(which: str, batches: tuple[int, ...], url: str) -> None:
    """Process after process dies when it has written so many batches, and the last one sails to the end."""
    for number in batches:
        await dies("tests.runtime.voyage", "die", url, which, f"{number}")
    await sail_on(url, ManualClock(), SAILS[which])
    records = await stored(url)
    assert len(of(records, "saga.resumed")) >= len(batches)  # somebody was under way each time
    check_voyage(records, SAILS[which])
