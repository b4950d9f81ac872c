"""The write-ahead log beside an SQLite file: when it is copied into the file, and how large it is.

A checkpoint copies the log into the file, after the commit that made it large enough, and the next commit begins the
log anew. Both wait for readers: while one looks at an old state, the log grows.
"""

import sqlite3
from pathlib import Path

CHECKPOINT_PAGES = 1_000
"""With so many pages in the log (4 MB) a commit is followed by a checkpoint. Four times as many made groups twice as
slow at their slowest, and no faster otherwise, while the journal was read."""
KEPT_BYTES = 16 * 1024 * 1024
"""A log that has grown beyond this is cut to it when it begins anew, so that its size says how it is now."""


def keep_small(db: sqlite3.Connection) -> None:
    """Tell the writing connection when to make a checkpoint. No other connection ever does."""
    db.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}").close()
    db.execute(f"pragma journal_size_limit = {KEPT_BYTES}").close()


def log_size(path: Path) -> int:
    """Return the size of the log beside a database file, in bytes; 0: there is none."""
    try:
        return Path(f"{path}-wal").stat().st_size
    except OSError:
        return 0
