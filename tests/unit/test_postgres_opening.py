"""Opening a PostgreSQL journal: it makes itself, one process has it, and what is wrong is said in one clear error."""

import asyncio
import os
import struct
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from persistence import (
    JournalDamaged,
    JournalError,
    JournalInUse,
    JournalTaken,
    JournalUnusable,
    NotAJournal,
    postgres_schema,
)
from persistence import postgres_client as client
from persistence.postgres import Durability, PostgresJournal
from persistence.postgres_url import quoted
from tests.contract.journal_contract import SEATS, everything, put
from tests.postgres import SERVER, a_schema, needs_server, run, url_of

pytestmark = needs_server


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can't get in says so soon."""
    monkeypatch.setattr(postgres_schema, "PATIENCE", 0.05)


@asynccontextmanager
async def opened(schema: str, durability: Durability = "full") -> AsyncGenerator[PostgresJournal]:
    journal = PostgresJournal(url_of(schema), durability)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


async def tables(schema: str) -> set[str]:
    rows = await run(
        "select relname from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = $1", schema
    )
    return {name for (name,) in rows}


async def refused(url: str, error: type[JournalError], says: str) -> str:
    """Open what can't be opened; check that one clear error comes, and that it does not show the password."""
    journal = PostgresJournal(url)
    with pytest.raises(error, match=says) as caught:
        await journal.open()
    text = "".join(traceback.format_exception(caught.value)) + repr(journal) + journal.url + repr(journal.place)
    assert "s3cret" not in text
    assert "\n" not in str(caught.value)
    with pytest.raises(JournalUnusable, match="not open"):
        await journal.read_all()
    await journal.close()
    return str(caught.value)


# -- making itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ['a"b', "a;drop table x", "Ünï cödé", "x" * 63, "%s", "select", "a'b", "A.b", "a\\b"])
async def test_a_schema_may_have_any_name(name: str) -> None:
    async with a_schema(name):
        async with opened(name) as journal:
            await journal.append([(put(SEATS, 0, 2),)])
        async with opened(name) as journal:
            assert len(await everything(journal)) == 2
        assert {"layout", "journal", "owners", "streams", "events", "log"} <= await tables(name)


async def test_an_empty_schema_and_one_with_other_tables_will_do(schema: str) -> None:
    await run(f"create schema {quoted(schema)}")
    await run("create table guests (name text)", schema=schema)
    async with opened(schema) as journal:
        await journal.append([(put(SEATS, 0),)])
    assert "guests" in await tables(schema)


async def test_what_was_written_is_there_when_it_is_opened_again(schema: str) -> None:
    async with opened(schema) as journal:
        identity = journal.identity
        await journal.append([(put(SEATS, 0, 3, "c1", mark=True),)])
    async with opened(schema) as journal:
        assert (journal.identity, journal.position) == (identity, 3)
        assert await journal.unfinished() == [SEATS]
        await journal.append([(put(SEATS, 3, 1, "c2"),)])
        assert len(await everything(journal)) == 4


async def test_the_log_can_be_read_by_people(schema: str) -> None:
    async with opened(schema) as journal:
        await journal.append([(put(SEATS, 0, 1, "c1"),)])
    ((position, stream, version, name, time, command, data, meta),) = await run("select * from log", schema=schema)
    assert (position, stream, version, name, command) == (1, "Flight/LH441", 1, "SeatHeld", "c1")
    assert (time.timestamp(), data, meta) == (1_700_000_000.123456, '{"n":1}', '{"by":"test"}')


@pytest.mark.parametrize(("durability", "commit"), [("full", "on"), ("normal", "off")])
@pytest.mark.parametrize("default", ["on", "off"])
async def test_full_waits_for_the_disk_whatever_the_servers_default(
    schema: str, durability: Durability, commit: str, default: str
) -> None:
    journal = PostgresJournal(url_of(schema) + f"&synchronous_commit={default}", durability)
    await journal.open()
    writer = journal._writer  # pyright: ignore[reportPrivateUsage]
    assert writer is not None
    assert await writer.fetch("select current_setting('synchronous_commit')") == [(commit,)]
    await journal.close()


# -- one writer ---------------------------------------------------------------------------------------------------


async def test_of_many_who_open_it_at_once_one_gets_it(schema: str) -> None:
    journals = [PostgresJournal(url_of(schema)) for _ in range(6)]
    ends = await asyncio.gather(*(journal.open() for journal in journals), return_exceptions=True)
    assert ends.count(None) == 1
    for end in ends:
        assert end is None or isinstance(end, JournalInUse)
    for journal in journals:
        await journal.close()


async def test_a_second_one_is_told_who_has_it(schema: str) -> None:
    async with opened(schema) as journal:
        await journal.append([(put(SEATS, 0),)])
        says = await refused(
            url_of(schema), JournalInUse, f"is in use by process {os.getpid()} on .*; stop that one first"
        )
        assert schema in says
        await journal.append([(put(SEATS, 1),)])
        assert len(await everything(journal)) == 2
    async with opened(schema) as journal:
        assert journal.position == 2


async def test_who_comes_while_the_last_one_ends_waits_for_it(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_schema, "PATIENCE", 60)
    first, second = PostgresJournal(url_of(schema)), PostgresJournal(url_of(schema))
    await first.open()
    waiting = asyncio.create_task(second.open())
    seat = "select oid from pg_namespace where nspname = $1"
    while not await run(
        f"select from pg_locks where locktype = 'advisory' and not granted and classid = ({seat})", schema
    ):
        assert not waiting.done()
    await first.append([(put(SEATS, 0),)])
    await first.close()
    await waiting
    assert second.position == 1
    await second.close()


async def test_one_that_was_killed_keeps_nobody_out(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_schema, "PATIENCE", 60)
    dead = PostgresJournal(url_of(schema))
    await dead.open()
    writer = dead._writer  # pyright: ignore[reportPrivateUsage]
    assert writer is not None
    writer._connection.terminate()  # pyright: ignore[reportPrivateUsage]
    async with opened(schema) as journal:
        assert journal.crashed
    await dead.close()
    async with opened(schema) as journal:
        assert not journal.crashed


async def test_one_that_was_replaced_leaves_nothing_in_order(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its seat is another's when it closes; what that one leaves behind is a crash."""
    first, second = PostgresJournal(url_of(schema)), PostgresJournal(url_of(schema))
    await first.open()
    assert not first.crashed
    link = first._writer  # pyright: ignore[reportPrivateUsage]
    assert link is not None
    await run("select pg_terminate_backend($1)", link.process)
    with monkeypatch.context() as patch:
        patch.setattr(postgres_schema, "PATIENCE", 60)
        await second.open()
    assert second.crashed
    with pytest.raises(JournalTaken):
        await first.recover()
    await first.close()
    writer = second._writer  # pyright: ignore[reportPrivateUsage]
    assert writer is not None
    writer._connection.terminate()  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(postgres_schema, "PATIENCE", 60)
    async with opened(schema) as journal:
        assert journal.crashed
    await second.close()


async def test_closing_leaves_no_session_behind(schema: str) -> None:
    sessions = "select from pg_stat_activity where application_name = $1"
    journal = PostgresJournal(url_of(schema) + f"&application_name={schema[:60]}")
    await journal.open()
    await journal.read_all()
    assert len(await run(sessions, schema[:60])) == 2
    await journal.close()
    while await run(sessions, schema[:60]):  # the server ends them when it has read our farewell
        pass


# -- what is wrong is said ----------------------------------------------------------------------------------------


async def test_a_newer_layout_is_refused(schema: str) -> None:
    async with opened(schema) as journal:
        await journal.append([(put(SEATS, 0),)])
    await run("insert into layout (version) values (99)", schema=schema)
    known = len(postgres_schema.LAYOUTS)
    await refused(url_of(schema), NotAJournal, f"has layout 99, .* knows layouts up to {known}; use the version that")
    assert await run("select epoch, position from owners, journal", schema=schema) == [(1, 1)]
    watcher = PostgresJournal(url_of(schema), watching=True)
    with pytest.raises(NotAJournal, match="layout 99"):
        await watcher.open()


@pytest.mark.parametrize("name", ["journal", "events", "streams", "log", "owners", "tags", "snapshots"])
async def test_a_table_that_is_not_ours_is_left_alone(schema: str, name: str) -> None:
    await run(f"create schema {quoted(schema)}")
    await run(f"create table {name} (a int)", schema=schema)
    await refused(url_of(schema), NotAJournal, f"has a table {name} that Understudy did not make; use another schema")
    assert await tables(schema) == {name}


async def test_a_migration_that_fails_halfway_leaves_nothing(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts = (*postgres_schema.LAYOUTS, ("create table more (a int)", "create table more (a int)"))
    monkeypatch.setattr(postgres_schema, "LAYOUTS", layouts)
    await refused(url_of(schema), JournalUnusable, 'relation "more" already exists')
    assert await tables(schema) == set()
    assert not await run("select from pg_namespace where nspname = $1", schema)
    monkeypatch.setattr(postgres_schema, "LAYOUTS", layouts[:-1])
    async with opened(schema) as journal:
        await journal.append([(put(SEATS, 0),)])
    monkeypatch.setattr(postgres_schema, "LAYOUTS", (*layouts[:-1], layouts[-1][:1]))
    watcher = PostgresJournal(url_of(schema), watching=True)
    with pytest.raises(JournalUnusable, match="its writer must open it first"):
        await watcher.open()
    async with opened(schema) as journal:
        assert len(await everything(journal)) == 1
    assert "more" in await tables(schema)


async def test_no_such_database() -> None:
    server = SERVER.rpartition("/")[0].replace("@", ":s3cret@")
    await refused(f"{server}/no_such", JournalUnusable, 'database "no_such" does not exist; make it with createdb')


async def test_a_database_that_cant_hold_any_text() -> None:
    name = f"test_{uuid4().hex}"
    await run(f"create database {name} encoding 'SQL_ASCII' locale 'C' template template0")
    try:
        server = SERVER.rpartition("/")[0]
        await refused(f"{server}/{name}", JournalUnusable, "encoding is SQL_ASCII")
    finally:
        await run(f"drop database {name} with (force)")


async def test_a_user_who_may_not(schema: str) -> None:
    role = f"role_{schema}"
    await run(f"create role {role} login password 's3cret'")
    try:
        host = SERVER.rpartition("@")[2]
        url = url_of(schema, f"postgresql://{role}:s3cret@{host}")
        await refused(url, JournalUnusable, "permission denied for database")
        async with opened(schema):
            pass
        await refused(url, JournalUnusable, "permission denied for")
        assert await run("select epoch from owners", schema=schema) == [(1,)]
    finally:
        await run(f"drop role {role}")


@asynccontextmanager
async def pretender(answer: bytes) -> AsyncGenerator[str]:
    """A server that answers whoever comes in with this, after it has said that it has no TLS."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack("!i", await reader.readexactly(4))
        if size == 8:
            await reader.readexactly(4)
            writer.write(b"N")
            (size,) = struct.unpack("!i", await reader.readexactly(4))
        await reader.readexactly(size - 4)
        if answer:
            writer.write(answer)
        else:
            await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"postgresql://ana:s3cret@127.0.0.1:{server.sockets[0].getsockname()[1]}/test"
    finally:
        done.set()
        server.close()
        await server.wait_closed()


def error(code: str, text: str) -> bytes:
    fields = f"SFATAL\0VFATAL\0C{code}\0M{text}\0\0".encode()
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


@pytest.mark.parametrize(
    ("code", "text", "says"),
    [
        ("28P01", 'password authentication failed for user "ana"', "failed for user .*; look at the user and"),
        ("28000", "no pg_hba.conf entry", "no pg_hba.conf entry; look at the user"),
        ("53300", "sorry, too many clients already", "too many clients"),
        ("57P03", "the database system is starting up", "starting up"),
    ],
)  # fmt: skip
async def test_a_server_that_lets_nobody_in(code: str, text: str, says: str) -> None:
    async with pretender(error(code, text)) as url:
        await refused(url, JournalUnusable, says)


async def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_TIMEOUT", 0.1)
    async with pretender(b"") as url:
        await refused(url, JournalUnusable, "is the server running there")


async def test_a_server_that_is_down() -> None:
    async with pretender(b"") as url:
        pass
    await refused(url, JournalUnusable, "127.0.0.1.*is the server running there")


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("delete from events where position = 3", "it ends at position 2, but was written up to position 3"),
        ("delete from streams", "its last stream is number 0, but 1 have begun"),
        ("delete from journal", "its identity is missing"),
        ("drop table events cascade", '"events" does not exist'),
        ("drop table journal", '"journal" does not exist'),
    ],
)
async def test_a_journal_that_has_lost_something_is_not_opened(schema: str, statement: str, says: str) -> None:
    async with opened(schema) as journal:
        await journal.append([(put(SEATS, 0, 3),)])
    await run(statement, schema=schema)
    await refused(url_of(schema), JournalDamaged, says)


async def test_watching_needs_a_journal(schema: str) -> None:
    watcher = PostgresJournal(url_of(schema), watching=True)
    with pytest.raises(JournalUnusable, match="there is no journal in it"):
        await watcher.open()
    assert not await run("select from pg_namespace where nspname = $1", schema)
