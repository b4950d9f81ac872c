"""The search copy: a table of all profiles with an index of all their words, filled from the events.

Here it is SQLite's, with FTS5. :mod:`demos.profile.search_postgres` is the same for PostgreSQL.
"""

from collections.abc import Iterator
from typing import Any

from actors import Message, Meta, Query, ReadModel, Statement, sql
from demos.full_text import for_fts5
from demos.profile.messages import ProfileRemoved, ProfileSaved


class Found(Message):
    """A profile that a search has found."""

    person: str
    name: str
    city: str
    where: str
    """A few words around what was found, which stands in [brackets]."""


class Search(Query["Profiles", list[Found]]):
    """The profiles with all of these words, or words that begin so, in any field; the best ones first."""

    words: str
    limit: int = 10


class Copy(Message):
    """A profile as the search copy has it."""

    name: str
    city: str
    about: str
    change: int
    position: int
    """Of the event that made it so."""
    changed: int
    """When that happened, in microseconds since 1970."""


class CopyOf(Query["Profiles", Copy | None]):
    """A profile in the search copy; None: it isn't there."""

    person: str


COPY = "select name, city, about, change, position, changed from copies where person = "


class Profiles(ReadModel):
    """The search copy."""

    schema = """
        create table copies (
            number integer primary key, person text not null unique, name text not null, city text not null,
            about text not null, change integer not null, position integer not null, changed integer not null);
        create virtual table texts using fts5 (name, city, about);
    """

    def project(self, event: ProfileSaved | ProfileRemoved, meta: Meta) -> Iterator[Statement]:
        """Turn an event into changes of rows. A text has the number of its copy."""
        number = "(select number from copies where person = ?)"
        yield sql(f"delete from texts where rowid = {number}", meta.key)  # noqa: S608 (nothing of anybody's is in it)
        match event:
            case ProfileSaved(name, city, about, change):
                changed = round(meta.time.timestamp() * 1e6)
                yield sql(
                    """insert into copies (person, name, city, about, change, position, changed) values
                        (?1, ?2, ?3, ?4, ?5, ?6, ?7) on conflict (person) do update set
                        name = ?2, city = ?3, about = ?4, change = ?5, position = ?6, changed = ?7""",
                    *(meta.key, name, city, about, change, meta.position, changed),
                )
                yield sql(
                    """insert into texts (rowid, name, city, about)
                        select number, name, city, about from copies where person = ?""",
                    meta.key,
                )
            case ProfileRemoved():
                yield sql("delete from copies where person = ?", meta.key)

    def key(self, event: ProfileSaved | ProfileRemoved, meta: Meta) -> str:  # noqa: ARG002 (each person's are in order)
        """Return whose an event is."""
        return meta.key

    def about(self, query: Search | CopyOf) -> str | None:
        """Return whose events a query is about."""
        return query.person if isinstance(query, CopyOf) else None

    async def answer(self, db: Any, query: Search | CopyOf) -> Any:
        """Answer a query from the tables."""
        match query:
            case CopyOf(person):
                rows = await db.execute_fetchall(f"{COPY}?", (person,))
                return next((Copy(*row) for row in rows), None)
            case Search(words, limit):
                wanted = for_fts5(words)
                if not wanted:
                    return []
                select = """select person, copies.name, copies.city, snippet(texts, -1, '[', ']', '...', 8)
                    from texts join copies on number = texts.rowid where texts match ? order by rank, number limit ?"""
                return [Found(*row) for row in await db.execute_fetchall(select, (wanted, limit))]


class AllPeople(Query["People", list[str]]):
    """The ids of all who have ever saved a profile."""


class People(ReadModel):
    """Who there is; for the books, which don't believe the search copy."""

    schema = "create table people (person text primary key)"

    def project(self, event: ProfileSaved, meta: Meta) -> Iterator[Statement]:  # noqa: ARG002 (that it was is enough)
        """Note who has saved a profile."""
        yield sql("insert into people values (?) on conflict do nothing", meta.key)

    async def answer(self, db: Any, query: AllPeople) -> list[str]:  # noqa: ARG002 (there is but one question)
        """Answer from the table."""
        return [row[0] for row in await db.execute_fetchall("select person from people order by person")]
