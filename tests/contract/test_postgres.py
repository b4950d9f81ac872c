"""The journal on PostgreSQL keeps the contract; again with no room to remember streams, and with ``normal``."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path

import pytest

from persistence import Journal
from persistence import postgres as engine
from persistence import postgres_group as group
from persistence.limits import MAX_PAYLOAD
from persistence.postgres import PostgresJournal
from tests.contract.event_store_contract import EventStoreContract
from tests.contract.intake_contract import IntakeContract
from tests.contract.keeping_contract import KeepingContract
from tests.postgres import drop, needs_server, url_of

pytestmark = needs_server


def schema_of(folder: Path) -> str:
    return f"test_{blake2b(str(folder).encode(), digest_size=8).hexdigest()}"


class TestPostgresJournal(EventStoreContract, KeepingContract, IntakeContract):
    def make(self, folder: Path, max_payload: int = MAX_PAYLOAD) -> Journal:
        return PostgresJournal(url_of(schema_of(folder)), max_payload=max_payload)

    @asynccontextmanager
    async def opened(self, folder: Path, max_payload: int = MAX_PAYLOAD) -> AsyncGenerator[Journal]:
        try:
            async with super().opened(folder, max_payload=max_payload) as journal:
                yield journal
        finally:
            await drop(schema_of(folder))

    async def test_closing_twice_is_harmless(self, tmp_path: Path) -> None:
        try:
            await super().test_closing_twice_is_harmless(tmp_path)
        finally:
            await drop(schema_of(tmp_path))


class TestPostgresJournalThatForgets(TestPostgresJournal):
    """It remembers no streams, and sends groups in small parts."""

    @pytest.fixture(autouse=True)
    def forget(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "IDS_KEPT", 0)
        monkeypatch.setattr(group, "CHUNK_BYTES", 1_000)

    def make(self, folder: Path, max_payload: int = MAX_PAYLOAD) -> Journal:
        return PostgresJournal(url_of(schema_of(folder)), durability="normal", max_payload=max_payload)
