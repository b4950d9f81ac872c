"""The journal in memory keeps the contract."""

from pathlib import Path

from persistence import Journal, MemoryJournal
from persistence.limits import MAX_PAYLOAD
from tests.contract.event_store_contract import EventStoreContract
from tests.contract.intake_contract import IntakeContract
from tests.contract.journal_contract import ROOMS, SEATS, everything, put
from tests.contract.keeping_contract import KeepingContract


class TestMemoryJournal(EventStoreContract, KeepingContract, IntakeContract):
    def make(self, folder: Path, max_payload: int = MAX_PAYLOAD) -> Journal:
        return MemoryJournal(max_payload=max_payload)


async def test_it_can_start_from_a_prefix_of_another() -> None:
    whole = MemoryJournal()
    await whole.append([(put(SEATS, 0, 2, "c1", mark=True),), (put(ROOMS, 0, 1, "c2"),), (put(SEATS, 2),)])
    prefix = MemoryJournal(whole.records[:3], unfinished=[SEATS])
    assert await everything(prefix) == whole.records[:3]
    assert await prefix.find(SEATS, "c1") == 1
    assert await prefix.unfinished() == [SEATS]
    await prefix.append([(put(SEATS, 2, mark=False), put(ROOMS, 1, 2))])
    assert len(await everything(prefix)) == 6
    assert len(await everything(whole)) == 4
