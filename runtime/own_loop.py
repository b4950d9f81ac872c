"""The event loop that a runtime belongs to: it was made on it, and nothing of it can be used from elsewhere."""

import asyncio

from actors import WrongLoop

ELSEWHERE = (
    "the runtime belongs to the event loop that opened it, and is used from another one, or from another thread; "
    "write asyncio.run_coroutine_threadsafe(runtime.ask(...), loop).result() there"
)


def runs(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether what is done here is done on this event loop.

    To ask asyncio for the loop may take a system call, which is too much for each message. So it is asked where more is
    done, where somebody would wait, and where asyncio has refused to wait.
    """
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:  # none runs
        return False


def check_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Make sure that what is done here is done on this event loop.

    Raises:
        WrongLoop: it isn't.
    """
    if not runs(loop):
        raise WrongLoop(ELSEWHERE)
