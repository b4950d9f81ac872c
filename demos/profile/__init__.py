"""Profiles that are changed at once, and found some milliseconds later. Start with ``python -m demos.profile``.

Read it in this order: ``messages`` (what can happen), ``profile`` (its rules), ``search`` (the search copy, on SQLite)
and ``search_postgres`` (on PostgreSQL), ``reading`` (both ways to read, and how old what they tell is). ``story`` and
``load`` put them to work, and ``books`` checks afterwards that the copy says what the profiles say.
"""

from demos.profile import search, search_postgres
from demos.profile.profile import Profile

ACTORS: list[type] = [Profile, search.Profiles, search.People]
"""All actors of this application, for ``Runtime(..., actors=ACTORS)``."""
ON_POSTGRES: list[type] = [Profile, search_postgres.Profiles, search_postgres.People]
"""The same where read models are on PostgreSQL: ``Runtime(..., ON_POSTGRES, views="postgresql://...")``."""
