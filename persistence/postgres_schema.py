"""The schema behind a PostgreSQL journal: its layout, and how it is made and migrated."""

import uuid

import msgspec

from persistence.errors import JournalDamaged, JournalError, JournalInUse, JournalUnusable, NotAJournal
from persistence.postgres_client import FAULTS, Link, LockTimeout
from persistence.postgres_url import DEFAULT_OWNER, Place, quoted

LOCKS = 0x55535459
"""The class of our advisory locks, "USTY"; one number above it, the locks of those who make a schema."""
PATIENCE = 2.0
"""Seconds for which opening waits for another writer to end: one that was killed, until the server has seen it."""
MAKING = 10.0
"""Seconds for which opening waits for another process to make or migrate the same schema."""


def name_of(category: str, key: str) -> str:
    """Return the SQL for a stream's name in an index, which holds no long text.

    Texts are kept as :mod:`persistence.postgres_text` writes them, and as such they are the bytea of their UTF-8.
    """
    return f"sha256({category}::bytea) || sha256({key}::bytea)"


def digest_of(text: str) -> str:
    """Return the SQL for an id or a tag in an index."""
    return f"substring(sha256({text}::bytea) for 16)"


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
    (
        # Each process writes as an owner, and to the streams that are its own.
        """create table owners (number bigint primary key generated always as identity,
            name text collate "C" not null unique, epoch bigint not null, holder text not null, shown text not null)""",
        f"""insert into owners (name, epoch, holder, shown)
            select '{DEFAULT_OWNER}', epoch, holder, owner from journal""",  # noqa: S608 (our own name)
        "alter table journal drop column epoch, drop column holder, drop column owner",
        # What there was before is the first owner's. With a constant for all of them no row is rewritten.
        "alter table streams add column owner bigint not null default 1",
        "alter table streams alter column owner drop default",
        "drop index streams_wake",
        "create index streams_wake on streams (owner, wake, id) where wake is not null",
    ),
    (
        # Events have ids and tags, and can be erased; streams have snapshots.
        "alter table events add column id text, add column tags text[]",
        f"create unique index events_id on events ({digest_of('id')}) where id is not null",
        # Not an index on the arrays: it would lead to all events with a tag, and not to the first after a position.
        "create table tags (tag bytea not null, position bigint not null, primary key (tag, position))",
        "alter table streams add column first bigint",
        """create table snapshots (stream bigint primary key, version bigint not null, fingerprint text not null,
            data bytea not null, crc bigint not null)""",
    ),
)
"""What makes each layout of the one before; the first one of nothing."""

EXISTS = "select from pg_class c join pg_namespace n on n.oid = c.relnamespace where nspname = $1 and relname = $2"


class Ends(msgspec.Struct, frozen=True):
    """Which journal it is, and where it ends."""

    identity: str
    position: int


async def migrated(link: Link, place: Place) -> None:
    """Make the schema, or bring it up to date, where that is needed: all of it or nothing.

    The link's session holds the layout's lock from then on: while anybody does, nobody migrates it.

    Raises:
        JournalInUse: others must end before it can be migrated.
        NotAJournal: the schema was not made by Understudy, or by a newer version.
        JournalUnusable, JournalDamaged: it can't be used.
    """
    try:
        async with link.transaction():
            await limit_patience(link)
            if await _shared(link, place):
                return
            await _limit(link, MAKING)
            # Who makes the same schema at the same time waits here; the lock goes with the transaction.
            await link.fetch("select pg_advisory_xact_lock($1, hashtext($2))", LOCKS + 1, place.schema)
            await limit_patience(link)
            if await _shared(link, place):
                return
            await _check_encoding(link, place)
            await _make_schema(link, place)
            await lock_layout(link, place)
            await _migrate(link, place)
    except LockTimeout as error:
        raise await _in_use(link, place) from error
    # Only now, when others can see what was made.
    await lock_layout(link, place, shared=True)
    await link.fetch(
        "select pg_advisory_unlock($1, oid::int) from pg_namespace where nspname = $2", LOCKS, place.schema
    )


async def _shared(link: Link, place: Place) -> bool:
    """Share the layout's lock, if it is there and up to date."""
    if not await is_there(link, place) or not await check_layout(link, place):
        return False
    await lock_layout(link, place, shared=True)
    await check_layout(link, place)  # it may have become a newer one meanwhile
    return True


async def is_there(link: Link, place: Place) -> bool:
    """Return whether a journal was made there.

    Raises:
        JournalUnusable: we may not look.
    """
    await _check_usage(link, place)
    return bool(await link.fetch(EXISTS, place.schema, "layout"))


async def lock_layout(link: Link, place: Place, *, shared: bool = False) -> None:
    """Take the layout's lock: who writes shares it with others, who migrates has it alone."""
    lock = "select pg_advisory_lock($1, oid::int) from pg_namespace where nspname = $2"
    if shared:
        lock = lock.replace("_lock(", "_lock_shared(")
    if not await link.fetch(lock, LOCKS, place.schema):
        raise JournalDamaged(f"{place.shown} is damaged: its schema is gone; restore it from a backup")


async def ends(link: Link, place: Place, *, check: bool = False) -> Ends:
    """Return where the journal ends, as seen at one moment while others may write to it.

    Raises:
        JournalDamaged: its identity is missing, or (``check``) it does not end where it was written to.
    """
    rows = await link.fetch(
        """select identity, position, streams, (select coalesce(max(position), 0) from events),
            (select coalesce(max(id), 0) from streams) from journal"""
    )
    if len(rows) != 1:
        what = "its identity is missing"
    else:
        identity, position, streams, head, last = rows[0]
        if check and head != position:
            what = f"it ends at position {head}, but was written up to position {position}"
        elif check and last != streams:
            what = f"its last stream is number {last}, but {streams} have begun"
        else:
            return Ends(identity, position)
    raise JournalDamaged(f"{place.shown} is damaged: {what}; restore it from a backup")


async def limit_patience(link: Link) -> None:
    """Wait for no lock longer than :data:`PATIENCE`, in this transaction."""
    await _limit(link, PATIENCE)


async def _limit(link: Link, seconds: float) -> None:
    await link.fetch("select set_config('lock_timeout', $1, true)", f"{seconds * 1e3:.0f}ms")


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


async def _in_use(link: Link, place: Place) -> JournalError:
    """Return the error that names those who keep us from migrating it."""
    alive = """select string_agg(shown, ', ') from owners join pg_locks on objid::bigint = number
        where locktype = 'advisory' and granted and objsubid = 1
        and classid = (select oid from pg_namespace where nspname = $1)
        and database = (select oid from pg_database where datname = current_database())"""
    found = "another process"
    for who, values in ((alive, [place.schema]), ("select owner from journal", [])):
        try:
            found = (await link.fetch(who, *values))[0][0] or found
        except FAULTS:
            continue  # it has another layout, or somebody is still at making it
        break
    return JournalInUse(
        f"{place.shown} is in use by {found}, and its layout is not this version's; stop that one first, "
        "or use another schema"
    )


async def _migrate(link: Link, place: Place) -> None:
    if not await link.fetch(EXISTS, place.schema, "layout"):
        for name in ("journal", "streams", "events", "log", "owners", "tags", "snapshots"):
            if await link.fetch(EXISTS, place.schema, name):
                raise NotAJournal(
                    f"{place.shown}: schema {place.schema} has a table {name} that Understudy did not make; "
                    "use another schema"
                )
        await link.script("create table layout (version int primary key, since timestamptz not null default now())")
    await check_layout(link, place)
    found = await _layout(link)
    for version, statements in enumerate(LAYOUTS[found:], found + 1):
        for statement in statements:
            await link.script(statement)
        await link.fetch("insert into layout (version) values ($1)", version)
    if found == 0:
        await link.fetch("insert into journal (identity, position, streams) values ($1, 0, 0)", uuid.uuid4().hex)


async def check_layout(link: Link, place: Place) -> bool:
    """Return whether the layout that is there is the one of this version, and no older one.

    Raises:
        NotAJournal: it is newer.
    """
    found = await _layout(link)
    if found > len(LAYOUTS):
        raise NotAJournal(
            f"{place.shown} has layout {found}, this version of Understudy knows layouts up to {len(LAYOUTS)}; "
            "use the version that wrote it, or a later one"
        )
    return found == len(LAYOUTS)


async def _layout(link: Link) -> int:
    found: int = (await link.fetch("select coalesce(max(version), 0) from layout"))[0][0]
    return found
