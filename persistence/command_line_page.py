"""What the command line writes: for people in aligned columns, for programs one JSON object a line.

Times are local with their offset for people, and UTC for programs. Whatever a journal holds, no character reaches a
terminal that would do something there.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, TextIO

from persistence.journal import AT_ONCE, ERASED, NEVER, Record

Row = Sequence[str]
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 (the name is the same in all Pythons)
GAP = "  "


class Page:
    """Standard output, and standard error for how far a long piece of work has come."""

    def __init__(self, *, as_json: bool, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.as_json = as_json
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._width = shutil.get_terminal_size().columns if self._out.isatty() else 0
        """How wide a line may be; 0: as wide as it is."""
        self._bar = ""
        self._told = 0.0
        self._widths: list[int] = []

    def object(self, value: Mapping[str, Any]) -> None:
        """Write one object as JSON. All of it is ASCII."""
        self._write(json.dumps(value, default=str))

    def line(self, text: str = "") -> None:
        """Write one line for people."""
        self._write(printable(text))

    def text(self, text: str) -> None:
        """Write our own text as it is."""
        self._write(text.rstrip())

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Write names and what there is to say of each."""
        width = max(len(name) for name, _ in facts)
        for name, value in facts:
            self.line(f"{name:<{width}}{GAP}{value}")

    def heading(self, *names: str) -> None:
        """Begin a table. A name that begins with a blank heads a column of numbers, which is set to the right."""
        self._names = names
        self._widths = [len(name.strip()) for name in names]
        self._headed = False

    def rows(self, rows: Sequence[Row]) -> None:
        """Write more rows of the table; the last column is cut off where a terminal ends."""
        rows = [[printable(cell) for cell in row] for row in rows]
        for row in rows:
            self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, row, strict=True)]
        if not self._headed and rows:
            self._headed = True
            self._write(self._laid_out([name.strip() for name in self._names]))
        for row in rows:
            self._write(self._laid_out(row))

    def _laid_out(self, row: Row) -> str:
        cells = [
            cell.rjust(width) if name.startswith(" ") else cell.ljust(width)
            for name, cell, width in zip(self._names, row, self._widths, strict=True)
        ]
        text = GAP.join(cells).rstrip()
        return f"{text[: self._width - 1]}…" if 0 < self._width < len(text) else text

    def note(self, text: str) -> None:
        """Say something beside what was asked for, on standard error."""
        self.clear()
        print(printable(text), file=self._err, flush=True)

    def _write(self, text: str) -> None:
        self.clear()
        print(text, file=self._out)

    def flush(self) -> None:
        """Have all that was written be there for who reads it."""
        self._out.flush()

    # -- progress -----------------------------------------------------------------------------------------------

    def progress(self, done: int, of: int) -> None:
        """Show how far it has come, where a person is watching; several times a second at the most."""
        now = time.monotonic()
        if not self._err.isatty() or (now - self._told < 0.1 and done < of):
            return
        self._told = now
        share = done / of if of else 1.0
        self._bar = f"[{'#' * round(30 * share):<30}] {share:4.0%}  {done:,} of {of:,}"
        print(f"\r{self._bar}\x1b[K", end="", file=self._err, flush=True)

    def clear(self) -> None:
        """Take the progress bar away."""
        if self._bar:
            self._bar = ""
            print("\r\x1b[K", end="", file=self._err, flush=True)

    def nobody_reads(self) -> None:
        """Write to nowhere from now on, so that closing does not fail again."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())


def printable(text: str) -> str:
    """Return the text with all that is no letter, sign or blank written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def moment(time_: int) -> datetime | None:
    """Return a time in microseconds since 1970; None where no calendar has it."""
    try:
        return EPOCH + timedelta(microseconds=time_)
    except OverflowError:
        return None


def local(time_: int) -> str:
    """Return a time for people."""
    when = moment(time_)
    try:
        return str(time_) if when is None else when.astimezone().isoformat(" ", "milliseconds")
    except (OverflowError, ValueError, OSError):
        return str(time_)


def utc(time_: int) -> str | int:
    """Return a time for programs."""
    when = moment(time_)
    return time_ if when is None else when.isoformat(timespec="microseconds").replace("+00:00", "Z")


def wake_for_people(wake: int) -> str:
    """Return when a stream's owner must be awake."""
    return {AT_ONCE: "at once", NEVER: ""}.get(wake) or ("" if wake == NEVER else local(wake))


def wake_for_programs(wake: int) -> str | int | None:
    """Return when a stream's owner must be awake."""
    if wake == NEVER:
        return None
    return "at once" if wake == AT_ONCE else utc(wake)


def content(data: bytes) -> Any:
    """Return an event's payload as a value, or as text where it is no JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data.decode("utf-8", "backslashreplace")


def record_for_programs(record: Record) -> dict[str, Any]:
    """Return all that a record says."""
    category, key = record.stream
    return {
        "position": record.position,
        "category": category,
        "key": key,
        "version": record.version,
        "type": record.type,
        "time": utc(record.time),
        "command": record.command,
        "id": record.id,
        "tags": list(record.tags),
        "data": content(record.data),
        "meta": content(record.meta),
    }


def payload_for_people(record: Record) -> str:
    """Return an event's payload in one line."""
    return "(erased)" if record.type == ERASED else record.data.decode("utf-8", "backslashreplace")
