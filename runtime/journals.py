"""Journals and read models' databases by URL."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from persistence import BadJournalUrl, Journal, MemoryJournal, SqliteJournal
from persistence.sqlite import Durability
from persistence.views import SqliteView
from runtime.kinds import Kind


def journal_of(url: str, durability: Durability) -> Journal:
    """Return the journal that a URL names; it is not open yet.

    Raises:
        BadJournalUrl: the URL is none that is known.
    """
    scheme, colon, rest = url.partition(":")
    if scheme == "sqlite" and colon and rest.strip("/"):
        path = rest.removeprefix("//")
        return SqliteJournal(path, durability)
    if scheme == "memory" and colon and not rest:
        return MemoryJournal()
    raise BadJournalUrl(
        f"there is no journal {url!r}; write 'sqlite:trips.db', 'sqlite:/var/lib/trips.db' or 'memory:'"
    )


def view_of(kind: Kind, producers: Sequence[Kind], journal: Journal) -> SqliteView:
    """Return the database of a read model: a file of its own beside the journal's, or in memory.

    The file's name carries a fingerprint of the schema, the version, and the events that are followed and who writes
    them: a read model that has changed is built anew.
    """
    schema, version = kind.cls.schema, kind.cls.version
    if not isinstance(journal, SqliteJournal):
        return SqliteView(None, schema, journal.identity)
    follows = sorted(
        f"{producer.name}/{name}" for producer in producers for name in producer.events if name in kind.cls.follows
    )
    fingerprint = hashlib.blake2b(f"{version} {schema} {follows}".encode(), digest_size=4).hexdigest()
    path: Path = journal.path.with_name(f"{journal.path.name}.{kind.name}-{fingerprint}")
    return SqliteView(path, schema, journal.identity)
