"""A person is forgotten whatever dies on the way, and the journal says so."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from actors import Failed, OutcomeUnknown, Personal
from persistence import Key, KeysUnusable, MemoryKeys
from runtime import KeyFile, Runtime
from tests.extras import need
from tests.runtime.houses import CUSTOMER, ana, told, view_in
from tests.runtime.people import ALL, ANA, BOB, SECRET, Customer, People, Row, SignUp, Use
from tests.runtime.tools import HeldJournal, restart_of

need("cryptography")


class WatchedKeys(MemoryKeys):
    """Keys that the test holds back and breaks."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.broken = False

    async def _turn(self) -> None:
        self.arrived.set()
        await self.gate.wait()
        if self.broken:
            raise KeysUnusable("the disk is full")

    async def add(self, keys: Sequence[Key]) -> None:
        await self._turn()
        await super().add(keys)

    async def destroy(self, keys: Sequence[Key]) -> None:
        await self._turn()
        await super().destroy(keys)


async def test_a_crash_between_the_key_and_the_journal_leaves_a_key_that_is_taken_later() -> None:
    keys, journal = MemoryKeys(), HeldJournal()
    async with Runtime(journal, ALL, keys=keys) as runtime:
        journal.hold()
        asking = asyncio.create_task(runtime.ask(CUSTOMER, SignUp(ana())))
        await journal.arrived.wait()
        key = keys.current(ANA)
        assert key is not None  # durable when the journal is about to be written
        after_a_crash = restart_of(journal.records)
        journal.gate.set()
        await asking
    async with Runtime(after_a_crash, ALL, keys=keys) as runtime:
        assert runtime.position == 0
        await runtime.ask(CUSTOMER, SignUp(ana()))
        assert keys.current(ANA) is key


async def test_nothing_is_written_before_its_key_is_kept() -> None:
    keys, journal = WatchedKeys(), HeldJournal()
    async with Runtime(journal, ALL, keys=keys) as runtime:
        keys.gate.clear()
        asking = asyncio.create_task(runtime.ask(CUSTOMER, SignUp(ana())))
        await keys.arrived.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert journal.groups == []
        keys.broken = True
        keys.gate.set()
        with pytest.raises(OutcomeUnknown):
            await asking
        assert journal.records == []
        keys.broken = False
        assert (await runtime.ask(CUSTOMER, SignUp(ana()))).value == SECRET


async def test_a_crash_between_the_key_and_the_event_is_made_good_at_the_next_start() -> None:
    keys, journal = MemoryKeys(), HeldJournal()
    async with Runtime(journal, ALL, keys=keys) as runtime:
        await runtime.ask(CUSTOMER, SignUp(ana()))
        await runtime.ask(Customer.at("bob"), SignUp(Personal(BOB, "b")))
        await runtime.forget_subject(BOB)
        journal.hold()
        forgetting = asyncio.create_task(runtime.forget_subject(ANA))
        await journal.arrived.wait()
        assert keys.current(ANA) is None
        journal = restart_of(journal.records)
        node_journal: Any = runtime._journal  # pyright: ignore[reportPrivateUsage]
        node_journal.gate.set()
        await forgetting
    for _ in range(2):
        async with Runtime(journal, ALL, keys=keys) as runtime:
            assert await told(runtime) == [BOB, ANA]
            assert await runtime.ask(People.at(), Row(), consistent=True) == [(ANA, None, None), (BOB, None, None)]
            await runtime.forget_subject(ANA)
            assert await told(runtime) == [BOB, ANA]
        journal = restart_of(journal.records)


async def test_a_caller_who_goes_away_does_not_stop_it() -> None:
    keys, journal = WatchedKeys(), HeldJournal()
    async with Runtime(journal, ALL, keys=keys) as runtime:
        await runtime.ask(CUSTOMER, SignUp(ana()))
        keys.gate.clear()
        keys.arrived.clear()
        forgetting = asyncio.create_task(runtime.forget_subject(ANA))
        await keys.arrived.wait()
        forgetting.cancel()
        await asyncio.sleep(0)
        keys.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await forgetting
        assert await told(runtime) == [ANA]


async def test_what_can_not_be_destroyed_is_told_and_can_be_done_again() -> None:
    keys = WatchedKeys()
    async with Runtime("memory:", ALL, keys=keys) as runtime:
        await runtime.ask(CUSTOMER, SignUp(ana()))
        keys.broken = True
        with pytest.raises(KeysUnusable):
            await runtime.forget_subject(ANA)
        assert await told(runtime) == []
        keys.broken = False
        await runtime.forget_subject(ANA)
        assert await told(runtime) == [ANA]
        assert keys.current(ANA) is None


async def test_a_backup_of_the_keys_brings_nobody_back_who_was_forgotten(tmp_path: Path) -> None:
    url, path, backup = f"sqlite:{tmp_path / 'trips.db'}", tmp_path / "trips.keys", tmp_path / "backup"
    async with Runtime(url, ALL, keys=KeyFile(path)) as runtime:
        await runtime.ask(CUSTOMER, SignUp(ana()))
        await runtime.ask(Customer.at("bob"), SignUp(Personal(BOB, "b")))
    shutil.copy(path, backup)
    async with Runtime(url, ALL, keys=KeyFile(path)) as runtime:
        await runtime.ask(Customer.at("eve"), SignUp(Personal("eve", "e")))  # her key is not in the backup at all
        await runtime.forget_subject("eve")
        await runtime.forget_subject(ANA)
    shutil.copy(backup, path)
    view_in(tmp_path).unlink()
    async with Runtime(url, ALL, keys=KeyFile(path)) as runtime:
        for key in ("c", "eve"):
            with pytest.raises(Failed, match="Forgotten"):
                await runtime.ask(Customer.at(key), Use())
        assert await runtime.ask(Customer.at("bob"), Use()) == 1
        rows = [(ANA, None, None), (BOB, "b", None), ("eve", None, None)]
        assert await runtime.ask(People.at(), Row(), consistent=True) == rows
        assert await told(runtime) == ["eve", ANA]
    keys = KeyFile(path)
    await keys.open()
    assert {key.subject for key in await keys.destroyed()} == {"eve", ANA}
    await keys.close()
