"""The journal in an SQLite file keeps the contract; again with no room to remember streams, and with ``normal``."""

from pathlib import Path

import pytest

from persistence import Journal, SqliteJournal
from persistence import sqlite as engine
from tests.contract.event_store_contract import EventStoreContract


class TestSqliteJournal(EventStoreContract):
    def make(self, folder: Path) -> Journal:
        return SqliteJournal(folder / "journal.db")


class TestSqliteJournalThatForgets(EventStoreContract):
    @pytest.fixture(autouse=True)
    def forget(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "HEADS_KEPT", 0)

    def make(self, folder: Path) -> Journal:
        return SqliteJournal(folder / "journal.db", durability="normal")
