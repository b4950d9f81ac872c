"""The command line and journals on PostgreSQL."""

import asyncio
import signal

from demos.page import Page
from demos.trip import ACTORS, load
from runtime import Runtime
from tests.command_line.conftest import Begin, Beside
from tests.command_line.test_processes import line_of
from tests.postgres import SERVER, a_schema, needs_server, url_of

pytestmark = needs_server


async def test_all_that_reads_works_beside_a_runtime(beside: Beside, begin: Begin) -> None:
    async with a_schema() as schema:
        url = url_of(schema)
        async with Runtime(url, ACTORS) as runtime:
            await load.run(runtime, 20, 1, Page(None))
            (found,) = (await beside("info", url, "--json")).objects
            assert found["streams"] > 20
            for arguments in (("verify",), ("streams",), ("show", "TripSaga/run0-1"), ("export", "archive")):
                done = await beside(arguments[0], url, *arguments[1:])
                assert (done.code, done.err) == (0, "")
            done = await beside("seal", url)
            assert done.code == 2
            assert "is in use by process" in done.complaint
            done = await beside("backup", url, "copy")
            assert (done.code, "use export, or what its server has (pg_dump)" in done.complaint) == (2, True)
            process = await begin("tail", url, "-f", "-n", "1", "--json")
            last = (await line_of(process))["position"]
            assert last == found["position"]
            await load.run(runtime, 1, 2, Page(None))
            assert (await line_of(process))["position"] == last + 1
            process.send_signal(signal.SIGINT)
            _, err = await process.communicate()
            assert (process.returncode, err) == (130, b"")


async def test_a_journal_moves_to_postgresql_and_back(trips: str, beside: Beside) -> None:
    async with a_schema() as schema:
        url = url_of(schema)
        whole = (await beside("tail", trips, "--after", "0", "--json")).out
        streams = (await beside("streams", trips, "--json")).out
        for command in (("export", trips, "there"), ("import", url, "there"), ("export", url, "back")):
            done = await beside(*command)
            assert (done.code, done.err) == (0, "")
        head = (await beside("seal", trips)).out.strip()
        assert (await beside("verify", url, "--pinned", head)).code == 0
        for journal in (url, "sqlite:back.db"):
            if journal != url:
                assert (await beside("import", journal, "back")).code == 0
            assert (await beside("tail", journal, "--after", "0", "--json")).out == whole
            assert (await beside("streams", journal, "--json")).out == streams
        async with Runtime(url, ACTORS) as runtime:
            assert (await load.run(runtime, 5, 3, Page(None))).books.problems == []


async def test_journals_that_can_not_be_read(beside: Beside) -> None:
    nobody = SERVER.replace("postgres@", "nobody:s3cret@")
    complaints = await asyncio.gather(
        beside("info", url_of("no_such_schema")),
        beside("info", url_of("x", SERVER.replace("/test", "/no_such_database"))),
        beside("info", url_of("x", nobody)),
    )
    for done, said in zip(
        complaints,
        (
            "there is no journal in it",
            'database "no_such_database" does not exist',
            'role "nobody" does not exist; look at the user and the password in the URL',
        ),
        strict=True,
    ):
        assert done.code == 2
        assert said in done.complaint
        assert "s3cret" not in done.err
