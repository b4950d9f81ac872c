"""Read models' databases: where they are."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from actors import Event
from persistence import Journal, SqliteJournal
from persistence.postgres_url import DEFAULT_OWNER, Place
from persistence.views import SqliteView
from runtime.kinds import Kind


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
    return forms + [f"{producer.name}/{name}" for name, event in producer.internal.items() if event in followed]


def _place_of_views(journal: Journal) -> Path | None:
    """Return the path that the names of the read models' files begin with; None: they are in memory."""
    if isinstance(journal, SqliteJournal):
        return journal.path
    place = getattr(journal, "place", None)
    if isinstance(place, Place) and place.views is not None:
        # Several journals may share the folder, and several owners: each has tables of its own.
        owner = "" if place.owner == DEFAULT_OWNER else f"-{quote(place.owner, safe='')}"
        return place.views / f"{journal.identity}{owner}"
    return None
