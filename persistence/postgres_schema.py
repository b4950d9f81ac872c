"""The schema behind a PostgreSQL journal: its layout, how it is made, and who may write to it."""

import os
import socket
import uuid

import msgspec

from persistence.errors import JournalDamaged, JournalError, JournalInUse, JournalTaken, JournalUnusable, NotAJournal
from persistence.postgres_client import FAULTS, Link, LockTimeout, fault
from persistence.postgres_url import Place, quoted

LOCKS = 0x55535459
"""The class of our advisory locks, "USTY"; one number above it, the locks of those who make a schema."""
PATIENCE = 2.0
"""Seconds for which opening waits for another writer to end: one that was killed, until the server has seen it."""


def name_of(category: str, key: str) -> str:
    """Return the SQL for a stream's name in an index, which holds no long text.

    Texts are kept as :mod:`persistence.postgres_text` writes them, and as such they are the bytea of their UTF-8.
    """
    return f"sha256({category}::bytea) || sha256({key}::bytea)"


def digest_of(command: str) -> str:
    """Return the SQL for a command's id in an index."""
    return f"substring(sha256({command}::bytea) for 16)"


LAYOUTS: tuple[tuple[str, ...], ...] = (
    (
        # One row. Its lock is what puts the groups of all writers into one order: it is held until the group is there.
        """create table journal (identity text not null, position bigint not null, streams bigint not null,
            epoch bigint not null, holder text not null, owner text not null)""",
        f"""create table streams (
            id bigint primary key, category text collate "C" not null, key text collate "C" not null, wake bigint,
            name bytea not null generated always as ({name_of("category", "key")}) stored unique)""",
        # Few streams have a time to wake at; the others cost the index nothing.
        "create index streams_wake on streams (wake, id) where wake is not null",
        """create table events (
            position bigint primary key, stream bigint not null, version bigint not null, type text not null,
            time bigint not null, command text, data text not null, meta text not null, crc bigint not null)""",
        "create unique index events_version on events (stream, version)",
        f"create unique index events_command on events (stream, {digest_of('command')}) where command is not null",
        # For people with an SQL shell.
        """create view log as select e.position, s.category || '/' || s.key as stream, e.version, e.type,
            to_timestamp(e.time / 1e6) as time, e.command, e.data, e.meta
            from events e join streams s on s.id = e.stream order by e.position""",
    ),
    ("create table seals (position bigint primary key, hash text not null)",),
)
"""What makes each layout of the one before; the first one of nothing."""

EXISTS = "select from pg_class c join pg_namespace n on n.oid = c.relnamespace where nspname = $1 and relname = $2"


class Seat(msgspec.Struct, frozen=True):
    """The writer's place at the journal, and the journal as it was when the place was taken."""

    identity: str
    epoch: int
    """Counts the writers; only the latest one's groups are written."""
    position: int
    holder: str
    """A random name for the one who sits there. He keeps it when he takes the seat again, each time with a new epoch;
    the answer to that may be lost too, so the epoch does not tell him from others."""
    crashed: bool = False
    """Whether the one who sat there before has not left it in order."""


def owner_name() -> str:
    """Return what this process is called in other processes' errors."""
    return f"process {os.getpid()} on {socket.gethostname()}"


async def enter(link: Link, place: Place) -> Seat:
    """Make or migrate the schema where needed, and take the writer's seat, all of it or nothing.

    The link's session holds the journal's lock from then on.

    Raises:
        JournalInUse: another process that is alive holds it.
        NotAJournal: the schema was not made by Understudy, or by a newer version.
        JournalUnusable, JournalDamaged: it can't be used.
    """
    try:
        async with link.transaction():
            await _limit_patience(link)
            # Who makes the same schema at the same time waits here; the lock goes with the transaction.
            await link.fetch("select pg_advisory_xact_lock($1, hashtext($2))", LOCKS + 1, place.schema)
            await _check_encoding(link, place)
            await _make_schema(link, place)
            await _lock(link, place)
            await _migrate(link, place)
            seat = await _sit_down(link, place, uuid.uuid4().hex, again=False)
    except LockTimeout as error:
        raise await _in_use(link, place) from error
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
            await _limit_patience(link)
            await _lock(link, place)
            seat = await _sit_down(link, place, holder, again=True)
    except LockTimeout as error:
        await check_holder(link, place, holder)
        raise JournalUnusable(f"{place.shown}: the server still holds the connection that was lost") from error
    except FAULTS as error:
        raise fault(place, "it can't be written", error) from error
    return seat


async def look_in(link: Link, place: Place) -> Seat:
    """Return the journal as it is, without taking the seat or writing anything.

    Raises:
        JournalUnusable: there is none, or an older one.
        NotAJournal: a newer version made it.
    """
    try:
        await _check_usage(link, place)
        if not await link.fetch(EXISTS, place.schema, "layout"):
            raise JournalUnusable(f"can't open {place.shown}: there is no journal in it")
        if await _layout(link, place) < len(LAYOUTS):
            raise JournalUnusable(f"can't open {place.shown}: its writer must open it first, to bring it up to date")
        rows = await link.fetch("select identity, epoch, position, holder from journal")
    except FAULTS as error:
        raise fault(place, "it can't be opened", error) from error
    if len(rows) != 1:
        raise _no_identity(place)
    return Seat(*rows[0])


async def check_holder(link: Link, place: Place, holder: str) -> None:
    """Raise JournalTaken if another writer has the seat."""
    rows = await link.fetch("select holder, owner from journal")
    if len(rows) != 1:
        raise _no_identity(place)
    found, owner = rows[0]
    if found != holder:
        raise JournalTaken(f"{place.shown} was taken over by {owner}; this process can't write to it any more")


def _no_identity(place: Place) -> JournalDamaged:
    return JournalDamaged(f"{place.shown} is damaged: its identity is missing; restore it from a backup")


async def _limit_patience(link: Link) -> None:
    await link.fetch("select set_config('lock_timeout', $1, true)", f"{PATIENCE * 1e3:.0f}ms")


async def _check_encoding(link: Link, place: Place) -> None:
    ((encoding,),) = await link.fetch("select current_setting('server_encoding')")
    if encoding != "UTF8":
        raise JournalUnusable(
            f"can't open {place.shown}: the database's encoding is {encoding}, and can't hold any text; "
            "make one with createdb --encoding=UTF8 --template=template0"
        )


async def _make_schema(link: Link, place: Place) -> None:
    if not await link.fetch("select from pg_namespace where nspname = $1", place.schema):
        await link.script(f"create schema {quoted(place.schema)}")
    await _check_usage(link, place)


async def _check_usage(link: Link, place: Place) -> None:
    """Say what is wrong where we may not look into the schema: to us it would seem to be empty."""
    may = "select has_schema_privilege(oid, 'usage') from pg_namespace where nspname = $1"
    if await link.fetch(may, place.schema) == [(False,)]:
        raise JournalUnusable(f"can't open {place.shown}: permission denied for schema {place.schema}")


async def _lock(link: Link, place: Place) -> None:
    """Take the journal's lock. It belongs to the session, so that it tells whether the writer is alive."""
    lock = "select pg_advisory_lock($1, oid::int) from pg_namespace where nspname = $2"
    if not await link.fetch(lock, LOCKS, place.schema):
        raise JournalDamaged(f"{place.shown} is damaged: its schema is gone; restore it from a backup")


async def _in_use(link: Link, place: Place) -> JournalError:
    try:
        rows = await link.fetch("select owner from journal")
    except FAULTS:
        rows = []  # it is still at making the journal
    owner = rows[0][0] if rows else "another process"
    return JournalInUse(f"{place.shown} is in use by {owner}; stop that one first, or use another schema")


async def _migrate(link: Link, place: Place) -> None:
    if not await link.fetch(EXISTS, place.schema, "layout"):
        for name in ("journal", "streams", "events", "log"):
            if await link.fetch(EXISTS, place.schema, name):
                raise NotAJournal(
                    f"{place.shown}: schema {place.schema} has a table {name} that Understudy did not make; "
                    "use another schema"
                )
        await link.script("create table layout (version int primary key, since timestamptz not null default now())")
    found = await _layout(link, place)
    for version, statements in enumerate(LAYOUTS[found:], found + 1):
        for statement in statements:
            await link.script(statement)
        await link.fetch("insert into layout (version) values ($1)", version)
    if found == 0:
        await link.fetch("insert into journal values ($1, 0, 0, 0, '', '')", uuid.uuid4().hex)


async def _layout(link: Link, place: Place) -> int:
    found: int = (await link.fetch("select coalesce(max(version), 0) from layout"))[0][0]
    if found > len(LAYOUTS):
        raise NotAJournal(
            f"{place.shown} has layout {found}, this version of Understudy knows layouts up to {len(LAYOUTS)}; "
            "use the version that wrote it, or a later one"
        )
    return found


async def _sit_down(link: Link, place: Place, holder: str, *, again: bool) -> Seat:
    """Take the next epoch, and check the journal's ends; ``again``: only if nobody else has the seat."""
    before = await link.fetch("select holder from journal")
    rows = await link.fetch(
        """update journal set epoch = epoch + 1, holder = $1, owner = $2 where holder = $1 or not $3
            returning identity, epoch, position, streams""",
        holder,
        owner_name(),
        again,
    )
    if not rows:
        await check_holder(link, place, holder)
    identity, epoch, position, streams = rows[0]
    await check_ends(link, place, position, streams)
    return Seat(identity, epoch, position, holder, crashed=before != [("",)])


async def leave(link: Link, holder: str) -> None:
    """Leave the seat in order; does nothing where somebody else has it."""
    await link.fetch("update journal set holder = '' where holder = $1", holder)


async def check_ends(link: Link, place: Place, position: int, streams: int) -> None:
    """Raise JournalDamaged if the journal does not end where it was written to."""
    ((head, last),) = await link.fetch(
        "select (select coalesce(max(position), 0) from events), (select coalesce(max(id), 0) from streams)"
    )
    if head != position:
        what = f"it ends at position {head}, but was written up to position {position}"
    elif last != streams:
        what = f"its last stream is number {last}, but {streams} have begun"
    else:
        return
    raise JournalDamaged(f"{place.shown} is damaged: {what}; restore it from a backup")
