"""When a read model may answer a query that must see everything up to a position."""

from typing import Any

from actors import Parked, ReadModelBehind
from persistence import Journal, JournalError
from runtime.footing import journal_head
from runtime.projection import Projection
from runtime.set_aside import SetAside


async def head(journal: Journal) -> int:
    """Return the position of the last event that was committed before this call, whoever wrote it.

    Raises:
        ReadModelBehind: it can't be known now.
    """
    try:
        return await journal_head(journal)
    except JournalError as error:
        raise ReadModelBehind(f"how far the journal is can't be known now: {error}; ask again later") from error


def check_complete(name: str, projection: Projection, aside: SetAside, query: Any, position: int) -> None:
    """Make sure that nothing a query is about, up to a position, is set aside.

    Raises:
        Parked: something is.
    """
    first = aside.first(projection.model.about(query))
    if first is not None and first.position <= position:
        raise Parked(
            f"{name} has set aside what is of {first.key!r} from position {first.position} on ({first.error}); "
            "ask without consistent= or after= for what is there"
        )


def behind(name: str, position: int, wanted: int) -> ReadModelBehind:
    """Return the error for a query whose time is over."""
    missing = wanted - position
    what = f"{missing} events behind the position {wanted} that was asked for" if missing > 0 else "and answers slowly"
    return ReadModelBehind(f"{name} is at position {position}, {what}; the events are safe, ask again later")
