"""Filling a read model's tables by several partitions at once, while nobody reads them.

One task reads pages of the journal and projects them; each partition runs the statements of its keys, in order, with a
connection and a checkpoint of its own. The read model's checkpoint follows behind what all of them have run.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio

from persistence import Record
from persistence.views import View
from runtime.partitions import Page, Partitions
from runtime.projection import Projection, mark_of

PAGES = 4
"""Pages of the journal that wait for one partition at the most."""
TOGETHER = 1_000
"""Statements with which a partition takes no further page into the same transaction."""


class PartitionedBuild:
    """One run of all partitions, from a position at which they are level to another one."""

    def __init__(
        self,
        projection: Projection,
        partitions: Partitions,
        view: View,
        project: Callable[[Page, Sequence[Record]], None],
        done: Callable[[Page], None],
    ) -> None:
        """``project`` adds records to a page; ``done`` is told of each page that all have run, in order."""
        self.ahead = 0
        """Up to here, and not further, something may be in the rows."""
        self._projection = projection
        self._partitions = partitions
        self._view = view
        self._project = project
        self._done = done
        self._waiting: list[asyncio.Queue[Page | None]] = []
        self._under_way = asyncio.Queue[Page | None](2 * PAGES)
        self._scope = anyio.CancelScope()
        self._failure: Exception | None = None

    async def run(self, records: Sequence[Record], more: Callable[[int], Awaitable[Sequence[Record]]]) -> None:
        """Take records and what ``more`` reads behind a position, until it returns nothing.

        What can't be read or projected is an end too: it is for who takes it alone. All partitions are level then.

        Raises:
            Exception: a partition has failed; they need not be level. The view has to be loaded anew.
        """
        self._waiting = [asyncio.Queue(PAGES) for _ in self._view.partitioned]
        with self._scope:
            async with anyio.create_task_group() as tasks:
                for number in range(len(self._waiting)):
                    tasks.start_soon(self._or_fail, self._run_one, number)
                tasks.start_soon(self._or_fail, self._follow_behind)
                await self._hand_out(records, more)
        if self._failure is not None:
            raise self._failure

    async def _or_fail(self, work: Callable[..., Awaitable[None]], *told: Any) -> None:
        try:
            await work(*told)
        except Exception as error:  # noqa: BLE001 (raised by run: a task group would wrap it)
            self._failure = self._failure or error
            self._scope.cancel()

    async def _hand_out(self, records: Sequence[Record], more: Callable[[int], Awaitable[Sequence[Record]]]) -> None:
        with suppress(Exception):  # it comes again where the same is taken by one
            while records:
                self.ahead = records[-1].position
                page = Page(self._projection, self._partitions, len(self._waiting))
                page.records = records
                self._project(page, records)
                for queue in (*self._waiting, self._under_way):
                    await queue.put(page)
                records = await more(self.ahead)
        for queue in (*self._waiting, self._under_way):
            await queue.put(None)

    async def _run_one(self, number: int) -> None:
        """Run what is one partition's, several pages at once where it is behind."""
        queue, partition = self._waiting[number], self._view.partition(number)
        try:
            await partition.open()
            last = False
            while not last and (page := await queue.get()) is not None:
                pages, statements = [page], list(page.statements[number])
                while len(statements) < TOGETHER and not queue.empty():
                    following = queue.get_nowait()
                    if following is None:
                        last = True
                        break
                    pages.append(following)
                    statements += following.statements[number]
                if statements:
                    record = pages[-1].records[-1]
                    await partition.apply(statements, record.position, mark_of(record))
                for page in pages:
                    page.one_is_done()
        finally:
            with anyio.CancelScope(shield=True):
                await partition.close()

    async def _follow_behind(self) -> None:
        """Keep how far all are."""
        while (page := await self._under_way.get()) is not None:
            await page.done.wait()
            record = page.records[-1]
            await self._view.apply([], record.position, mark=mark_of(record))
            self._done(page)
