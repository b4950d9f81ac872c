"""The orders demo on PostgreSQL: the whole story, then orders under kills."""

import json

from tests.demos.conftest import Run
from tests.demos.test_orders_story import a_cart_and_a_search as what_is_found
from tests.postgres import a_schema, needs_server, url_of

pytestmark = needs_server


async def test_the_story_and_a_load_on_one_journal(orders: Run) -> None:
    async with a_schema() as schema:
        url = url_of(schema)
        told = orders("--journal", url)
        assert (told.returncode, told.stderr) == (0, "")
        assert "A process that is killed while an order waits" in told.stdout
        assert "The books balance" in told.stdout
        load = orders("--orders", "50", "--kill", "0.05", "--json", "--journal", url)
        assert load.returncode == 0
        report = json.loads(load.stdout)
        assert report["books_balance"]
        assert report["shipped"] + report["cancelled"] == 50


async def test_the_tables_are_on_postgresql_too(orders: Run) -> None:
    async with a_schema() as schema:
        url = url_of(schema)
        told = orders("--journal", url, "--views", url)
        assert (told.returncode, told.stderr) == (0, "")
        what_is_found(told.stdout)
        load = orders("--orders", "50", "--kill", "0.05", "--json", "--journal", url, "--views", url)
        assert json.loads(load.stdout)["books_balance"]
