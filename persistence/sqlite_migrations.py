"""What brings the file of an SQLite journal from the format of an earlier version to today's."""

import sqlite3

MIGRATIONS: dict[int, tuple[str, ...]] = {
    # A stream says when its owner must be awake, not only whether.
    1: (
        "drop view log",
        "drop index streams_unfinished",
        """create table streams_2 (
            id integer primary key, category text not null, key text not null, wake integer, unique (category, key))""",
        "insert into streams_2 select id, category, key, case when unfinished then 0 end from streams order by id",
        "drop table streams",
        "alter table streams_2 rename to streams",
        "create index streams_wake on streams (wake) where wake is not null",
        """create view log as select e.position, s.category || '/' || s.key as stream, e.version, t.name as type,
            strftime('%Y-%m-%d %H:%M:%f', e.time / 1e6, 'unixepoch') as time, e.command, e.data, e.meta
            from events e join streams s on s.id = e.stream join types t on t.id = e.type order by e.position""",
    ),
    # Events have ids and tags, streams a first event, a state and a snapshot, the journal seals.
    2: (
        "alter table streams add column first integer",
        "alter table streams add column state integer",
        "alter table events add column id text",
        "alter table events add column tags text",
        "create unique index events_id on events (id) where id is not null",
        "create table tags (tag text not null, position integer not null, primary key (tag, position)) without rowid",
        """create table snapshots (
            stream integer primary key references streams, version integer not null, fingerprint text not null,
            data blob not null, crc integer not null)""",
        """create table seals (
            position integer primary key, hash text not null check (length(hash) = 64)) without rowid""",
    ),
}
"""The way from each earlier format to the one after it. A step that has been released is never changed again."""


def migrate(db: sqlite3.Connection, found: int, wanted: int) -> bool:
    """Bring a file from the format ``found`` to ``wanted``; return whether there is a way.

    Each step is one transaction together with the format's number, so a crash leaves one format or the next.
    """
    steps = range(found, wanted)
    if found > wanted or any(number not in MIGRATIONS for number in steps):
        return False
    for number in steps:
        db.execute("begin immediate")
        try:
            for statement in MIGRATIONS[number]:
                db.execute(statement)
            db.execute(f"pragma user_version = {number + 1}")
            db.execute("commit")
        except BaseException:
            if db.in_transaction:
                db.execute("rollback")
            raise
    return True
