"""How far a PostgreSQL journal has grown, whoever writes to it: told by notifications, and looked at now and then."""

import asyncio

from persistence.errors import JournalUnusable
from persistence.journal import Journal
from persistence.news import News
from persistence.postgres_client import Link, Reader
from persistence.postgres_queries import POSITION

TOLD_EVERY = 1.0
"""Seconds after which who waits looks all the same: a notification may have been lost with its connection."""
LOOK_EVERY = 0.05
"""Seconds after which who waits looks where nobody tells him."""

DIGITS = 19
"""What a position has at the most."""


class Lookout:
    """Keeps a journal's ``position`` up with what others write, over the connection that reads, for all who wait.

    A notification only says that there may be news: anybody who is let into the database can send one.
    """

    def __init__(self, journal: Journal, reader: Reader, channel: str) -> None:
        """Listen on ``channel``; "": nobody tells."""
        self._journal = journal
        self._reader = reader
        self._channel = channel
        self._news = News()
        self._looking = asyncio.Lock()
        self._looks = 0
        self._every = TOLD_EVERY if channel else LOOK_EVERY

    def grown(self, position: int) -> None:
        """Take note of how far the journal is; it may be known to be further."""
        if position > self._journal.position:
            self._journal.position = position
            self._news.tell()

    def look_up(self) -> None:
        """Have those who wait look again."""
        self._news.tell()

    async def above(self, after: int, timeout: float) -> int:
        """Return the journal's position when it is above ``after``, or as it is after ``timeout`` seconds.

        Raises:
            JournalUnusable: it is not open, or could not be looked at until the time was over.
        """
        clock = asyncio.get_running_loop().time
        due = clock() + timeout
        if self._channel and self._reader.greet is None:
            self._reader.greet = self._listen
        while self._journal.position <= after:
            known, error = self._news.count, None
            try:
                await self._look()
            except JournalUnusable as again:  # through a restart of the server
                error = again
            left = due - clock()
            if self._journal.position > after:
                break
            if error is not None and (left <= 0 or self._reader.closed):
                raise error
            if left <= 0:
                break
            await self._news.wait(min(left, self._every), known)
        return self._journal.position

    async def _look(self) -> None:
        """Ask the server, once for all who want to know at the same time."""
        looks = self._looks
        async with self._looking:
            if self._looks > looks:
                return  # that one began after we wanted to know
            self._looks += 1
            for (position,) in await self._reader.fetch("the journal's position", POSITION):
                self.grown(position)

    async def _listen(self, link: Link) -> None:
        await link.listen(self._channel, self._told, self._news.tell)

    def _told(self, payload: str) -> None:
        known = payload.isdecimal() and len(payload) <= DIGITS and int(payload) <= self._journal.position
        if not known:
            self._news.tell()
