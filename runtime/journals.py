"""Journals and read models' databases by URL."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from actors import Event
from persistence import BadJournalUrl, Journal, JournalUnusable, MemoryJournal, SqliteJournal
from persistence.postgres_url import SCHEMES, Place, without_password
from persistence.sqlite import Durability
from persistence.views import SqliteView
from runtime.kinds import Kind


def journal_of(url: str, durability: Durability) -> Journal:
    """Return the journal that a URL names; it is not open yet.

    Raises:
        BadJournalUrl: the URL is none that is known.
        JournalUnusable: the driver that it needs is not installed.
    """
    scheme, colon, rest = url.partition(":")
    if scheme == "sqlite" and colon and rest.strip("/"):
        path = rest.removeprefix("//")
        return SqliteJournal(path, durability)
    if scheme == "memory" and colon and not rest:
        return MemoryJournal()
    if scheme in SCHEMES and colon:
        return _postgres(url, durability)
    raise BadJournalUrl(
        f"there is no journal {without_password(url)!r}; write 'sqlite:trips.db', 'sqlite:/var/lib/trips.db', "
        "'postgresql://user@host/database' or 'memory:'"
    )


def _postgres(url: str, durability: Durability) -> Journal:
    try:
        from persistence.postgres import PostgresJournal  # here, for its driver is an extra
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise JournalUnusable("journals on PostgreSQL need asyncpg: pip install 'understudy[postgres]'") from error
    return PostgresJournal(url, durability)


def view_of(kind: Kind, producers: Sequence[Kind], journal: Journal) -> SqliteView:
    """Return the database of a read model: a file of its own beside the journal's, or in memory.

    Beside a journal on PostgreSQL there is no folder but the one that its URL names with ``views=``.

    The file's name carries a fingerprint of the schema, the version, and the events that are followed, who writes them
    and how older ones become them: a read model that has changed, or that would see other events, is built anew.
    """
    schema, version = kind.cls.schema, kind.cls.version
    beside = _place_of_views(journal)
    if beside is None:
        return SqliteView(None, schema, journal.identity)
    follows = sorted(form for producer in producers for form in _forms(producer, set(kind.cls.follows.values())))
    fingerprint = hashlib.blake2b(f"{version} {schema} {follows}".encode(), digest_size=4).hexdigest()
    return SqliteView(beside.with_name(f"{beside.name}.{kind.name}-{fingerprint}"), schema, journal.identity)


def _forms(producer: Kind, followed: set[type[Event]]) -> list[str]:
    """Name the events of a producer that are followed, and the upcasts that may lead to them."""
    names = [name for name, event in producer.events.items() if event in followed]
    forms = [f"{producer.name}/{name}" for name in names]
    if names:
        forms += [f"{producer.name}/{step} {upcast.into}" for step, upcast in producer.evolution.steps.items()]
    return forms


def _place_of_views(journal: Journal) -> Path | None:
    """Return the path that the names of the read models' files begin with; None: they are in memory."""
    if isinstance(journal, SqliteJournal):
        return journal.path
    place = getattr(journal, "place", None)
    if isinstance(place, Place) and place.views is not None:
        return place.views / journal.identity  # several journals may share the folder
    return None
