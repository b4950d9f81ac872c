"""Ending in good order when the operating system asks for it."""

import asyncio
import signal
from types import TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class stop_on_signals:  # noqa: N801 (used like a function: with stop_on_signals() as stop)
    """End what stands inside at the first signal, in good order; a second one ends the process at once.

    The first cancels the task that runs the block, so that an ``async with Runtime(...)`` inside closes as it always
    does; the block then ends without an error, and ``signal`` says which one it was. The second is left to the
    operating system: a journal can take it. By default for SIGINT (Ctrl-C) and SIGTERM::

        with stop_on_signals() as stop:
            async with Runtime("sqlite:trips.db", actors=[...]) as runtime:
                await serve(runtime)
        sys.exit(stop.exit_code)

    Only for the main thread, on the event loop that runs there.
    """

    def __init__(self, *signals: signal.Signals) -> None:
        self._signals = signals or SIGNALS
        self._before: dict[signal.Signals, Any] = {}
        self._task: asyncio.Task[Any] | None = None
        self.signal: signal.Signals | None = None
        """The signal that has come; None: none has."""

    @property
    def exit_code(self) -> int:
        """What a process that ended because of it exits with: 128 and the signal's number; 0: none has come."""
        return 0 if self.signal is None else 128 + self.signal

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        self._before = {number: signal.getsignal(number) for number in self._signals}
        for number in self._signals:
            loop.add_signal_handler(number, self._first, number)
        return self

    def _first(self, number: signal.Signals) -> None:
        assert self._task is not None
        if self.signal is not None:
            signal.raise_signal(number)  # both came before the loop looked; the handler is the system's by now
        self.signal = number
        self._restore(dict.fromkeys(self._signals, signal.SIG_DFL))
        self._task.cancel()

    def _restore(self, handlers: dict[signal.Signals, Any]) -> None:
        loop = asyncio.get_running_loop()
        for number, handler in handlers.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        assert self._task is not None
        if self.signal is None:
            self._restore(self._before)  # else a second one is left to the operating system until the end
        # Swallowed only where nobody else wants the task to end, too.
        return isinstance(error, asyncio.CancelledError) and self.signal is not None and not self._task.uncancel()
