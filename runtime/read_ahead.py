"""Pages of one stream, asked for ahead: a journal's thread or server reads the next ones while the loop replays one."""

import asyncio

from persistence import Journal, Record, Stream
from persistence.journal import PAGE

AHEAD = 2
"""How many pages are asked for while one is replayed. One is too few: a thread that finds no request when it has
answered one waits for the interpreter's lock before it sees the next, and gets it when the loop has nothing to do."""

Page = list[Record]


class ReadAhead:
    """Reads a stream page by page. Who leaves off before the end calls :meth:`drop`."""

    __slots__ = ("_asked", "_journal", "_stream")

    def __init__(self, journal: Journal, stream: Stream) -> None:
        self._journal = journal
        self._stream = stream
        self._asked: list[tuple[int, asyncio.Task[Page]]] = []
        """The pages that are on their way, and behind which version each of them begins."""

    async def page(self, after: int, head: int) -> Page:
        """Return the page behind a version; ask for others up to ``head``, where it is not the last (0: for none).

        Raises:
            JournalError: it can't be read.
        """
        if self._asked and self._asked[0][0] != after:
            self.drop()
        if not self._asked:
            if head <= after + PAGE:
                return await self._journal.read(self._stream, after, PAGE)
            self._ask(after)
        while len(self._asked) <= AHEAD and self._asked[-1][0] + PAGE < head:
            self._ask(self._asked[-1][0] + PAGE)
        return await self._asked.pop(0)[1]

    def _ask(self, after: int) -> None:
        task = asyncio.create_task(self._journal.read(self._stream, after, PAGE))
        self._asked.append((after, task))

    def drop(self) -> None:
        """Let go of what has been asked for."""
        while self._asked:
            self._asked.pop()[1].cancel()
