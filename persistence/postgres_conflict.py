"""Why PostgreSQL has not written a group: who has taken the seat, or what stands in the way."""

from collections.abc import Sequence

from persistence.errors import AppendFailed, JournalError
from persistence.journal import Append
from persistence.postgres_client import Link
from persistence.postgres_judge import Judge
from persistence.postgres_seat import Seat, check_holder
from persistence.postgres_url import Place


async def conflict(link: Link, place: Place, seat: Seat, appends: Sequence[Append]) -> JournalError:
    """Return the error of a group that was not written."""
    judge = Judge(0)
    try:
        await check_holder(link, place, seat.holder)
        await judge.look(link, seat.owner, appends)
        judge.check(appends, exact=True)
    except JournalError as error:
        return error
    return AppendFailed(f"{place.shown} could not be written: the server has refused it, and nothing shows why")
