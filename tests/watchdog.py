"""Says of a test that hangs what its tasks wait for.

Pytest's own ``faulthandler_timeout`` shows the threads and ends the run; of an event loop they show only that it has
nothing to do. This shows the tasks, a little before.
"""

import asyncio
import gc
import inspect
import linecache
import threading
import time
from collections.abc import Callable
from math import inf
from typing import Any, TextIO

SHARE = 0.9
"""How much of the time until pytest ends the run a test gets until its tasks are shown."""
DEEPEST = 50
"""Lines that are shown of one task."""


def tasks() -> list[str]:
    """Return, of each task that has not ended, whatever its loop, what it is and the lines where it is."""
    found: list[Any] = [one for one in gc.get_objects() if issubclass(type(one), asyncio.Task)]
    return ["\n".join([f"{one!r:.500}", *_lines(one.get_coro())]) for one in found if not one.done()]


def _lines(awaited: Any) -> list[str]:
    """Return where a coroutine is, from the outside in; a task's own stack ends at the first ``await``."""
    lines: list[str] = []
    while awaited is not None and len(lines) < DEEPEST:
        frame = _first(awaited, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            name, number = frame.f_code.co_filename, frame.f_lineno
            code = linecache.getline(name, number).strip()
            lines.append(f'  File "{name}", line {number}, in {frame.f_code.co_name}: {code}')
            awaited = _first(awaited, "cr_await", "gi_yieldfrom", "ag_await")
        else:
            # What asks an async generator for its next value doesn't say which one; the garbage collector does.
            lines.append(f"  {awaited!r:.200}")
            awaited = next(filter(inspect.isasyncgen, gc.get_referents(awaited)), None)
    return lines


def _first(one: Any, *names: str) -> Any:
    return next((found for name in names if (found := getattr(one, name, None)) is not None), None)


class Watchdog:
    """Waits in a thread of its own beside the tests, one at a time."""

    def __init__(self, seconds: float, report: TextIO, show: Callable[[], list[str]] = tasks) -> None:
        """Write to ``report`` what the tasks of a test wait for that has not ended after so many seconds."""
        self._seconds = seconds
        self._report = report
        self._show = show
        self._turn = threading.Condition()
        self._test = ""
        self._due = inf
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def begin(self, test: str) -> None:
        """Watch a test from now on."""
        self._set(test, time.monotonic() + self._seconds)

    def end(self) -> None:
        """Watch it no more."""
        self._set("", inf)

    def close(self) -> None:
        """End the thread, and close the report."""
        self._closed = True
        self._set("", inf)
        self._thread.join()
        self._report.close()

    def _set(self, test: str, due: float) -> None:
        with self._turn:
            self._test, self._due = test, due
            self._turn.notify()

    def _watch(self) -> None:
        with self._turn:
            while not self._closed:
                left = self._due - time.monotonic()
                if left > 0:
                    self._turn.wait(None if left == inf else left)
                else:
                    self._due = inf
                    self._tell()

    def _tell(self) -> None:
        try:
            found = "\n".join(self._show())
        except Exception as error:  # noqa: BLE001 (the tests go on, and may change what is looked at)
            found = f"they can't be shown: {error!r}"
        print(f"\n{self._test} has not ended after {self._seconds:.0f} s. Its tasks:\n{found}", file=self._report)
        self._report.flush()
