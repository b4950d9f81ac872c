"""A way into SQLite: stop, fail or watch the statements that the code under test runs."""

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

Watcher = Callable[[sqlite3.Connection, str], str | None]


class Probe:
    """Called with each statement ``before`` and ``after`` it runs; what these raise comes out of the statement.

    What ``before`` returns is run in the statement's place.
    """

    def __init__(self) -> None:
        self.before: Watcher = lambda db, statement: None
        self.after: Watcher = lambda db, statement: None

    def fail(self, start: str, *, after: bool = False, times: int = 1) -> None:
        """Let the next statements that begin with ``start`` fail, before or after they have run."""
        left = times

        def watcher(db: sqlite3.Connection, statement: str) -> str | None:
            nonlocal left
            if left and statement.startswith(start):
                left -= 1
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error
            return None

        if after:
            self.after = watcher
        else:
            self.before = watcher


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Probe:
    probe = Probe()

    def settle(cursor: sqlite3.Cursor, statement: str) -> sqlite3.Cursor:
        try:
            probe.after(cursor.connection, statement)
        except BaseException:
            cursor.close()  # or it would keep the file open for as long as the error lives
            raise
        return cursor

    class Probed(sqlite3.Connection):
        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
            cursor = super().execute(probe.before(self, statement) or statement, *values)
            return settle(cursor, statement)

        def executemany(self, statement: str, *values: Any) -> sqlite3.Cursor:
            cursor = super().executemany(probe.before(self, statement) or statement, *values)
            return settle(cursor, statement)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Probed))
    return probe
