"""Journals by URL."""

from pathlib import Path

from persistence.errors import BadJournalUrl, JournalUnusable
from persistence.journal import Journal
from persistence.memory import MemoryJournal
from persistence.postgres_url import SCHEMES, without_password
from persistence.sqlite import Durability, SqliteJournal
from persistence.sqlite_watching import SqliteWatch


def journal_of(url: str, durability: Durability = "full", *, watching: bool = False) -> Journal:
    """Return the journal that a URL names; it is not open yet.

    Where ``watching``, it is only read, beside the process that holds it.

    Raises:
        BadJournalUrl: the URL is none that is known.
        JournalUnusable: the driver that it needs is not installed.
    """
    scheme, colon, rest = url.partition(":")
    if scheme == "sqlite" and colon and rest.strip("/"):
        path = rest.removeprefix("//")
        return SqliteWatch(path) if watching else SqliteJournal(path, durability)
    if scheme == "memory" and colon and not rest:
        return MemoryJournal()
    if scheme in SCHEMES and colon:
        return _postgres(url, durability, watching=watching)
    example = f"'sqlite:{url}'" if Path(url).is_file() else "'sqlite:trips.db', 'sqlite:/var/lib/trips.db'"
    raise BadJournalUrl(
        f"there is no journal {without_password(url)!r}; write {example}, "
        "'postgresql://user@host/database' or 'memory:'"
    )


def _postgres(url: str, durability: Durability, *, watching: bool) -> Journal:
    try:
        from persistence.postgres import PostgresJournal  # here, for its driver is an extra
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise JournalUnusable("journals on PostgreSQL need asyncpg: pip install 'understudy[postgres]'") from error
    return PostgresJournal(url, durability, watching=watching)
