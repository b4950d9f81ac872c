"""One of several partitions that fill the same tables on PostgreSQL at once: a connection and a checkpoint of its own.

The checkpoint is a row that every batch moves from where we know it, so a batch is never run twice: not after a commit
whose outcome was unknown, and not by a process that has lost the lead while it was at it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from persistence import postgres_rows
from persistence.connection import shielded
from persistence.errors import JournalUnusable
from persistence.postgres_client import CLOSE_TIMEOUT, FAULTS
from persistence.postgres_url import Place
from persistence.views import Partition, SqlStatement

TABLE = """create table understudy_partition (number integer primary key, position bigint not null, mark text not null);
insert into understudy_partition select number, 0, '' from generate_series(0, {last}) as number"""
PARTITIONS = "select position, mark from understudy_partition order by number"


class PostgresPartition(Partition):
    """A partition of the tables in one schema."""

    def __init__(
        self,
        place: Place,
        schema: str,
        slowest: float,
        number: int,
        known: Callable[[], int],
        moved: Callable[[int, str], None],
    ) -> None:
        """``known`` returns its checkpoint, ``moved`` is told where that is now, and the mark of the event there."""
        self._place = place
        self._schema = schema
        self._slowest = slowest
        self._number = number
        self._known = known
        self._moved = moved
        self._connection: Any = None

    async def open(self) -> None:
        """Connect; see :meth:`Partition.open`."""

        async def connect() -> None:
            self._connection = await postgres_rows.connect_to_write(self._place, self._schema, self._slowest)

        await shielded(connect())

    async def apply(self, statements: Sequence[SqlStatement], checkpoint: int, mark: str) -> None:
        """Run the statements and move the partition's checkpoint; see :meth:`Partition.apply`."""
        connection = self._connection

        async def work() -> None:
            async with connection.transaction():
                await self._move(checkpoint, mark)
                await postgres_rows.run(connection, statements)
            self._moved(checkpoint, mark)  # here, so that it follows the rows even if the caller is cancelled

        await postgres_rows.guarded(connection, work)

    async def _move(self, checkpoint: int, mark: str) -> None:
        moved = await self._connection.execute(
            "update understudy_partition set position = $1, mark = $2 where number = $3 and position = $4",
            checkpoint,
            mark,
            self._number,
            self._known(),
        )
        if moved != "UPDATE 1":
            raise JournalUnusable(f"partition {self._number} of the schema {self._schema} was changed by somebody else")

    async def close(self) -> None:
        """Close the connection. Does nothing where it is not open."""
        await shielded(self._close())

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            try:
                await connection.close(timeout=CLOSE_TIMEOUT)
            except FAULTS:
                connection.terminate()


async def move_all(writer: Any, known: Sequence[int], checkpoint: int, mark: str) -> bool:
    """Move those partitions that are behind up to a checkpoint; return whether all were where they are known to be.

    It waits for a batch that is under way, so whoever runs that comes too late or is seen.
    """
    rows = await writer.fetch(f"{PARTITIONS} for update")
    await writer.execute(
        "update understudy_partition set position = $1, mark = $2 where position < $1", checkpoint, mark
    )
    return [position for position, _ in rows] == list(known)


async def end_all(writer: Any, checkpoint: int) -> bool:
    """Have no partitions any more; return whether none was ahead of the checkpoint."""
    rows = await writer.fetch("delete from understudy_partition returning position")
    return all(position <= checkpoint for (position,) in rows)
