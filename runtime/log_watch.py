"""A watch over write-ahead logs: one that grows is named, once."""

from runtime.log import log

LOG_LIMIT = 64 * 1024 * 1024
"""Bytes above which a write-ahead log is named. With nobody in its way it stays below 30 MiB under full load."""


class LogWatch:
    """Names a write-ahead log once for each time that it grows beyond the limit."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._told = False

    def look(self, size: int) -> None:
        """Take note of the log's size, in bytes."""
        if size > LOG_LIMIT and not self._told:
            log.warning(
                f"the write-ahead log of {self._owner} grows: somebody reads an old state and keeps it from being "
                "copied into the file; end that transaction (an SQL shell, a backup, a query whose cursor is open)",
                bytes=size,
            )
        self._told = size > LOG_LIMIT
