"""The trip demo on PostgreSQL: the whole story, then trips under kills; the password is never shown."""

import json

from tests.demos.conftest import Run
from tests.postgres import SERVER, a_schema, needs_server, url_of

pytestmark = needs_server


async def test_the_story_and_a_load_on_one_journal(trip: Run) -> None:
    async with a_schema() as schema:
        # Where the server trusts us, any password will do; where it does not, it is in the URL already.
        server = (
            SERVER if ":" in SERVER.split("@")[0].removeprefix("postgresql://") else SERVER.replace("@", ":s3cret@")
        )
        url = url_of(schema, server)
        told = trip("--journal", url)
        assert (told.returncode, told.stderr) == (0, "")
        assert "A process that is killed in the middle of a trip" in told.stdout
        assert "The books balance" in told.stdout
        assert f"psql postgresql://postgres@127.0.0.1:5432/test -c 'select * from \"{schema}\".log'" in told.stdout
        load = trip("--trips", "50", "--kill", "0.05", "--json", "--journal", url)
        assert load.returncode == 0
        report = json.loads(load.stdout)
        assert report["books_balance"]
        assert report["journal"] == url_of(schema)
        assert "s3cret" not in told.stdout + load.stdout


async def test_what_is_wrong_is_said_in_one_line(trip: Run) -> None:
    for url, said in (
        ("postgresql://ana:s3cret@127.0.0.1:1/test", "is the server running there?"),
        ("postgresql://ana:s3cret@127.0.0.1:x/test", "write 'postgresql://user@host/database?schema=understudy'"),
    ):
        done = trip("--journal", url)
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        assert "s3cret" not in done.stderr
