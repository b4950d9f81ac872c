"""The read models' databases on SQLite: files side by side, or databases in memory."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import anyio

from persistence.errors import JournalUnusable
from persistence.sqlite_view import SqliteView, remove
from persistence.views import Build, Shelf

BUILD = re.compile(r"(?P<fingerprint>[0-9a-f]{8})(\.(?P<generation>[1-9][0-9]{0,8}))?")


class SqliteShelf(Shelf):
    """Files whose names begin with ``prefix``, like ``trips.db.Board-1a2b3c4d``. None: all are in memory."""

    def __init__(self, prefix: Path | None) -> None:
        self._prefix = prefix
        self.keeps = prefix is not None

    def _path(self, name: str, build: Build) -> Path | None:
        if self._prefix is None:
            return None
        generation = f".{build.generation}" if build.generation else ""
        return self._prefix.with_name(f"{self._prefix.name}.{name}-{build.fingerprint}{generation}")

    def view(self, name: str, build: Build, schema: str, journal: str, now: Callable[[], int]) -> SqliteView:
        """Return a database; see :meth:`Shelf.view`."""
        return SqliteView(self._path(name, build), schema, journal, now)

    async def builds(self, name: str) -> list[Build]:
        """Return the files that there are; one that can't be read is none."""
        return await anyio.to_thread.run_sync(self._builds, name)

    def _builds(self, name: str) -> list[Build]:
        if self._prefix is None:
            return []
        start = f"{self._prefix.name}.{name}-"
        try:
            files = [file for file in self._prefix.parent.iterdir() if file.name.startswith(start)]
        except OSError as error:
            raise JournalUnusable(f"the read models' folder {self._prefix.parent} can't be read: {error}") from error
        found = [
            _build(file, parts["fingerprint"], int(parts["generation"] or 0))
            for file in files
            if (parts := BUILD.fullmatch(file.name.removeprefix(start)))
        ]
        return sorted((build for build in found if build is not None), key=lambda build: (build.made, build.generation))

    async def drop(self, name: str, build: Build) -> bool:
        """Remove a file; the journal's lock keeps other processes out of it."""
        path = self._path(name, build)
        if path is not None:
            try:
                await anyio.to_thread.run_sync(remove, path)
            except OSError as error:
                raise JournalUnusable(f"the read model's file {path} can't be removed: {error}") from error
        return True


def _build(file: Path, fingerprint: str, generation: int) -> Build | None:
    try:
        with closing(sqlite3.connect(f"file://{quote(str(file.absolute()))}?mode=ro", uri=True, timeout=5.0)) as db:
            row = db.execute("select journal, form, made, ready, position from understudy_checkpoint").fetchone()
    except sqlite3.Error:
        return None  # damaged, or no database at all
    return None if row is None else Build(fingerprint, generation, row[0], row[1], row[2], bool(row[3]), row[4])
