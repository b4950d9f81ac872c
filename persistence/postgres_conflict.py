"""Why PostgreSQL has not written a group: who has taken the seat, or what stands in the way."""

from collections.abc import Sequence

from persistence.errors import (
    AppendFailed,
    DuplicateCommand,
    JournalError,
    JournalTaken,
    StreamOwned,
    VersionConflict,
)
from persistence.journal import Append, Stream
from persistence.postgres_client import Link
from persistence.postgres_group import named
from persistence.postgres_queries import DUPLICATE, HEADS, OWNER
from persistence.postgres_seat import Seat, check_holder
from persistence.postgres_text import escaped
from persistence.postgres_url import Place


async def conflict(link: Link, place: Place, seat: Seat, appends: Sequence[Append]) -> JournalError:
    """Return the error of a group that was not written."""
    try:
        await check_holder(link, place, seat.holder)
    except JournalTaken as error:
        return error
    streams: list[Stream] = list(dict.fromkeys(append.stream for append in appends))
    versions: dict[Stream, int] = {}
    for at, _, version, owner in await link.fetch(HEADS, *named(streams)):
        index: int = at - 1
        stream = streams[index]
        if owner != seat.owner:
            return await owned(link, stream, owner)
        versions[stream] = version or 0
    there = await _there(link, [append for append in appends if append.command is not None and append.events])
    commands: set[tuple[Stream, str]] = set()
    for append in appends:
        stream, version = append.stream, versions.get(append.stream, 0)
        if version != append.expected:
            return VersionConflict(stream, append.expected, version)
        versions[stream] = version + len(append.events)
        if append.command is not None and append.events:
            if append is there or (stream, append.command) in commands:
                return DuplicateCommand(stream, append.command)
            commands.add((stream, append.command))
    return AppendFailed(f"{place.shown} could not be written: the server has refused it, and nothing shows why")


async def _there(link: Link, appends: Sequence[Append]) -> Append | None:
    """Return the first append whose command is in its stream already."""
    commands = [escaped(append.command or "") for append in appends]
    found = await link.fetch(DUPLICATE, *named([append.stream for append in appends]), commands)
    place: int = found[0][0] if found else 0
    return appends[place - 1] if place else None


async def owned(link: Link, stream: Stream, owner: int) -> StreamOwned:
    """Return the error of a stream that belongs to another owner."""
    rows = await link.fetch(OWNER, owner)
    return StreamOwned(stream, rows[0][0] if rows else "")
