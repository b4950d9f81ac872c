"""The read models' databases on PostgreSQL: a schema of its own for each, named after the shelf's."""

import hashlib
import re
from collections.abc import Callable
from typing import Any

from persistence.connection import shielded
from persistence.errors import JournalUnusable
from persistence.postgres_client import CONNECT_FAULTS, CONNECT_TIMEOUT, driver, text_of
from persistence.postgres_url import NAME_BYTES, Place, quoted
from persistence.postgres_view import PostgresView, lock_of
from persistence.views import Build, Shelf

TAIL = len("_12345678_999999999")
"""What a fingerprint and a generation take of a name."""
BUILD = re.compile(r"_(?P<fingerprint>[0-9a-f]{8})(_(?P<generation>[1-9][0-9]{0,8}))?")


class PostgresShelf(Shelf):
    """Schemas whose names begin with that of ``place``: ``views`` has ``views_Board_1a2b3c4d``."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def _start(self, name: str) -> str:
        start = f"{self._place.schema}_{name}"
        if len(start.encode()) > NAME_BYTES - TAIL:  # PostgreSQL would cut it off
            digest = hashlib.blake2b(start.encode(), digest_size=4).hexdigest()
            start = f"{start.encode()[: NAME_BYTES - TAIL - 9].decode(errors='ignore')}_{digest}"
        return start

    def schema(self, name: str, build: Build) -> str:
        """Return the name of the schema of one database."""
        generation = f"_{build.generation}" if build.generation else ""
        return f"{self._start(name)}_{build.fingerprint}{generation}"

    def view(self, name: str, build: Build, schema: str, journal: str, now: Callable[[], int]) -> PostgresView:
        """Return a database; see :meth:`Shelf.view`."""
        return PostgresView(self._place, self.schema(name, build), schema, journal, now)

    async def builds(self, name: str) -> list[Build]:
        """Return the schemas that there are; one without our tables is none."""
        return await shielded(self._builds(name))

    async def _builds(self, name: str) -> list[Build]:
        start, found = self._start(name), list[Build]()
        try:
            connection: Any = await driver.connect(self._place.dsn, timeout=CONNECT_TIMEOUT)
            try:
                rows = await connection.fetch(
                    "select schemaname from pg_tables where tablename = 'understudy_checkpoint' "
                    "and left(schemaname::text, $2) = $1",
                    start,
                    len(start),
                )
                for (schema,) in rows:
                    if parts := BUILD.fullmatch(schema.removeprefix(start)):
                        for row in await connection.fetch(
                            f"select journal, form, made, ready, position from {quoted(schema)}.understudy_checkpoint"  # noqa: S608
                        ):
                            found.append(Build(parts["fingerprint"], int(parts["generation"] or 0), *row))
            finally:
                await connection.close()
        except CONNECT_FAULTS as error:
            raise self._unusable(error) from error
        return sorted(found, key=lambda build: (build.made, build.generation))

    async def drop(self, name: str, build: Build) -> bool:
        """Remove a schema, unless a process uses it."""
        return await shielded(self._drop(self.schema(name, build)))

    async def _drop(self, schema: str) -> bool:
        try:
            connection: Any = await driver.connect(self._place.dsn, timeout=CONNECT_TIMEOUT)
            try:
                free: bool = await connection.fetchval("select pg_try_advisory_lock($1)", lock_of(schema, "in use"))
                if free:
                    await connection.execute(
                        f"set client_min_messages = error; drop schema if exists {quoted(schema)} cascade"
                    )
            finally:
                await connection.close()  # the lock ends with it
        except CONNECT_FAULTS as error:
            raise self._unusable(error) from error
        return free

    def _unusable(self, error: Exception) -> JournalUnusable:
        return JournalUnusable(f"the read models at {self._place.shown} can't be used: {text_of(error)}")
