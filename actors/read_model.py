"""Read models: tables made for reading, kept up to date from the journals."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple, Self

from actors.address import Address
from actors.definition import annotated, by_name, check_async, check_at_once, check_choices, check_settings
from actors.errors import DefinitionError
from actors.interceptors import Interceptor, check_interceptors
from actors.messages import Event, Meta
from actors.policies import RetryPolicy

PROJECTION_RETRY = RetryPolicy(budget=timedelta(seconds=5))
"""The default for events that can't be projected. What passes by itself, a full disk say, doesn't count, and a pure
function rarely thinks better of it: others wait meanwhile."""

MOST_PARTITIONS = 16
"""The most partitions that one read model's tables are built in."""

SqlValue = str | int | float | bytes | None


class Statement(NamedTuple):
    """One SQL statement and the values bound to it. Data: nothing runs until the runtime runs it."""

    text: str
    values: tuple[SqlValue, ...]


def sql(text: str, *values: SqlValue) -> Statement:
    """Return a statement for ``project`` to yield; values are bound to its ``?``, never built into the text."""
    return Statement(text, values)


class ReadModel:
    """A table, or several, that is always the fold of a prefix of the journal.

    ``schema`` creates the tables; ``project`` turns one event into statements and is pure; ``answer`` answers
    queries with the database driver's own read-only connection. The events that it follows are those in the
    annotation of ``project``, or with ``Event`` all that there are; ``categories`` and ``tags`` choose among them.
    Change ``version`` when ``project`` changes, and the tables are built anew.

    An event that can't be projected is tried again (``retry``), then it is set aside, and with it all later events of
    its :meth:`key`; others go on. See ``docs/read_models.md``.
    """

    schema: ClassVar[str] = ""
    version: ClassVar[int] = 1
    retry: ClassVar[RetryPolicy] = PROJECTION_RETRY
    parked_limit: ClassVar[int] = 10_000
    """How many events may be set aside; at the next one the whole read model is parked. 0: at the first one."""
    partitions: ClassVar[int] = 1
    """How many partitions, from 1 to 16, fill tables on PostgreSQL that nobody reads yet, each with a connection of its
    own. Each takes the events of some :meth:`key`, in order. Elsewhere it changes nothing."""
    follows: ClassVar[Mapping[str, type[Event]]] = {}
    """The event classes that it follows, by stable name; read from the annotation of ``project``. ``Event``: all."""
    categories: ClassVar[Sequence[str]] = ()
    """The classes of actors whose events it follows, by name; none: those of all."""
    tags: ClassVar[Sequence[str]] = ()
    """Only events that have all of these tags are followed; see ``Service.tags``."""
    interceptors: ClassVar[Sequence[Interceptor]] = ()
    """What stands around requests to actors of this class, inside the runtime's own; see :mod:`actors.interceptors`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        check_interceptors(cls.__name__, cls.interceptors)
        if "project" in cls.__dict__:
            check_at_once(cls, "project", may_yield=True)
            cls.follows = by_name(cls, annotated(cls, "project", "event: A | B, meta: Meta"), Event)
        if cls.schema:  # a fold has none, and answers at once
            check_async(cls, "answer", "db, query: A | B")
        check_choices(cls)
        if type(cls.partitions) is not int or not 1 <= cls.partitions <= MOST_PARTITIONS:
            raise DefinitionError(
                f"{cls.__name__}.partitions is {cls.partitions!r}; write a number from 1 to {MOST_PARTITIONS}: each is "
                "a connection to the server while tables are built"
            )
        check_settings(cls)
        words = set(cls.schema.lower().split())
        if ("project" in cls.__dict__ or "schema" in cls.__dict__) and not {"create", "table"} <= words:
            raise DefinitionError(f'{cls.__name__} needs tables: write schema = "create table ..." in the class')

    @classmethod
    def at(cls, key: str = "") -> Address[Self]:
        """Return the address of the read model."""
        return Address(cls.__name__, key)

    def project(self, event: Any, meta: Meta) -> Iterator[Statement]:
        """Yield the statements that bring the tables up to date with one event."""
        raise NotImplementedError(f"{type(self).__name__} needs a project(self, event, meta)")

    def key(self, event: Any, meta: Meta) -> str:  # noqa: ARG002 (it is for subclasses)
        """Return whose an event is: where it can't be projected, the later ones of the same key wait for it. Pure.

        By default each stream is for itself. Where a row is made of several streams' events, return what they share.
        With :attr:`partitions` only events of the same key are projected in order while tables are built.
        """
        return f"{meta.actor}/{meta.key}"

    def about(self, query: Any) -> str | None:  # noqa: ARG002 (it is for subclasses)
        """Return the :meth:`key` whose events a query reads; None, the default: any. Pure.

        A query that must see everything (``consistent=True``, ``after=``) is refused while something that it is about
        is set aside.
        """
        return None

    def answer(self, db: Any, query: Any, /) -> Any:
        """Answer a query, as ``async def answer``; ``db`` is the driver's connection, read-only.

        It is an ``aiosqlite.Connection``, or an ``asyncpg.Connection`` where the tables are on PostgreSQL.
        """
        raise NotImplementedError(f"{type(self).__name__} needs an async answer(self, db, query)")
