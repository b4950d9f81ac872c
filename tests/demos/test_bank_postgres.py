"""The bank demo on PostgreSQL: the whole story, then transfers under kills, then a look back."""

import json

from tests.demos.conftest import Run
from tests.postgres import a_schema, needs_server, url_of

pytestmark = needs_server


async def test_the_story_a_load_and_a_look_back_on_one_journal(bank: Run) -> None:
    async with a_schema() as schema:
        url = url_of(schema)
        told = bank("--journal", url)
        assert (told.returncode, told.stderr) == (0, "")
        assert "opens the journal; 15,000.00 euros are held" in told.stdout
        assert "The books balance" in told.stdout
        load = bank("--transfers", "100", "--kill", "0.05", "--json", "--journal", url)
        assert load.returncode == 0
        report = json.loads(load.stdout)
        assert report["books_balance"]
        assert report["done"] + report["refused"] == 100
        then = bank("--at", "2000-01-01", "--json", "--journal", url)
        assert json.loads(then.stdout)["balances"] == {}
