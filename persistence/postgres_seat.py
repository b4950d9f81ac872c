"""Who may write to a PostgreSQL journal: each owner has a seat, and one process at a time sits in it.

A seat is a row with an epoch, and an advisory lock that lives as long as the session of who sits there. The lock tells
whether he is alive; the epoch, which each group is written at, keeps him out once somebody else sits there.
"""

import os
import socket
import uuid

import msgspec

from persistence.errors import JournalError, JournalInUse, JournalTaken, JournalUnusable, NotAJournal
from persistence.postgres_client import FAULTS, Link, LockTimeout, fault
from persistence.postgres_schema import check_layout, ends, is_there, limit_patience, lock_layout, migrated
from persistence.postgres_url import Place

KEY = "(select (oid::bigint << 32) | {} from pg_namespace where nspname = {})"
"""The SQL for the advisory lock of an owner's number in a schema's name."""
RANGE = 10_000
"""How many streams are looked at in one statement when they are taken over."""

_LOCK = f"select pg_advisory_lock({KEY.format('$1::bigint', '$2::text')})"
_UNLOCK = f"select pg_advisory_unlock({KEY.format('$1::bigint', '$2::text')})"
_NUMBER = "select number from owners where name = $1"


class Seat(msgspec.Struct, frozen=True):
    """An owner's place at the journal, and the journal as it was when the place was taken."""

    identity: str
    position: int
    owner: int = 0
    """The owner's number. 0: nobody's, to look only."""
    epoch: int = 0
    """Counts who has sat there; only the latest one's groups are written."""
    holder: str = ""
    """A random name for the one who sits there. He keeps it when he takes the seat again, each time with a new epoch;
    the answer to that may be lost too, so the epoch does not tell him from others."""
    crashed: bool = False
    """Whether the one who sat there before has not left it in order."""


def process_name() -> str:
    """Return what this process is called in other processes' errors."""
    return f"process {os.getpid()} on {socket.gethostname()}"


async def enter(link: Link, place: Place) -> Seat:
    """Make or migrate the schema where needed, and take the owner's seat.

    The link's session holds the locks of the layout and of the seat from then on.

    Raises:
        JournalInUse: a process that is alive sits there, or must end before the schema can be migrated.
        NotAJournal: the schema was not made by Understudy, or by a newer version.
        JournalUnusable, JournalDamaged: it can't be used.
    """
    try:
        await migrated(link, place)
        async with link.transaction():
            await limit_patience(link)
            await link.fetch(
                """insert into owners (name, epoch, holder, shown) select $1, 0, '', ''
                    where not exists (select from owners where name = $1) on conflict do nothing""",
                place.owner,
            )
        async with link.transaction():
            await limit_patience(link)
            seat = await _sit_down(link, place, uuid.uuid4().hex, again=False)
    except LockTimeout as error:
        raise await _in_use(link, place, place.owner) from error
    except FAULTS as error:
        raise fault(place, "it can't be opened", error) from error
    return seat


async def reenter(link: Link, place: Place, holder: str) -> Seat:
    """Take the seat again after the connection was lost, unless somebody else has taken it since.

    A group of ours that is still on its way is waited for, and none is written any more after that: it has our old
    epoch. So what is read then is final.

    Raises:
        JournalTaken: another process has it.
        JournalUnusable, JournalDamaged: it can't be used yet.
    """
    try:
        async with link.transaction():
            await limit_patience(link)
            await lock_layout(link, place, shared=True)
            try:
                await check_layout(link, place)
            except NotAJournal as newer:
                raise JournalTaken(f"{newer}; this process can't write to it any more") from newer
            seat = await _sit_down(link, place, holder, again=True)
    except LockTimeout as error:
        await check_holder(link, place, holder)
        raise JournalUnusable(f"{place.shown}: the server still holds the connection that was lost") from error
    except FAULTS as error:
        raise fault(place, "it can't be written", error) from error
    return seat


async def look_in(link: Link, place: Place) -> Seat:
    """Return the journal as it is, without taking a seat or writing anything.

    Raises:
        JournalUnusable: there is none, or an older one.
        NotAJournal: a newer version made it.
    """
    try:
        if not await is_there(link, place):
            raise JournalUnusable(f"can't open {place.shown}: there is no journal in it")
        if not await check_layout(link, place):
            raise JournalUnusable(f"can't open {place.shown}: its writer must open it first, to bring it up to date")
        found = await ends(link, place)
        owners = await link.fetch(_NUMBER, place.owner)
    except FAULTS as error:
        raise fault(place, "it can't be opened", error) from error
    return Seat(found.identity, found.position, owners[0][0] if owners else 0)


async def check_holder(link: Link, place: Place, holder: str) -> None:
    """Raise JournalTaken if somebody else has the seat."""
    rows = await link.fetch("select holder, shown from owners where name = $1", place.owner)
    found, shown = rows[0] if rows else ("", "nobody")
    if found != holder:
        raise JournalTaken(f"{place.shown} was taken over by {shown}; this process can't write to it any more")


async def take_streams(link: Link, place: Place, seat: Seat, owner: str) -> tuple[int, bool]:
    """Give all streams of an owner who is not there to who has this seat.

    Return how many they were, and whether that one has not left in order.

    Raises:
        JournalUnusable: there is no such owner, or it can't be done now.
        JournalInUse: the owner is alive.
    """
    try:
        async with link.transaction():
            await limit_patience(link)
            rows = await link.fetch(_NUMBER, owner)
            if not rows or owner == place.owner:
                raise JournalUnusable(f"{place.shown} has no other owner {owner!r}")
            ((number,),) = rows
            await link.fetch(_LOCK, number, place.schema)
            crashed = await _crashed(link, number)
            # First: whoever sat there can't write any more, whatever he remembers.
            heir = f"{process_name()}, the owner {place.owner!r}"
            fence = "update owners set epoch = epoch + 1, holder = '', shown = $2 where number = $1"
            await link.fetch(fence, number, heir)
        try:
            return await _move_streams(link, number, seat.owner), crashed
        finally:
            if not link.lost:
                await link.fetch(_UNLOCK, number, place.schema)
    except LockTimeout as error:
        raise await _in_use(link, place, owner) from error
    except FAULTS as error:
        raise fault(place, f"the streams of {owner!r} can't be taken over", error) from error


async def _move_streams(link: Link, owner: int, heir: int) -> int:
    """Give the heir the streams, some at a time: their owner can't write any more, so there is no hurry."""
    ((last,),) = await link.fetch("select streams from journal")
    move = "update streams set owner = $1 where owner = $2 and id > $3 and id <= $4 returning 1"
    moved = 0
    for first in range(0, last, RANGE):
        moved += len(await link.fetch(move, heir, owner, first, first + RANGE))
    return moved


async def _in_use(link: Link, place: Place, owner: str) -> JournalError:
    rows = await link.fetch("select shown from owners where name = $1", owner)
    shown = rows[0][0] if rows and rows[0][0] else "another process"
    return JournalInUse(
        f"{place.shown} is in use by {shown}, as its owner {owner!r}; stop that one first, or use another schema"
    )


async def _sit_down(link: Link, place: Place, holder: str, *, again: bool) -> Seat:
    """Take the next epoch, and check the journal's ends; ``again``: only if nobody else has the seat."""
    number = 0
    for (number,) in await link.fetch(_NUMBER, place.owner):
        await link.fetch(_LOCK, number, place.schema)
    crashed = await _crashed(link, number)
    rows = await link.fetch(
        """update owners set epoch = epoch + 1, holder = $1, shown = $2 where number = $4 and (holder = $1 or not $3)
            returning epoch""",
        holder,
        process_name(),
        again,
        number,
    )
    if not rows:
        await check_holder(link, place, holder)
    found = await ends(link, place, check=True)
    return Seat(found.identity, found.position, number, rows[0][0], holder, crashed)


async def _crashed(link: Link, number: int) -> bool:
    """Return whether the one who sat there last has not left in order; his lock is ours by now."""
    return bool(await link.fetch("select from owners where number = $1 and holder <> ''", number))


async def leave(link: Link, seat: Seat) -> None:
    """Leave the seat in order; does nothing where somebody else has it."""
    await link.fetch("update owners set holder = '' where number = $1 and holder = $2", seat.owner, seat.holder)
