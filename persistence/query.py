"""Which events are meant: by category, by type, by tag. For filtered reads, subscriptions and conditional appends.

A query is a sequence of items, and an event is meant where any of them says so. The shape, any of the types and all
of the tags, is that of dynamic consistency boundaries (https://dcb.events).
"""

from collections.abc import Sequence

import msgspec


class Match(msgspec.Struct, frozen=True):
    """Events of any of these categories, of any of these types, that have all of these tags.

    What is left empty says nothing: ``Match()`` means every event.
    """

    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def meets(self, category: str, type_: str, tags: Sequence[str]) -> bool:
        """Return whether an event is meant."""
        return (
            (not self.types or type_ in self.types)
            and (not self.categories or category in self.categories)
            and all(tag in tags for tag in self.tags)
        )


Query = tuple[Match, ...]
"""Events that any of the items means. Without items: every event."""


def meets(query: Query, category: str, type_: str, tags: Sequence[str]) -> bool:
    """Return whether a query means an event."""
    return not query or any(item.meets(category, type_, tags) for item in query)


class Unless(msgspec.Struct, frozen=True):
    """The condition of an append: it is made unless the journal has an event that the query means.

    Events up to the position ``after`` are not looked at: the writer has seen them, and decided with them.
    """

    query: Query
    after: int = 0


MOST_ITEMS, MOST_NAMES = 100, 100
"""The most items of one query, and the most types, tags or categories of one item."""


def check_query(query: Query) -> None:
    """Make sure that a query can be asked.

    Raises:
        ValueError: it has too many parts.
    """
    if len(query) > MOST_ITEMS:
        raise ValueError(f"a query can have {MOST_ITEMS} items, this one has {len(query)}; ask several")
    for item in query:
        if max(len(item.types), len(item.tags), len(item.categories)) > MOST_NAMES:
            raise ValueError(f"an item of a query can have {MOST_NAMES} types, tags or categories; ask several")


WINDOW = 20_000
"""How many positions one look through a journal on disk covers, where no tag leads to the events."""


def window(query: Query, after: int, position: int) -> int:
    """Return up to which position one look goes."""
    return position if led(query) else min(position, after + WINDOW)


def led(query: Query) -> bool:
    """Return whether tags lead to all events that a query means, so that others need not be looked at."""
    return bool(query) and all(item.tags for item in query)
