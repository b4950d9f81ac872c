"""The contract of read models' databases: what every engine keeps, and the values that go in and come out.

Rows, checkpoint and what is set aside change in one transaction, so they never disagree: the rows are the fold of the
journal up to the checkpoint, less the events that are parked or were skipped, each of which is listed.
"""

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

import msgspec

SqlStatement = tuple[str, tuple[Any, ...]]
"""SQL text and the values bound to it."""

SLOWEST = 60.0
"""Seconds that a batch may take in the database; then it is ended, and has failed."""


class ParkedRow(msgspec.Struct, frozen=True):
    """An event that is set aside: one that could not be projected, or a later one of the same key."""

    position: int
    key: str
    time: int
    """When it was set aside, in microseconds since 1970."""
    error: str = ""
    """What was wrong with the first of its key; "": it waits for that one."""
    attempts: int = 0
    """How often it was tried since it was set aside."""


class SkippedRow(msgspec.Struct, frozen=True):
    """An event that somebody has decided to leave out of the tables."""

    position: int
    key: str
    time: int
    """When that was decided, in microseconds since 1970."""
    error: str
    """What was wrong with it."""
    reason: str
    by: str


class Aside(msgspec.Struct, frozen=True):
    """What changes in the list of events that are set aside."""

    parked: Sequence[ParkedRow] = ()
    """To be added, or known better than before."""
    taken: Sequence[int] = ()
    """Positions that are to leave the list."""
    skipped: Sequence[SkippedRow] = ()


NOTHING_ASIDE = Aside()

PARKED = "select position, key, time, error, attempts from understudy_parked order by position"
# The column's name alone would be a text to SQLite, were there no such column.
SKIPPED = 'select position, key, time, error, reason, s."by" from understudy_skipped s order by position'
"""What is set aside, and what was skipped, by the names of the columns: somebody may have added others."""


class Build(msgspec.Struct, frozen=True):
    """One database of a read model: what it was built from, and whether it has caught up once."""

    fingerprint: str
    """Names the schema, the version and the events that it was built from."""
    generation: int = 0
    """Which one of this fingerprint it is."""
    journal: str = ""
    """The identity of the journal."""
    form: str = ""
    """Names the schema alone; see :func:`form_of`."""
    made: int = 0
    """When it was begun, in microseconds since 1970."""
    ready: bool = False
    position: int = 0
    """Up to where the events are in the tables."""


def wall_time() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1_000


def form_of(schema: str) -> str:
    """Return what tells a schema from another one."""
    return hashlib.blake2b(schema.encode(), digest_size=8).hexdigest()


class View(ABC):
    """The database of one read model. Its methods are safe to cancel.

    Several processes may open it where the engine lets them; one of them leads, and it alone projects.
    """

    first_value: ClassVar[str] = "?"
    """What stands in a statement for its first value."""

    def __init__(self, schema: str, journal: str, now: Callable[[], int]) -> None:
        """``schema`` makes the tables, ``journal`` is the identity of theirs, ``now`` tells microseconds since 1970."""
        self.schema = schema
        self.journal = journal
        self.now = now
        self.leading = True
        """Whether this process projects into it; see :meth:`lead`."""
        self.ready = False
        """Whether the tables have caught up with the journal once."""
        self.checkpoint = 0
        """The position of the last event whose rows are committed."""
        self.mark = ""
        """What tells the event at the checkpoint from any other one that might stand there; "": not known."""
        self.log_bytes = 0
        """The size of the write-ahead log beside a file after the last batch; 0: there is none."""
        self.unclean = False
        """Whether it may hold copies of what was blanked."""
        self.partitions = 1
        """How many partitions are to fill tables that are made when it is opened, where the engine has them."""
        self.partitioned: tuple[int, ...] = ()
        """How far each partition is, while there are some: the rows are no fold of a prefix then. (): they are."""

    @abstractmethod
    async def open(self) -> None:
        """Open or make the database; one that is damaged, or of another journal, is made anew.

        Raises:
            JournalUnusable: it can't be opened or its schema can't be run.
        """

    @abstractmethod
    async def open_for_reading(self) -> None:
        """Open the database as it is, for queries only.

        Raises:
            JournalUnusable: it can't be opened.
        """

    async def lead(self) -> bool:
        """Become the one who projects, if nobody else is; return whether we are. Known is then what is kept.

        Raises:
            Exception: it can't be known now; see :meth:`passes`.
        """
        return True

    @abstractmethod
    async def keep_ready(self) -> None:
        """Keep that the tables have caught up once.

        Raises:
            Exception: it could not be kept; see :meth:`passes`.
        """

    @abstractmethod
    async def remake(self) -> None:
        """Make the tables anew, empty, with the checkpoint at 0.

        Raises:
            JournalUnusable: it can't be done.
        """

    @abstractmethod
    async def apply(
        self,
        statements: Sequence[SqlStatement],
        checkpoint: int,
        *,
        mark: str = "",
        blanks: bool = False,
        aside: Aside = NOTHING_ASIDE,
    ) -> None:
        """Run the statements and move the checkpoint, all or nothing; runs of one statement go as one.

        ``mark`` tells the event at the checkpoint. ``blanks``: no copy of what the statements overwrite may stay;
        :meth:`clean` sees to it. ``aside`` changes what is set aside; the checkpoint may stay where it is then.

        Raises:
            Exception: it failed; ``checkpoint`` says whether anything was changed, :meth:`passes` whether the same may
                succeed later.
            JournalUnusable: the checkpoint is not where this object left it, but where ``checkpoint`` now says.
        """

    @property
    def furthest(self) -> tuple[int, str]:
        """The position of the last event that may be in any row, and what tells it; see :attr:`mark`."""
        return self.checkpoint, self.mark

    def partition(self, number: int) -> "Partition":
        """Return one of the partitions that :attr:`partitioned` tells of; it is not open yet."""
        raise NotImplementedError(f"{type(self).__name__} has no partition {number}")

    async def unite(self) -> None:  # noqa: B027 (most engines have no partitions)
        """Keep that the rows are the fold of a prefix, for every partition has come to the checkpoint, and is no more.

        Raises:
            JournalUnusable: one has come further.
            Exception: it could not be kept; see :meth:`passes`.
        """

    @abstractmethod
    def passes(self, error: BaseException) -> bool:
        """Return whether an error of :meth:`apply` is of the disk or the connection, and no statement's fault."""

    @abstractmethod
    async def parked(self) -> list[ParkedRow]:
        """Return the events that are set aside, in the order of their positions."""

    @abstractmethod
    async def skipped(self) -> list[SkippedRow]:
        """Return the events that were skipped, in the order of their positions."""

    @abstractmethod
    async def value(self, query: str) -> Any:
        """Return the first value of the first row that a query of our own finds; None: there is no row.

        Raises:
            StatementFailed: its table is not there, or has no such column.
            JournalUnusable: it can't be known now.
        """

    @abstractmethod
    def reading(self) -> AbstractAsyncContextManager[Any]:
        """Return the driver's connection for one query, while it runs; it can only read.

        Raises:
            JournalUnusable: the database is not open, or can't be reached.
        """

    @abstractmethod
    async def clean(self) -> None:
        """Leave no copy of what was blanked; in a large database it takes long.

        Raises:
            Exception: it could not be done now; what is read is right all the same.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close the database. Does nothing where it is not open."""


class Partition(ABC):
    """One of several who fill tables at once that nobody reads yet, each the events of some keys.

    Its rows and its own checkpoint change together, the view's checkpoint behind those of all. Its methods are safe to
    cancel.
    """

    @abstractmethod
    async def open(self) -> None:
        """Get ready to write.

        Raises:
            Exception: it can't be done now.
        """

    @abstractmethod
    async def apply(self, statements: Sequence[SqlStatement], checkpoint: int, mark: str) -> None:
        """Run the statements and move the partition's checkpoint, all or nothing; see :meth:`View.apply`.

        Raises:
            Exception: it failed; what is kept decides whether anything was changed.
            JournalUnusable: the checkpoint is not where it is known to be.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of what it writes with. Does nothing where it is not open."""


class Shelf(ABC):
    """Where the databases of read models are."""

    keeps = True
    """Whether they are there when the process has ended."""

    @abstractmethod
    def view(self, name: str, build: Build, schema: str, journal: str, now: Callable[[], int]) -> View:
        """Return a database of the read model of this name; it is not open yet."""

    @abstractmethod
    async def builds(self, name: str) -> list[Build]:
        """Return the databases that there are of a read model, in the order in which they were begun.

        Raises:
            JournalUnusable: it can't be known now.
        """

    @abstractmethod
    async def drop(self, name: str, build: Build) -> bool:
        """Remove a database, if nobody uses it; return whether it is gone.

        Raises:
            JournalUnusable: it can't be done now.
        """
