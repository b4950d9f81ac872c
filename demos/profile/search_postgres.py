"""The search copy on PostgreSQL, with ``tsvector``: actors of the same names, the same queries and answers."""

from collections.abc import Iterator
from typing import Any

from actors import Meta, Statement, sql
from demos.full_text import for_tsquery
from demos.profile import search
from demos.profile.messages import ProfileRemoved, ProfileSaved
from demos.profile.search import COPY, AllPeople, Copy, CopyOf, Found, Search


class Profiles(search.Profiles):
    """The search copy."""

    # PostgreSQL takes "run-7" for a word and a negative number, and "bo.org" for a host. Here words are words.
    schema = r"""
        create table copies (
            person text primary key, name text not null, city text not null, about text not null,
            change bigint not null, position bigint not null, changed bigint not null,
            words tsvector not null generated always as (
                setweight(to_tsvector('simple', regexp_replace(name, '\W+', ' ', 'g')), 'A')
                || setweight(to_tsvector('simple', regexp_replace(city, '\W+', ' ', 'g')), 'B')
                || to_tsvector('simple', regexp_replace(about, '\W+', ' ', 'g'))) stored);
        create index copies_words on copies using gin (words);
    """

    def project(self, event: ProfileSaved | ProfileRemoved, meta: Meta) -> Iterator[Statement]:
        """Turn an event into changes of rows."""
        match event:
            case ProfileSaved(name, city, about, change):
                yield sql(
                    """insert into copies values ($1, $2, $3, $4, $5, $6, $7) on conflict (person) do update set
                        name = $2, city = $3, about = $4, change = $5, position = $6, changed = $7""",
                    *(meta.key, name, city, about, change, meta.position, round(meta.time.timestamp() * 1e6)),
                )
            case ProfileRemoved():
                yield sql("delete from copies where person = $1", meta.key)

    async def answer(self, db: Any, query: Search | CopyOf) -> Any:
        """Answer a query from the tables."""
        match query:
            case CopyOf(person):
                row = await db.fetchrow(f"{COPY}$1", person)
                return None if row is None else Copy(*row)
            case Search(words, limit):
                wanted = for_tsquery(words)
                if not wanted:
                    return []
                select = """select person, name, city, ts_headline('simple', concat_ws(' ', name, city, about), query,
                        'StartSel=[, StopSel=], MaxWords=8, MinWords=4')
                    from copies, to_tsquery('simple', $1) query where words @@ query
                    order by ts_rank(words, query) desc, person limit $2"""
                return [Found(*row) for row in await db.fetch(select, wanted, limit)]


class People(search.People):
    """Who there is."""

    def project(self, event: ProfileSaved, meta: Meta) -> Iterator[Statement]:  # noqa: ARG002 (that it was is enough)
        """Note who has saved a profile."""
        yield sql("insert into people values ($1) on conflict do nothing", meta.key)

    async def answer(self, db: Any, query: AllPeople) -> list[str]:  # noqa: ARG002 (there is but one question)
        """Answer from the table."""
        return [row[0] for row in await db.fetch("select person from people order by person")]
