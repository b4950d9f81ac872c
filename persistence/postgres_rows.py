"""Running a projection's statements on PostgreSQL: the connections that do it, and whose fault a failure is."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import Any, TypeVar

from persistence.connection import shielded
from persistence.errors import StatementFailed
from persistence.postgres_client import CONNECT_TIMEOUT, FAULTS, Refusal, driver, text_of
from persistence.postgres_url import Place, quoted
from persistence.views import SqlStatement

T = TypeVar("T")

HANGING = 600.0
"""Seconds until a server that does not answer is given up, and the connection with it."""
CHANGES = re.compile(r"(?is)(\s+|--[^\n]*(\n|$)|/\*.*?\*/)*(insert|update|delete|merge|with|select|truncate)\b")
"""What a projection may run: nothing that ends the transaction."""
PASSING = ("08", "40", "53", "55", "57", "25006")
"""Classes of the server's errors that are of the connection, the disk or another transaction."""
CANCELED = "57014"


def settings(schema: str, **more: str) -> dict[str, str]:
    """Return the settings of a connection that works in a read model's schema."""
    return {
        "search_path": quoted(schema),
        "application_name": "understudy",
        "tcp_keepalives_idle": "30",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
        **more,
    }


async def connect_to_write(place: Place, schema: str, slowest: float) -> Any:
    """Return a connection whose statements are ended after ``slowest`` seconds.

    Raises:
        Exception: there is none to be had now.
    """
    limits = settings(schema, statement_timeout=f"{slowest * 1e3:.0f}")
    return await driver.connect(place.dsn, timeout=CONNECT_TIMEOUT, server_settings=limits)


async def run(connection: Any, statements: Sequence[SqlStatement]) -> None:
    """Run the statements, in the transaction that is open.

    Raises:
        StatementFailed: one could end the transaction.
        Exception: what the driver raises.
    """
    for text, same in groupby(statements, key=lambda statement: statement[0]):
        if not CHANGES.match(text):
            raise StatementFailed(
                f"a projection changes rows, with insert, update, delete or merge; {text[:80]!r} does not"
            )
        await connection.executemany(text, [values for _, values in same])


async def guarded(connection: Any, work: Callable[[], Awaitable[T]]) -> T:
    """Run something with a connection, to its end; one that hangs is given up.

    Raises:
        StatementFailed: the server has refused a statement, for what stands in it.
        Exception: what the driver raises.
    """

    async def in_time() -> T:
        try:
            async with asyncio.timeout(HANGING):
                return await work()
        except TimeoutError:
            connection.terminate()
            raise

    try:
        return await shielded(in_time())
    except Refusal as error:
        if passes(connection, error):
            raise
        # What the server adds in detail shows what is in a row.
        raise StatementFailed(f"{type(error).__name__}: {text_of(error)}") from error


def passes(connection: Any, error: BaseException) -> bool:
    """Return whether an error is of the connection (None: there is none) or the server; see :meth:`View.passes`."""
    if isinstance(error, Refusal):
        state = str(getattr(error, "sqlstate", "") or "")
        return state.startswith(PASSING) and state != CANCELED
    if isinstance(error, driver.InterfaceError):  # also of values that don't fit
        return connection is None or bool(connection.is_closed())
    return isinstance(error, FAULTS)
