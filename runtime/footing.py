"""Where a projector stands before it begins: whether it may project at all, and whether its tables fit the journal."""

from persistence import NEVER, Journal
from persistence.views import View
from runtime.log import log
from runtime.projection import mark_of


async def journal_head(journal: Journal) -> int:
    """Return the position of the last event that was committed before this call, whoever wrote it.

    Raises:
        JournalUnusable: it can't be known now.
    """
    return await journal.changed(NEVER, 0) if journal.owner else journal.position


async def fit(name: str, view: View, journal: Journal) -> None:
    """Make the tables anew, where they hold what the journal doesn't: it was restored from a backup, say.

    Raises:
        JournalError: the journal can't be read, or the tables can't be made.
    """
    if view.furthest[0] and not await fits(view, journal):
        log.warning("read model built anew: the journal has another past than its tables", read_model=name)
        await view.remake()


async def fits(view: View, journal: Journal) -> bool:
    """Return whether the event at the checkpoint, or the furthest one, is the one that stands there in the journal.

    Raises:
        JournalError: the journal can't be read.
    """
    position, mark = view.furthest
    page = await journal.read_all(position - 1, 1)
    return bool(page) and mark_of(page[0]) == mark
