"""Following a journal: what is there first, then what comes, without a gap between and nothing twice.

The subscriber pulls. There is no queue that could grow: one that is slow reads what it has not seen from the journal,
and holds nobody back.
"""

from collections.abc import AsyncGenerator

from persistence.journal import PAGE, Journal, Record, Scan
from persistence.query import Query, check_query


class Subscription:
    """The events that a query means, in the order of their positions, from behind ``after`` on; it never ends.

    Iterate over it for the events. Iterate over :meth:`pages` to keep a checkpoint: a page says up to which position
    the journal was looked through, also where nothing in it was meant.
    """

    def __init__(self, journal: Journal, query: Query = (), after: int = 0, page: int = PAGE) -> None:
        """Follow ``journal``, up to ``page`` events at a time.

        Raises:
            ValueError: the query has too many parts.
        """
        check_query(query)
        self._journal = journal
        self._query = query
        self._page = page
        self.position = after
        """Up to here everything was handed out, or passed over. A later subscription can go on behind it."""

    async def pages(self) -> AsyncGenerator[Scan]:
        """Yield what is found, a page at a time, and wait for more; a page may be empty, but it leads on.

        Raises:
            JournalUnusable: the journal was closed, or can't be read now.
            JournalDamaged: an event is not what was written.
        """
        while True:
            page = await self._look()
            self.position = page.position
            yield page

    async def __aiter__(self) -> AsyncGenerator[Record]:
        """Yield the events; see :meth:`pages` for what it raises."""
        while True:
            page = await self._look()
            for record in page.records:
                self.position = record.position
                yield record
            self.position = page.position

    async def _look(self) -> Scan:
        await self._journal.changed(self.position, float("inf"))
        return await self._journal.scan(self._query, self.position, self._page)


def subscribe(journal: Journal, query: Query = (), after: int = 0) -> Subscription:
    """Return the events that a query means, from behind a position on: those that are there, then those that come."""
    return Subscription(journal, query, after)
