"""The journal in an SQLite file keeps the contract; again with no room to remember streams, and with ``normal``."""

import asyncio
import math
from pathlib import Path

import pytest

from persistence import Journal, JournalUnusable, SqliteJournal
from persistence import sqlite as engine
from persistence.limits import MAX_PAYLOAD
from tests.contract.event_store_contract import EventStoreContract
from tests.contract.intake_contract import IntakeContract
from tests.contract.keeping_contract import KeepingContract


class TestSqliteJournal(EventStoreContract, KeepingContract, IntakeContract):
    def make(self, folder: Path, max_payload: int = MAX_PAYLOAD) -> Journal:
        return SqliteJournal(folder / "journal.db", max_payload=max_payload)


async def test_closing_ends_the_wait_for_news(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    await journal.open()
    waiting = asyncio.create_task(journal.changed(0, math.inf))
    await asyncio.wait([waiting], timeout=0.01)
    await journal.close()
    with pytest.raises(JournalUnusable, match="not open"):
        await waiting


class TestSqliteJournalThatForgets(EventStoreContract, KeepingContract, IntakeContract):
    @pytest.fixture(autouse=True)
    def forget(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "HEADS_KEPT", 0)

    def make(self, folder: Path, max_payload: int = MAX_PAYLOAD) -> Journal:
        return SqliteJournal(folder / "journal.db", durability="normal", max_payload=max_payload)
