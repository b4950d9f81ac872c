"""Read models' databases: where they are, and which one of them is today's."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from actors import Event
from persistence import BadJournalUrl, Journal, JournalUnusable, SqliteJournal
from persistence.postgres_url import DEFAULT_OWNER, SCHEMES, Place, parse_url, without_password
from persistence.sqlite_shelf import SqliteShelf
from persistence.sqlite_watching import SqliteWatch
from persistence.views import Shelf
from runtime.fold_projection import schema_of
from runtime.kinds import Kind
from runtime.projection import followed

ViewsOption = str | Mapping[Any, str] | None
"""A URL, or URLs by the classes of read models."""


class Views:
    """Where a runtime keeps its read models: all at one URL, or each class at one of its own, the others by default."""

    def __init__(self, option: ViewsOption) -> None:
        """Take the URL of all, or URLs by class.

        Raises:
            BadJournalUrl: one can't be understood.
            JournalUnusable: the driver that it needs is not installed.
        """
        self._all = _Place(option) if isinstance(option, str) else None
        self._by_class = {cls: _Place(url) for cls, url in option.items()} if isinstance(option, Mapping) else {}

    def shelf(self, kind: Kind, journal: Journal) -> Shelf:
        """Return where the databases of a read model are."""
        place = self._by_class.get(kind.cls, self._all)
        return _beside(journal) if place is None else place.shelf(journal)

    def checkpoint(self, kind: Kind, journal: Journal) -> Shelf:
        """Return where the checkpoint of a subscriber is: with the journal, unless a URL is given for its class.

        Raises:
            BadJournalUrl: it would be in memory, and lost at the end of the process.
        """
        place, of_journal = self._by_class.get(kind.cls), getattr(journal, "place", None)
        if place is not None:
            shelf = place.shelf(journal)
        elif isinstance(of_journal, Place):
            shelf = _on_postgresql(of_journal)
        else:
            shelf = _beside(journal)
        if not shelf.keeps and (isinstance(of_journal, Place) or isinstance(journal, SqliteJournal | SqliteWatch)):
            raise BadJournalUrl(
                f"the checkpoint of {kind.name} would be lost with the process; leave it out of views=, and it is kept "
                "with the journal"
            )
        return shelf


class _Place:
    """What the URL of read models names."""

    def __init__(self, url: str) -> None:
        scheme, colon, rest = url.partition(":")
        self._folder: Path | None = None
        self._place: Place | None = None
        if scheme in SCHEMES and colon:
            self._place = parse_url(url)
            _need_driver()
        elif scheme == "sqlite" and colon and rest.strip("/"):
            self._folder = Path(rest.removeprefix("//"))
        elif url != "memory:":
            raise BadJournalUrl(
                f"there is no place for read models {without_password(url)!r}; write 'sqlite:FOLDER', "
                "'postgresql://user@host/database?schema=views' or 'memory:'"
            )

    def shelf(self, journal: Journal) -> Shelf:
        if self._place is not None:
            return _on_postgresql(self._place)
        # Several journals may share the folder.
        return SqliteShelf(None if self._folder is None else self._folder / _own(journal))


def _on_postgresql(place: Place) -> Shelf:
    from persistence.postgres_shelf import PostgresShelf  # here, for its driver is an extra

    return PostgresShelf(place)


def _need_driver() -> None:
    try:
        import asyncpg as _  # type: ignore[import-untyped] # noqa: F401
    except ModuleNotFoundError as error:
        raise JournalUnusable("read models on PostgreSQL need asyncpg: pip install 'understudy[postgres]'") from error


def _own(journal: Journal) -> str:
    """Return what tells a journal's read models, and an owner's, from another's in the same folder."""
    place = getattr(journal, "place", None)
    owner = place.owner if isinstance(place, Place) else DEFAULT_OWNER
    return journal.identity if owner == DEFAULT_OWNER else f"{journal.identity}-{quote(owner, safe='')}"


def _beside(journal: Journal) -> Shelf:
    """Return where read models are by default: beside the journal's file, or in the folder that its URL names."""
    if isinstance(journal, SqliteJournal | SqliteWatch):
        return SqliteShelf(journal.path)
    place = getattr(journal, "place", None)
    if isinstance(place, Place) and place.views is not None:
        return SqliteShelf(place.views / _own(journal))
    return SqliteShelf(None)


def fingerprint(kind: Kind, producers: Sequence[Kind], journal: Journal) -> str:
    """Return what tells today's tables of a read model from those of other code, or of another journal.

    It names the schema, the version, and the events that are followed, who writes them and how older ones become them:
    a read model that has changed, or that would see other events, is built anew.
    """
    chosen, events = followed(kind, producers)
    follows = sorted(form for producer in chosen for form in _forms(producer, events))
    text = f"{journal.identity} {kind.cls.version} {schema_of(kind)} {follows} {sorted(kind.cls.tags)}"
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def checkpoint_of(journal: Journal) -> str:
    """Return what tells a subscriber's checkpoint from that in another journal; the code doesn't matter."""
    return hashlib.blake2b(f"{journal.identity} subscriber".encode(), digest_size=4).hexdigest()


def _forms(producer: Kind, events: set[type[Event]]) -> list[str]:
    """Name the events of a producer that are followed, and the upcasts that may lead to them."""
    names = [name for name, event in producer.events.items() if event in events]
    forms = [f"{producer.name}/{name}" for name in names]
    if names:
        forms += [f"{producer.name}/{step} {upcast.into}" for step, upcast in producer.evolution.steps.items()]
    return forms + [f"{producer.name}/{name}" for name, event in producer.internal.items() if event in events]
