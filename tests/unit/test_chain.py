"""The hash chain: what was sealed and has changed is found, and what was erased is not taken for that."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from persistence import AppendFailed, JournalDamaged, MemoryJournal, NewEvent, Record, Seal
from persistence.archiving import export_to, import_from
from persistence.chain import START, keep_sealing, seal, verify
from tests.unit.journals import LH441, RITZ, event, fill, grow, put


async def filled() -> MemoryJournal:
    journal = MemoryJournal()
    await fill(journal)
    return journal


def change(journal: MemoryJournal, position: int, **changes: object) -> None:
    journal.records[position - 1] = msgspec.structs.replace(journal.records[position - 1], **changes)


async def test_the_hash_is_what_the_guide_says() -> None:
    journal = MemoryJournal()
    await journal.append([(put(LH441, 0, [NewEvent("SeatHeld", b'{"n":1}', b"{}", None, "e1", ("a",))], "c1"),)])
    (record,) = journal.records
    said = [1, "Flight", "LH441", 1, "SeatHeld", record.time, "c1", "e1", ["a"], '{"n":1}', "{}"]
    digest = hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).digest()
    assert await seal(journal) == Seal(1, hashlib.sha256(bytes(32) + digest).hexdigest())


async def test_an_empty_journal_has_nothing_to_seal() -> None:
    journal = MemoryJournal()
    assert await seal(journal) == START
    assert await verify(journal) == START
    assert await journal.seals() == []


async def test_what_was_sealed_is_verified() -> None:
    journal = await filled()
    first = await seal(journal)
    assert first.position == journal.position
    assert await seal(journal) == first
    await journal.append([(put(RITZ, 2, [event(40), event(41)]),)])
    last = await seal(journal)
    assert await journal.seals() == [first, last]
    assert await journal.last_seal() == last
    assert await verify(journal) == last
    assert await verify(journal, first) == last


async def test_the_hash_does_not_depend_on_when_it_was_sealed() -> None:
    often, once = MemoryJournal(), MemoryJournal()
    for n in range(30):
        for journal in (often, once):
            await journal.append([(put(LH441, n, [event(n)]),)])
        await seal(often)
    assert await seal(once) == await often.last_seal()
    for each in await often.seals():
        await verify(once, each)


async def test_a_long_journal_gets_a_seal_for_each_span() -> None:
    journal = MemoryJournal()
    await grow(journal, 25_300)
    told = list[tuple[int, int]]()
    last = await seal(journal, lambda done, of: told.append((done, of)))
    assert [each.position for each in await journal.seals()] == [10_000, 20_000, 25_300]
    assert told[0] == (500, 25_300)
    assert told[-1] == (25_300, 25_300)
    assert await verify(journal) == last


@pytest.mark.parametrize(
    "changes",
    [
        {"data": b"{}"},
        {"meta": b"{}"},
        {"type": "SeatLost"},
        {"time": 5},
        {"command": "c0"},
        {"id": "other"},
        {"tags": ("a",)},
        {"version": 9},
        {"stream": ("Hotel", "Rex")},
    ],
    ids=str,
)
async def test_any_change_is_found_and_its_span_is_named(changes: dict[str, object]) -> None:
    journal = await filled()
    await seal(journal)
    sealed = journal.position
    await journal.append([(put(RITZ, 2, [event(n) for n in range(5)]),)])
    middle = await seal(journal)
    await journal.append([(put(RITZ, 7, [event(n) for n in range(5)]),)])
    await seal(journal)
    await verify(journal)
    change(journal, sealed + 2, **changes)
    said = f"the events from position {sealed + 1} to {sealed + 5} are not what was sealed"
    with pytest.raises(JournalDamaged, match=said):
        await verify(journal)
    with pytest.raises(JournalDamaged, match=said):
        await verify(journal, middle)


async def test_who_changes_the_seals_as_well_is_found_by_what_was_pinned() -> None:
    journal = await filled()
    pinned = await seal(journal)
    forged = MemoryJournal(journal.records)
    change(forged, 3, data=b'{"n":1000}')
    await seal(forged)
    await verify(forged)
    with pytest.raises(JournalDamaged, match=f"from position 1 to {pinned.position} are not what was pinned"):
        await verify(forged, pinned)


async def test_a_pin_between_two_seals_is_compared_too() -> None:
    journal, pinned = MemoryJournal(), Seal(0, "")
    for n in range(10):
        await journal.append([(put(LH441, n, [event(n)]),)])
        if n == 4:
            other = MemoryJournal(journal.records)
            pinned = await seal(other)
    await seal(journal)
    assert pinned.position == 5
    await verify(journal, pinned)
    with pytest.raises(JournalDamaged, match="from position 1 to 5 are not what was pinned"):
        await verify(journal, Seal(5, START.hash))


async def test_events_that_are_gone_at_the_end_are_missed() -> None:
    journal = await filled()
    last = await seal(journal)
    shorter = MemoryJournal(journal.records[:-2])
    said = f"ends at position {last.position - 2}, but was"
    with pytest.raises(JournalDamaged, match=f"{said} pinned up to position {last.position}"):
        await verify(shorter, last)
    await shorter.keep_seals([last])
    with pytest.raises(JournalDamaged, match=f"{said} sealed up to position {last.position}"):
        await verify(shorter)
    with pytest.raises(JournalDamaged, match=f"{said} sealed up to position {last.position}"):
        await seal(shorter)


async def test_erasing_breaks_nothing_before_and_after_sealing() -> None:
    journal, untouched = await filled(), await filled()
    first = await seal(journal)
    await journal.append([(put(LH441, 5, [event(1)], erase_before=4),)])
    await untouched.append([(put(LH441, 5, [event(1)]),)])
    assert b"test 1" not in journal.records[0].meta
    last = await verify(journal, first)
    assert last == await seal(untouched)
    assert await seal(journal) == last
    # What was erased was not replaced: the digest that stays in its place is sealed.
    change(journal, 1, data=b'{"digest":"' + b"0" * 64 + b'"}')
    with pytest.raises(JournalDamaged, match="not what was sealed"):
        await verify(journal)


async def test_a_copy_has_the_same_hashes(tmp_path: Path) -> None:
    journal, copy = await filled(), MemoryJournal()
    pinned = await seal(journal)
    await export_to(tmp_path / "a", journal)
    await import_from(tmp_path / "a", copy)
    assert await verify(copy, pinned) == pinned


async def test_a_seal_that_is_there_stays() -> None:
    journal = await filled()
    first = await seal(journal)
    await journal.keep_seals([Seal(first.position, START.hash)])
    assert await journal.seals() == [first]


async def test_what_is_written_while_it_is_verified_is_left_for_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await filled()
    sealed = await seal(journal)
    read_all = journal.read_all

    async def busy(after: int = 0, limit: int = 500) -> list[Record]:
        monkeypatch.undo()
        await journal.append([(put(RITZ, 2, [event(1)]),)])
        await seal(journal)
        return await read_all(after, limit)

    monkeypatch.setattr(journal, "read_all", busy)
    assert await verify(journal) == sealed
    assert journal.position == sealed.position + 1


async def test_what_is_sealed_just_when_it_is_verified_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await filled()
    await seal(journal)
    last_seal = journal.last_seal

    async def busy() -> Seal | None:
        monkeypatch.undo()
        await journal.append([(put(RITZ, 2, [event(1)]),)])
        await seal(journal)
        return await last_seal()

    monkeypatch.setattr(journal, "last_seal", busy)
    assert await verify(journal) == await last_seal()


async def test_of_many_seals_none_is_left_out() -> None:
    journal = MemoryJournal()
    for n in range(600):
        await journal.append([(put(LH441, n, [event(n)]),)])
        await seal(journal)
    await verify(journal)
    change(journal, 580, time=5)
    with pytest.raises(JournalDamaged, match="from position 580 to 580"):
        await verify(journal)


async def test_sealing_reads_no_more_than_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    journal, read_from = await filled(), list[int]()
    sealed = await seal(journal)
    await journal.append([(put(RITZ, 2, [event(1)]),)])
    read_all = journal.read_all

    async def watched(after: int = 0, limit: int = 500) -> list[Record]:
        read_from.append(after)
        return await read_all(after, limit)

    monkeypatch.setattr(journal, "read_all", watched)
    await seal(journal)
    assert read_from == [sealed.position]


class Kept(MemoryJournal):
    """Tells of the seals that it keeps, and fails to now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = asyncio.Queue[Seal]()
        self.failures = 0

    async def keep_seals(self, seals: Sequence[Seal]) -> None:
        if self.failures:
            self.failures -= 1
            raise AppendFailed("full")
        await super().keep_seals(seals)
        for each in seals:
            self.kept.put_nowait(each)


async def test_what_is_written_is_sealed_by_and_by() -> None:
    journal = Kept()
    sealing = asyncio.create_task(keep_sealing(journal, every=0))
    for n in range(3):
        await journal.append([(put(LH441, n, [event(n)]),)])
        assert (await journal.kept.get()).position == n + 1
    assert await verify(journal) == await journal.last_seal()
    # A disk that is full for a while delays it, no more.
    journal.failures = 2
    await journal.append([(put(LH441, 3, [event(3)]),)])
    assert (await journal.kept.get()).position == 4
    assert journal.failures == 0
    # Damage does not pass.
    await journal.keep_seals([Seal(99, START.hash)])
    await journal.append([(put(LH441, 4, [event(4)]),)])
    with pytest.raises(JournalDamaged, match="sealed up to position 99"):
        await sealing
