"""Damage to an index of an SQLite file that leaves all its pages sound."""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def as_plain_table(path: Path, index: str) -> Generator[sqlite3.Connection]:
    """Yield a connection to which an index is a table, so that its entries can be changed without its rows."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        (root, made) = db.execute("select rootpage, sql from sqlite_master where name = ?", (index,)).fetchone()
        db.execute("pragma writable_schema = on")
        columns = [row[2] or "place" for row in db.execute(f"pragma index_xinfo({index})").fetchall()]
        names = ", ".join(columns)
        plain = f"create table plain ({names}, primary key ({names})) without rowid"
        db.execute("delete from sqlite_master where name = ?", (index,))
        db.execute("insert into sqlite_master values ('table', 'plain', 'plain', ?, ?)", (root, plain))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db
        db.execute("pragma writable_schema = on")
        db.execute("delete from sqlite_master where name = 'plain'")
        table = made.split(" on ")[1].split(" ")[0]
        db.execute("insert into sqlite_master values ('index', ?, ?, ?, ?)", (index, table, root, made))
