"""News of a PostgreSQL journal: whoever waits hears of what others write, whatever is lost on the way."""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from persistence import NEVER, JournalUnusable, postgres_news
from persistence.postgres import PostgresJournal
from tests.contract.journal_contract import ROOMS, SEATS, put
from tests.postgres import needs_server, run, url_of
from tests.relay import a_relay

pytestmark = needs_server


@pytest.fixture
async def journal(schema: str) -> AsyncGenerator[PostgresJournal]:
    async with opened(url_of(schema)) as journal:
        yield journal


@asynccontextmanager
async def opened(url: str, *, watching: bool = False) -> AsyncGenerator[PostgresJournal]:
    journal = PostgresJournal(url, watching=watching)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


@pytest.fixture
def only_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by himself."""
    monkeypatch.setattr(postgres_news, "TOLD_EVERY", math.inf)


async def listened(watcher: PostgresJournal, after: int) -> "asyncio.Task[int]":
    """Return a task that waits for news, when the server knows that it listens and it has looked."""
    waiting = asyncio.create_task(watcher.changed(after, math.inf))
    lookout: Any = watcher._lookout  # pyright: ignore[reportPrivateUsage]
    while not lookout._news._waiting:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0.001)
    return waiting


@pytest.mark.usefixtures("only_told")
async def test_who_waits_is_told_of_what_another_one_writes(schema: str, journal: PostgresJournal) -> None:
    async with opened(url_of(schema), watching=True) as watcher:
        for n in range(5):
            waiting = await listened(watcher, n)
            await journal.append([(put(SEATS, n),)])
            assert await waiting == watcher.position == n + 1


@pytest.mark.usefixtures("only_told")
async def test_what_is_told_while_one_looks_is_not_missed(
    schema: str, journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The position that the server has answered with is old when the answer is there."""
    async with opened(url_of(schema), watching=True) as watcher:
        assert await watcher.changed(0, 0) == 0
        reader: Any = watcher._reader  # pyright: ignore[reportPrivateUsage]
        lookout: Any = watcher._lookout  # pyright: ignore[reportPrivateUsage]
        fetch = reader.fetch

        async def slow(*asked: Any) -> Any:
            monkeypatch.setattr(reader, "fetch", fetch)
            rows, count = await fetch(*asked), lookout._news.count
            await journal.append([(put(SEATS, 0),)])
            while lookout._news.count == count:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.001)
            return rows

        monkeypatch.setattr(reader, "fetch", slow)
        assert await watcher.changed(0, math.inf) == 1


async def test_where_nobody_tells_it_looks_now_and_then(schema: str) -> None:
    url = f"{url_of(schema)}&notify=off"
    async with opened(url) as journal, opened(url, watching=True) as watcher:
        assert journal.channel == ""
        for n in range(3):
            waiting = await listened(watcher, n)
            await journal.append([(put(SEATS, n),)])
            assert await waiting == n + 1
        assert not await run("select from pg_stat_activity where query ilike 'listen%understudy_'")


async def test_a_notification_that_never_comes_is_made_up_for(
    schema: str, journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_news, "TOLD_EVERY", 0.01)
    await journal.close()
    async with opened(f"{url_of(schema)}&notify=off") as silent, opened(url_of(schema), watching=True) as watcher:
        waiting = await listened(watcher, 0)
        await silent.append([(put(SEATS, 0),)])
        assert await waiting == 1


@pytest.mark.usefixtures("only_told")
async def test_what_was_notified_while_the_connection_was_lost_is_seen(schema: str, journal: PostgresJournal) -> None:
    async with a_relay() as relay, opened(relay.url(schema), watching=True) as watcher:
        waiting = await listened(watcher, 0)
        relay.watch = lambda way, data: False  # the notification is lost on its way
        await journal.append([(put(SEATS, 0),)])
        relay.watch = lambda way, data: True
        relay.cut()
        assert await waiting == 1
        waiting = await listened(watcher, 1)  # it listens again
        await journal.append([(put(SEATS, 1),)])
        assert await waiting == 2


async def test_a_server_that_is_down_for_a_while_is_waited_for(
    schema: str, journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_news, "TOLD_EVERY", 0.01)
    async with a_relay() as relay, opened(relay.url(schema), watching=True) as watcher:
        waiting = await listened(watcher, 0)
        relay.closed = True
        relay.cut()
        with pytest.raises(JournalUnusable):
            await watcher.changed(0, 0)
        with pytest.raises(JournalUnusable):
            await watcher.changed(0, 0.05)
        await journal.append([(put(SEATS, 0),)])
        assert not waiting.done()
        relay.closed = False
        assert await waiting == 1


@pytest.mark.parametrize("payload", ["", "x", "99", "9" * 7_000, "²", "-1", "1.5"])
async def test_what_anybody_notifies_is_only_a_hint(schema: str, journal: PostgresJournal, payload: str) -> None:
    waiting = await listened(journal, 1)
    await run("select pg_notify($1, $2)", journal.channel, payload)
    await journal.append([(put(SEATS, 0),)])
    await run("select pg_notify($1, $2)", journal.channel, payload)
    assert await journal.changed(0, math.inf) == journal.position == 1
    assert not waiting.done()
    await journal.append([(put(SEATS, 1),)])
    assert await waiting == 2


async def test_it_tells_the_position_as_it_is_now(schema: str, journal: PostgresJournal) -> None:
    async with opened(url_of(schema), watching=True) as watcher:
        for n in range(20):
            await journal.append([(put(SEATS, n), put(ROOMS, n))])
            assert await asyncio.gather(*(watcher.changed(NEVER, 0) for _ in range(5))) == [2 * n + 2] * 5


async def test_closing_ends_the_wait(schema: str) -> None:
    journal = PostgresJournal(url_of(schema))
    await journal.open()
    waiting = await listened(journal, 0)
    await journal.close()
    with pytest.raises(JournalUnusable, match="not open"):
        await waiting
    with pytest.raises(JournalUnusable, match="not open"):
        await journal.changed(0, math.inf)
    await journal.open()
    assert await journal.changed(0, 0) == 0
    await journal.close()
