"""Connections to PostgreSQL: the driver behind one small typed module, and what its errors mean.

asyncpg has no type stubs, so nobody else in the house imports it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped] # pyright: ignore[reportMissingTypeStubs]

from persistence.connection import shielded
from persistence.errors import JournalDamaged, JournalError, JournalUnusable
from persistence.postgres_url import Place, quoted

T = TypeVar("T")
Row = Sequence[Any]

driver: Any = asyncpg
Refusal: type[Exception] = driver.PostgresError
"""The server has answered with an error."""
AlreadyThere: type[Exception] = driver.UniqueViolationError
LockTimeout: type[Exception] = driver.LockNotAvailableError
FAULTS: tuple[type[Exception], ...] = (Refusal, driver.InterfaceError, driver.InternalClientError, OSError)
"""All that the driver raises. A timeout is an OSError."""
CONNECT_FAULTS: tuple[type[Exception], ...] = (*FAULTS, ValueError)
"""Connecting also looks at what the URL says."""

CONNECT_TIMEOUT = 10.0
"""Seconds until a server that does not answer is taken for one that isn't there."""
ANSWER_TIMEOUT = 60.0
"""Seconds until a statement that is not answered is given up, and the connection with it."""
CLOSE_TIMEOUT = 5.0
STANDSTILL = 10.0
"""Seconds for which a transaction of ours may do nothing."""

SETTINGS = {
    # All that is asked here is found by an index. Plans are kept, and one that was made when the tables were small
    # must not go on to read them whole.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    # To start workers for a page of events takes ten times as long as to read it.
    "max_parallel_workers_per_gather": "0",
    # A group that has waited for another one must see what that one wrote.
    "default_transaction_isolation": "read committed",
    "jit": "off",
    # A machine that has vanished holds the journal's lock for a minute, not for two hours.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
# Where the server has these limits, they would end a session that holds the journal's lock, or a long read.
UNLIMITED = """select set_config(name, '0', false) from pg_settings
    where name in ('idle_session_timeout', 'statement_timeout', 'transaction_timeout', 'lock_timeout',
        'idle_in_transaction_session_timeout')"""

SINCE = "select backend_start from pg_stat_activity where pid = pg_backend_pid()"
END = "select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and backend_start = $2"
"""Ends a session of ours that is still there."""


class Link:
    """One connection, for one statement at a time; others wait for their turn.

    Who uses it shields what it does from being cancelled: the driver would cancel the statement at the server, over
    another connection and in its own time.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()
        self.process: int = connection.get_server_pid()
        """The number of the server's process behind the connection."""
        self.since: datetime | None = None
        """When the server's process began; numbers are used again."""

    @property
    def lost(self) -> bool:
        """Whether the connection has ended."""
        closed: bool = self._connection.is_closed()
        return closed

    async def fetch(self, statement: str, *values: object) -> list[Row]:
        """Run one statement and return its rows.

        Raises:
            Exception: one of :data:`FAULTS`. The connection has ended, unless the server itself has answered.
        """
        return await self._guarded(lambda: self._connection.fetch(statement, *values, timeout=ANSWER_TIMEOUT))

    async def script(self, statements: str) -> None:
        """Run statements without values; errors as of :meth:`fetch`."""
        await self._guarded(lambda: self._connection.execute(statements, timeout=ANSWER_TIMEOUT))

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None, None]:
        """Run what stands inside as one transaction; errors as of :meth:`fetch`.

        The server ends one that stands still: who is paused in the middle of it must not keep the others waiting.
        """
        await self.script(f"begin; set local idle_in_transaction_session_timeout = {STANDSTILL * 1e3:.0f}")
        try:
            yield
            await self.script("commit")
        except BaseException:
            if not self.lost:
                await self.script("rollback")
            raise

    async def listen(self, channel: str, told: Callable[[str], None], ended: Callable[[], None]) -> None:
        """Have ``told`` called with what is notified there, and ``ended`` when the connection ends."""

        def on_told(_connection: Any, _process: int, _channel: str, payload: str) -> None:
            told(payload)

        def on_end(_connection: Any) -> None:
            ended()

        await self._guarded(lambda: self._connection.add_listener(channel, on_told))
        self._connection.add_termination_listener(on_end)

    async def _guarded(self, work: Callable[[], Awaitable[T]]) -> T:
        async with self._turn:
            try:
                return await work()
            except Exception as error:
                # Unless the server has refused it, whether it is done is unknown, and what is still answered must not
                # meet another question. With a fatal error the server ends the session.
                if not isinstance(error, Refusal) or getattr(error, "severity_en", "FATAL") in ("FATAL", "PANIC"):
                    self._connection.terminate()
                raise

    async def shut(self) -> None:
        """Close; does nothing where it has ended already."""
        async with self._turn:
            if not self.lost:
                try:
                    await self._connection.close(timeout=CLOSE_TIMEOUT)
                except FAULTS:
                    self._connection.terminate()


async def connect(place: Place) -> Link:
    """Connect, with the journal's schema as the only one that is looked into.

    Raises:
        JournalUnusable: it can't be reached, or doesn't let us in.
    """
    settings = {**SETTINGS, "search_path": quoted(place.schema)}
    if "application_name=" not in place.dsn:
        settings["application_name"] = "understudy"
    try:
        connection: Any = await driver.connect(place.dsn, timeout=CONNECT_TIMEOUT, server_settings=settings)
    except CONNECT_FAULTS as error:
        raise JournalUnusable(f"can't open {place.shown}: {_why(error)}") from error
    link = Link(connection)
    try:
        await link.fetch(UNLIMITED)
        ((link.since,),) = await link.fetch(SINCE)
    except FAULTS as error:
        await link.shut()
        raise fault(place, "it can't be opened", error) from error
    return link


def text_of(error: Exception) -> str:
    """Return what the driver says, in one line. What the server adds in detail may show what is in a row."""
    said = str(error.args[0]) if isinstance(error, Refusal) and error.args else str(error)
    nothing = (
        f"no answer within {ANSWER_TIMEOUT:g} seconds" if isinstance(error, TimeoutError) else type(error).__name__
    )
    return " ".join(said.split()) or nothing


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_TIMEOUT:.0f} seconds; is the server running there?"
    if isinstance(error, driver.InvalidCatalogNameError):
        return f"{text_of(error)}; make it with createdb"
    if isinstance(error, driver.InvalidAuthorizationSpecificationError):  # a wrong password is one of them
        return f"{text_of(error)}; look at the user and the password in the URL, and at the server's pg_hba.conf"
    if isinstance(error, Refusal | driver.InterfaceError):
        return text_of(error)
    return f"{text_of(error)}; is the server running there?"


def fault(place: Place, what: str, error: Exception) -> JournalError:
    """Return what an error of the driver means: the journal is damaged, or it can't be used just now."""
    damage = (
        driver.InternalServerError,  # a broken page or index among them
        driver.UndefinedTableError,
        driver.UndefinedColumnError,
        driver.CharacterNotInRepertoireError,
    )
    if isinstance(error, damage):
        return JournalDamaged(f"{place.shown} is damaged: {what}: {text_of(error)}; restore it from a backup")
    if isinstance(error, TimeoutError):
        return JournalUnusable(f"{place.shown}: {what}: no answer within {ANSWER_TIMEOUT:g} seconds")
    return JournalUnusable(f"{place.shown}: {what}: {text_of(error)}")


class Reader:
    """A connection for reading that is made when it is needed, and once more where it was lost."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._link: Link | None = None
        self._greeted: Link | None = None
        self._turn = asyncio.Lock()
        self.closed = False
        self.greet: Callable[[Link], Awaitable[None]] | None = None
        """Called with each new connection before it is used."""

    async def fetch(self, what: str, statement: str, *values: object) -> list[Row]:
        """Run a query; ``what`` it reads stands in the error.

        Raises:
            JournalUnusable, JournalDamaged: it can't be read.
        """
        return await shielded(self._fetch(what, statement, values))

    async def _fetch(self, what: str, statement: str, values: tuple[object, ...]) -> list[Row]:
        async with self._turn:
            for last in (False, True):
                link = await self._connected()
                try:
                    if self.greet is not None and link is not self._greeted:
                        await self.greet(link)
                        self._greeted = link
                    return await link.fetch(statement, *values)
                except FAULTS as error:
                    # Asked again only where the connection broke: by then the server may be back. Not where it hangs.
                    if last or not link.lost or isinstance(error, TimeoutError):
                        raise fault(self._place, f"{what} can't be read", error) from error
            raise AssertionError("the last attempt returns or raises")

    async def _connected(self) -> Link:
        if self.closed:
            raise JournalUnusable(f"{self._place.shown} is not open")
        if self._link is None or self._link.lost:
            self._link = await connect(self._place)
        return self._link

    async def shut(self) -> None:
        """Close for good."""
        self.closed = True
        async with self._turn:
            if self._link is not None:
                with suppress(*FAULTS):
                    await self._link.shut()
