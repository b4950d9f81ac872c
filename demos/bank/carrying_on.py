"""Finishes what an earlier process has left unfinished in the journal."""

from contextlib import suppress

from actors import Address, NotTaken
from demos import carrying_on
from demos.bank.transfers import Approve, TransferSaga
from demos.page import Page
from demos.report import Endings, Tally
from runtime import Runtime

ENDINGS = Endings("transfers", "done", "refused")
BY = "the next shift"


async def finish(runtime: Runtime, tally: Tally, page: Page) -> int:
    """Bring the transfers by saga that are unfinished to their end; return how many there were."""
    return await carrying_on.finish(runtime, TransferSaga, ENDINGS, approve, tally, page)


async def approve(runtime: Runtime, transfer: Address[TransferSaga]) -> None:
    """Say yes, where a transfer waits for that: whoever was to say it is gone."""
    with suppress(NotTaken):  # it has ended meanwhile, or goes back
        await runtime.ask(transfer, Approve(BY), id=f"approve {transfer}")
