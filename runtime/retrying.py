"""Retrying, as an interceptor: what failed is sent again, and takes effect once."""

import asyncio
from datetime import timedelta
from random import Random

from actors import (
    Elsewhere,
    Failed,
    MailboxFull,
    OutcomeUnknown,
    PoisonMessage,
    ReadModelBehind,
    RetryPolicy,
    WrongLoop,
)
from actors.interceptors import Call, Interceptor, Proceed

PASSES = (Failed, OutcomeUnknown, MailboxFull, ReadModelBehind)
"""Errors that may not come again. A refusal is an answer, and what is parked waits for a person."""
BRIEFLY = RetryPolicy(budget=timedelta(seconds=10))
"""The default: somebody is waiting."""


def retrying(policy: RetryPolicy = BRIEFLY) -> Interceptor:
    """Return an interceptor that sends a request again when it has failed, or when its outcome is unknown.

    Each command is given an id, if it has none, so that it takes effect once; its reply is then kept in the journal.
    The pauses are those of ``policy``, and the last error is raised when its budget is spent, or at once if it is
    ``final``. The sender's own timeout ends it, too. What sagas are told by hand is said once.
    """
    random = Random()

    async def retry(call: Call, proceed: Proceed) -> object:
        if call.kind == "verb":
            return await proceed(call)
        call, failures = call.identified(), 0
        clock = asyncio.get_running_loop().time
        until = clock() + policy.budget.total_seconds()
        while True:
            try:
                return await proceed(call)
            except PASSES as error:
                failures += 1
                pause = policy.backoff.pause(failures, random)
                final = isinstance(error, Elsewhere | PoisonMessage | WrongLoop) or policy.is_final(error)
                if final or clock() + pause > until:
                    raise
            await asyncio.sleep(pause)

    return retry
