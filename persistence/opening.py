"""Journals by URL."""

import os
from pathlib import Path
from typing import get_args

from persistence.errors import BadJournalUrl, JournalUnusable
from persistence.journal import Journal
from persistence.limits import MAX_PAYLOAD
from persistence.memory import MemoryJournal
from persistence.postgres_url import SCHEMES, without_password
from persistence.sqlite import Durability, SqliteJournal
from persistence.sqlite_watching import SqliteWatch


def journal_of(
    url: str, durability: Durability = "full", *, watching: bool = False, max_payload: int = MAX_PAYLOAD
) -> Journal:
    """Return the journal that a URL names; it is not open yet.

    Where ``watching``, it is only read, beside the process that holds it.

    Raises:
        BadJournalUrl: the URL is none that is known.
        ValueError: ``max_payload`` is too small or too large.
        JournalUnusable: the driver that it needs is not installed.
    """
    scheme, colon, rest = url.partition(":")
    if scheme == "sqlite" and colon and rest.strip("/"):
        path = rest.removeprefix("//")
        if not _can_be_named(path):
            raise BadJournalUrl(f"no file can have the name {path!r:.250}; write 'sqlite:trips.db'")
        if "?" in path:  # else it would be part of the file's name, and no option at all
            raise BadJournalUrl(
                f"the URL of an SQLite journal has no options, as in {path!r:.250}; write 'sqlite:trips.db', and what "
                "there is to choose as an argument: Runtime(..., durability=, views=)"
            )
        return (
            SqliteWatch(path, max_payload=max_payload)
            if watching
            else SqliteJournal(path, durability, max_payload=max_payload)
        )
    if scheme == "memory" and colon and not rest:
        return MemoryJournal(max_payload=max_payload)
    if scheme in SCHEMES and colon:
        return _postgres(url, durability, watching=watching, max_payload=max_payload)
    example = f"'sqlite:{url}'" if _is_file(url) else "'sqlite:trips.db', 'sqlite:/var/lib/trips.db'"
    raise BadJournalUrl(
        f"{without_password(url)!r} is no journal's URL; write {example}, "
        "'postgresql://user@host/database' or 'memory:'"
    )


def _can_be_named(path: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False  # no name that a file can have


def journal_for(journal: str | Journal, durability: Durability, max_payload: int | None) -> Journal:
    """Return the journal that a URL names, or the one that is given.

    Raises:
        BadJournalUrl, JournalUnusable: see :func:`journal_of`; or it is neither.
        ValueError: ``max_payload`` is too small or too large, or is said of a journal that has its own; or
            ``durability`` is none that there is.
    """
    if durability not in get_args(Durability):
        raise ValueError(f'durability is "full" or "normal", not {durability!r}')
    if isinstance(journal, str):
        return journal_of(journal, durability, max_payload=MAX_PAYLOAD if max_payload is None else max_payload)
    if not hasattr(journal, "append"):
        raise BadJournalUrl(f"a {type(journal).__name__} is no journal; write its URL, 'sqlite:trips.db' say")
    if max_payload is not None:
        raise ValueError(f"max_payload goes to the journal itself: {type(journal).__name__}(..., max_payload=...)")
    return journal


def _postgres(url: str, durability: Durability, *, watching: bool, max_payload: int) -> Journal:
    try:
        from persistence.postgres import PostgresJournal  # here, for its driver is an extra
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise JournalUnusable("journals on PostgreSQL need asyncpg: pip install 'understudy[postgres]'") from error
    return PostgresJournal(url, durability, watching=watching, max_payload=max_payload)
