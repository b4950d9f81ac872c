"""How a PostgreSQL server is reached: with TLS, with passwords; and one clear error where it lets nobody in."""

import os
import shutil
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from persistence import JournalUnusable
from persistence.postgres import PostgresJournal
from tests.contract.journal_contract import SEATS, everything, put
from tests.server import Server, a_server, needs_own_server

pytestmark = needs_own_server


def certificate(folder: Path) -> None:
    """Make a key and a certificate for this machine, signed by itself."""
    openssl = shutil.which("openssl")
    if not openssl:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no openssl to make a certificate with")
    made = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem", "-nodes", "-newkey", "rsa:2048", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([openssl, "req", "-x509", *made, *names], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pems")
    certificate(folder)
    return folder


@pytest.fixture
async def server() -> AsyncGenerator[Server]:
    async with a_server() as server:
        yield server


async def encrypt(server: Server, pems: Path) -> None:
    """Let the server have TLS, and let nobody in without it who comes as ana."""
    server.keep("server.key", (pems / "key.pem").read_bytes())
    server.keep("server.crt", (pems / "cert.pem").read_bytes())
    rules = "hostssl all ana all scram-sha-256\nhost all postgres all trust\n"
    server.keep("pg_hba.conf", rules.encode())
    await server.script("create role ana login password 's3cret'; grant create on database postgres to ana")
    server.keep("postgresql.auto.conf", b"ssl = on\n")
    await server.stop()
    await server.start()


async def writes(url: str) -> None:
    journal = PostgresJournal(url)
    await journal.open()
    await journal.append([(put(SEATS, journal.position),)])
    assert len(await everything(journal)) == journal.position
    writer = journal._writer  # pyright: ignore[reportPrivateUsage]
    assert writer is not None
    ((encrypted,),) = await writer.fetch("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
    assert encrypted == ("sslmode=" in url)
    await journal.close()


async def refused(url: str, says: str) -> None:
    journal = PostgresJournal(url)
    with pytest.raises(JournalUnusable, match=says) as caught:
        await journal.open()
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_the_connection_is_encrypted_where_the_url_says_so(server: Server, pems: Path) -> None:
    await encrypt(server, pems)
    ana = f"postgresql://ana:s3cret@127.0.0.1:{server.port}/postgres?schema=trips"
    await writes(f"{ana}&sslmode=require")
    await writes(f"{ana}&sslmode=verify-full&sslrootcert={pems}/cert.pem")
    await writes(f"{ana}&sslmode=verify-ca&sslrootcert={pems}/cert.pem")
    await writes(f"{ana}&sslmode=prefer&owner=other".replace("trips", "more"))
    # Not to a server that nobody vouches for, nor to one of another name, nor without TLS.
    other = pems / "other"
    other.mkdir(exist_ok=True)
    certificate(other)
    await refused(f"{ana}&sslmode=verify-full&sslrootcert={other}/cert.pem", "CERTIFICATE_VERIFY_FAILED")
    await refused(f"{ana}&sslmode=disable", "no pg_hba.conf entry .*; look at the user and the password")
    position = await server.value("select position from trips.journal")
    assert position == 3


async def test_a_server_without_tls_is_not_taken_for_one(server: Server) -> None:
    url = f"postgresql://postgres@127.0.0.1:{server.port}/postgres?schema=trips"
    await refused(f"{url}&sslmode=require", "rejected SSL upgrade")
    assert await server.value("select count(*) from pg_namespace where nspname = 'trips'") == 0


async def test_a_wrong_password_and_a_wrong_name_say_what_to_look_at(server: Server, pems: Path) -> None:
    await encrypt(server, pems)
    there = f"127.0.0.1:{server.port}"
    for who, says in (
        (f"ana:s3cret.not@{there}/postgres", "password authentication failed for user .ana.; look at the user and"),
        (f"ana@{there}/postgres", "password"),
        (f"eve:s3cret@{there}/postgres", "no pg_hba.conf entry"),
        (f"ana:s3cret@{there}/nothere", 'database "nothere" does not exist; make it with createdb'),
    ):
        await refused(f"postgresql://{who}", says)
    assert await server.value("select count(*) from pg_namespace where nspname = 'understudy'") == 0


async def test_who_may_only_read_writes_nothing(server: Server) -> None:
    """And what he may not do is said before anything is done."""
    await writes(server.url(schema="trips"))
    await server.script(
        "create role ana login; grant usage on schema trips to ana; grant select on all tables in schema trips to ana"
    )
    url = server.url(schema="trips").replace("postgres@", "ana@")
    await refused(url, "permission denied for table")
    assert await server.value("select epoch from trips.owners") == 1
    watcher = PostgresJournal(url, watching=True)
    await watcher.open()
    assert len(await everything(watcher)) == 1
    await watcher.close()


async def test_a_server_with_no_room_says_so(server: Server) -> None:
    server.keep(
        "postgresql.auto.conf", b"max_connections = 3\nsuperuser_reserved_connections = 0\nmax_wal_senders = 0\n"
    )
    await server.stop()
    await server.start()
    holders = [PostgresJournal(server.url(owner=f"o{n}")) for n in range(3)]
    for journal in holders:
        await journal.open()
    await refused(server.url(owner="late"), "too many clients|remaining connection slots")
    for journal in holders:
        await journal.close()
    await writes(server.url(owner="late"))
