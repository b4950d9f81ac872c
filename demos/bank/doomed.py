"""The process that is killed in the story: it begins a transfer that needs approval, says so, and waits for its end.

Started by :mod:`demos.bank.waiting` as ``python -m demos.bank.doomed JOURNAL TRANSFER SOURCE TARGET CENTS``.
"""

import asyncio
import sys

from demos.bank import ACTORS
from demos.bank.transfers import Transfer, TransferSaga
from demos.killing import wait_for_the_end
from runtime import Runtime


async def begin(journal: str, transfer: str, command: Transfer) -> None:
    """Begin the transfer, say when it waits, and wait."""
    async with Runtime(journal, ACTORS) as runtime:
        await runtime.start(TransferSaga.at(transfer), command)
        async for progress in runtime.saga(TransferSaga.at(transfer)).follow():
            if any(step.status == "waiting" for step in progress.steps):
                break
        await wait_for_the_end()


if __name__ == "__main__":
    journal, transfer, source, target, cents = sys.argv[1:]
    asyncio.run(begin(journal, transfer, Transfer(source, target, int(cents))))
