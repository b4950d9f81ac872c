"""What every engine must keep for those who keep a journal safe: its streams as they are, seals, archives."""

from pathlib import Path

from persistence import AT_ONCE, NEVER, MemoryJournal, Seal, StreamState
from persistence.archiving import export_to, import_from
from persistence.chain import START, seal, verify
from persistence.journal import Journal
from tests.contract.journal_contract import NOON, ROOMS, SEATS, JournalContract, put
from tests.unit.journals import everything, fill, grow


def hash_of(n: int) -> str:
    return f"{n:064x}"


class KeepingContract(JournalContract):
    async def test_streams_are_listed_as_they_are(self, journal: Journal) -> None:
        assert await journal.streams() == []
        await journal.append([(put(SEATS, 0, 3, wake=NOON), put(ROOMS, 0, 1, mark=True))])
        await journal.append([(put(("", "\0"), 0, 2),)])
        await journal.append([(put(SEATS, 3, 1),)])
        states = [
            StreamState(1, SEATS, 4, 1, NOON),
            StreamState(2, ROOMS, 1, 1, AT_ONCE),
            StreamState(3, ("", "\0"), 2, 1, NEVER),
        ]
        assert await journal.streams() == states
        assert await journal.streams(1, 1) == states[1:2]
        assert await journal.streams(3) == []
        assert await journal.streams(category="Hotel") == states[1:2]
        assert await journal.streams(0, 1, "") == states[2:]
        assert await journal.streams(2, category="Hotel") == []
        assert await journal.streams(category="hotel") == []

    async def test_many_streams_come_in_pages(self, journal: Journal) -> None:
        await grow(journal, 1_203)
        pages = [await journal.streams(after) for after in (0, 500, 1_000, 1_203)]
        assert [len(page) for page in pages] == [500, 500, 203, 0]
        assert [state.number for page in pages for state in page] == list(range(1, 1_204))

    async def test_seals_are_kept_in_their_order(self, tmp_path: Path) -> None:
        seals = [Seal(position, hash_of(position)) for position in (3, 5, 2**40)]
        async with self.opened(tmp_path) as journal:
            assert await journal.seals() == []
            assert await journal.last_seal() is None
            await journal.keep_seals([])
            await journal.keep_seals([seals[2], seals[0]])
            await journal.keep_seals([seals[1], Seal(3, hash_of(9))])
            assert await journal.seals() == seals
            assert await journal.seals(3) == seals[1:]
            assert await journal.seals(3, 1) == seals[1:2]
            assert await journal.last_seal() == seals[2]

    async def test_a_seal_changes_nothing_else(self, journal: Journal) -> None:
        await fill(journal)
        before = await everything(journal)
        await journal.keep_seals([Seal(3, hash_of(3))])
        assert await everything(journal) == before

    async def test_the_chain_is_the_same_on_each_engine(self, journal: Journal) -> None:
        reference = MemoryJournal()
        for each in (reference, journal):
            await fill(each)
        head = await seal(reference)
        assert await verify(journal, head) == head
        assert await verify(journal) != START
        assert await seal(journal) == head
        assert await journal.last_seal() == head

    async def test_an_archive_carries_everything_to_another_engine_and_back(
        self, journal: Journal, tmp_path: Path
    ) -> None:
        reference, back = MemoryJournal(), MemoryJournal()
        await fill(reference)
        await grow(reference, 2_300)
        await export_to(tmp_path / "there", reference)
        for _ in range(2):  # a second time changes nothing
            await import_from(tmp_path / "there", journal)
            assert await everything(journal) == await everything(reference)
        await export_to(tmp_path / "back", journal)
        await import_from(tmp_path / "back", back)
        assert await everything(back) == await everything(reference)
        assert await seal(back) == await seal(reference)
