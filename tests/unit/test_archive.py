"""Archives: what is exported comes back the same, whatever was cut off on the way."""
# ruff: noqa: ASYNC240 (a test may block its loop on a file)

import gzip
import json
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from persistence import (
    AT_ONCE,
    NEVER,
    ArchiveDamaged,
    Batch,
    JournalInUse,
    JournalNotEmpty,
    JournalUnusable,
    MemoryJournal,
    NewEvent,
    NotAnArchive,
    Record,
    StreamState,
)
from persistence import archive as format_
from persistence.archive import chunks, look_through
from persistence.archiving import export_to, import_from
from persistence.new_file import NewFile
from tests.unit.journals import LH441, OLD, RITZ, TRIP, event, everything, fill, grow, put


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trips.archive"


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persistence.archiving.CHUNK_LINES", 3)
    monkeypatch.setattr("persistence.archiving.PAGE", 4)


async def filled() -> MemoryJournal:
    journal = MemoryJournal()
    await fill(journal)
    return journal


async def test_everything_comes_back(path: Path) -> None:
    journal, copy = await filled(), MemoryJournal()
    assert await export_to(path, journal) == journal.position
    await import_from(path, copy)
    assert await everything(copy) == await everything(journal)
    assert copy.identity != journal.identity
    for stream, expected in ((LH441, 5), (OLD, 6)):
        await copy.append([(put(stream, expected, [event(99)]),)])


@pytest.mark.usefixtures("small_chunks")
async def test_chunks_of_any_size_say_the_same(path: Path) -> None:
    journal, copy = await filled(), MemoryJournal()
    await grow(journal, 100)
    await export_to(path, journal)
    await import_from(path, copy)
    assert await everything(copy) == await everything(journal)


async def test_an_empty_journal_comes_back(path: Path) -> None:
    copy = MemoryJournal()
    await export_to(path, MemoryJournal())
    assert (await import_from(path, copy)).fault == ""
    assert copy.position == 0


async def test_an_archive_is_gzip_of_json_lines_for_its_owner(path: Path) -> None:
    journal = await filled()
    await export_to(path, journal)
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().split("\n")[:-1]]
    first, second = lines[:2]
    assert (first["understudy"], first["format"], first["identity"]) == ("events", 1, journal.identity)
    assert (first["first"], first["count"]) == (1, journal.position)
    assert (second["category"], second["key"], second["version"], second["command"]) == (*LH441, 1, "c1")
    assert lines[-1]["understudy"] == "end"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


async def test_large_events_make_small_chunks(path: Path) -> None:
    # What was written once can be imported, whatever the other journal's own limit.
    journal, copy = MemoryJournal(max_payload=2_000_000), MemoryJournal()
    await grow(journal, 9, make=lambda n: NewEvent("Large", b'"%s"' % (b"%d" % n * 1_500_000), b"{}"))
    await export_to(path, journal)
    with path.open("rb") as file:
        assert [chunk.header.count for chunk in chunks(file) if chunk.header.understudy == "events"] == [3, 3, 3]
    await import_from(path, copy)
    assert await everything(copy) == await everything(journal)


async def test_progress_is_told_up_to_the_end(path: Path) -> None:
    journal, told = MemoryJournal(), list[tuple[int, int]]()
    await grow(journal, 2_500)
    await export_to(path, journal, lambda done, of: told.append((done, of)))
    assert told[0] == (0, 2_500)
    assert told[-1] == (2_500, 2_500)
    told.clear()
    await import_from(path, MemoryJournal(), lambda done, of: told.append((done, of)))
    assert told == [(1_000, 2_500), (2_000, 2_500), (2_500, 2_500)]


# -- exports that were interrupted ------------------------------------------------------------------------------


class Failing(MemoryJournal):
    """Fails when it was read so often."""

    def __init__(self, records: Sequence[Record], reads: int, identity: str) -> None:
        super().__init__(records)
        self.identity = identity
        self.reads = reads
        self.read_from: list[int] = []

    async def read_all(self, after: int = 0, limit: int = 500) -> list[Record]:
        self.read_from.append(after)
        if len(self.read_from) > self.reads:
            raise OSError(28, "No space left on device")
        return await super().read_all(after, limit)


async def test_an_interrupted_export_is_gone_on_with(path: Path) -> None:
    journal = MemoryJournal()
    await grow(journal, 5_200)
    failing = Failing(journal.records, 7, journal.identity)
    with pytest.raises(JournalUnusable, match=r"can't write .*\.part: No space left"):
        await export_to(path, failing)
    assert not path.exists()
    resumed = Failing(journal.records, 100, journal.identity)
    assert await export_to(path, resumed) == 5_200
    assert resumed.read_from[0] == 3_000
    copy = MemoryJournal()
    await import_from(path, copy)
    assert copy.records == journal.records
    assert list(path.parent.iterdir()) == [path]


async def test_a_part_that_was_cut_anywhere_is_gone_on_with(path: Path, small_chunks: None) -> None:
    journal = await filled()
    await export_to(path, journal)
    whole, part = path.read_bytes(), path.with_name(f"{path.name}.part")
    await journal.append([(put(RITZ, 2, [event(20), event(21)], wake=NEVER),)])
    for size in range(0, len(whole) + 1, 7):
        path.unlink()
        part.write_bytes(whole[:size])
        await export_to(path, journal)
        copy = MemoryJournal()
        await import_from(path, copy)
        assert await everything(copy) == await everything(journal), size


async def test_nothing_is_left_of_a_part_that_was_longer(path: Path) -> None:
    journal = await filled()
    await export_to(path, journal)
    whole = path.read_bytes()
    path.unlink()
    path.with_name(f"{path.name}.part").write_bytes(whole + bytes(10_000))
    await export_to(path, journal)
    assert path.read_bytes() == whole


async def test_a_part_that_is_not_ours_is_left_alone(path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    other = await filled()
    await export_to(path, other)
    path.rename(part)
    with pytest.raises(JournalUnusable, match="another journal"):
        await export_to(path, await filled())
    part.write_text("milk, bread, eggs")
    with pytest.raises(JournalUnusable, match="not compressed as an archive is; move it away"):
        await export_to(path, other)
    part.write_bytes(gzip.compress(b'{"a":1}\n'))
    with pytest.raises(JournalUnusable, match="not an archive of Understudy"):
        await export_to(path, other)
    assert gzip.decompress(part.read_bytes()) == b'{"a":1}\n'


async def test_nothing_is_overwritten(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(JournalUnusable, match="is there already"):
        await export_to(path, await filled())
    assert path.read_text() == "mine"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_comes_between_is_not_overwritten(path: Path) -> None:
    def make() -> None:
        with NewFile(path) as new:
            new.file.write(b"new")
            path.write_text("mine")

    with pytest.raises(JournalUnusable, match="is there already; the new one is"):
        make()
    assert path.read_text() == "mine"
    assert path.with_name(f"{path.name}.part").read_text() == "new"


async def test_two_do_not_make_one_file(path: Path) -> None:
    with NewFile(path) as new:
        with pytest.raises(JournalInUse, match="being written by another process"):
            await export_to(path, await filled())
        new.file.write(b"whole")
    assert path.read_text() == "whole"


# -- journals that go on meanwhile ------------------------------------------------------------------------------


class Busy(MemoryJournal):
    """Goes on while its end is being exported."""

    on_streams: Batch = ()

    async def streams(self, after: int = 0, limit: int = 500, category: str | None = None) -> list[StreamState]:
        if self.on_streams:
            batch, self.on_streams = self.on_streams, ()
            await self.append([batch])
        return await super().streams(after, limit, category)


async def test_an_owner_that_went_on_meanwhile_is_woken(path: Path) -> None:
    journal, copy = Busy(), MemoryJournal()
    await fill(journal)
    before = journal.position
    # The saga ends, and there is one more; the archive holds neither.
    journal.on_streams = (put(TRIP, 2, [event(30)], wake=NEVER), put(("TripSaga", "new"), 0, [event(31)]))
    assert await export_to(path, journal) == before
    await import_from(path, copy)
    assert copy.position == before
    assert TRIP in await copy.unfinished()
    assert [sleeper.stream for sleeper in await copy.sleeping()] == [RITZ, LH441]


async def test_what_was_erased_meanwhile_does_not_come_back(path: Path) -> None:
    journal, copy = Busy(), MemoryJournal()
    await fill(journal)
    journal.on_streams = (put(LH441, 5, [event(30)], erase_before=5),)
    await export_to(path, journal)
    await import_from(path, copy)
    assert [record.version for record in await copy.read(LH441)] == [5]
    assert b"test 2" not in b"".join(record.meta for record in copy.records)


# -- imports that were interrupted, and archives that are not whole ----------------------------------------------


class Stopping(MemoryJournal):
    """Fails at one append."""

    left = -1

    async def append(self, batches: Sequence[Batch]) -> int:
        if self.left == 0:
            self.left = -1
            raise JournalUnusable("stopped")
        self.left -= 1
        return await super().append(batches)


@pytest.mark.usefixtures("small_chunks")
async def test_an_interrupted_import_is_gone_on_with(path: Path) -> None:
    journal = await filled()
    await export_to(path, journal)
    stops = 0
    while True:
        copy = Stopping()
        copy.left = stops
        try:
            await import_from(path, copy)
        except JournalUnusable:
            stops += 1
            # Whatever is open in it now is woken, rather than forgotten.
            began = {record.stream for record in copy.records}
            assert copy.position < journal.position or began >= set(await copy.unfinished())
            assert copy.position == journal.position or set(await copy.unfinished()) == began
        else:
            break
        await import_from(path, copy)
        assert await everything(copy) == await everything(journal)
    assert stops > 6
    copy.left = -1
    await import_from(path, copy)
    assert await everything(copy) == await everything(journal)


async def test_a_journal_that_is_not_the_beginning_is_left_alone(path: Path) -> None:
    journal = await filled()
    await export_to(path, journal)
    other, longer = MemoryJournal(), await filled()
    await other.append([(put(LH441, 0, [event(2)]),)])
    await longer.append([(put(RITZ, 2, [event(1)]),)])
    for one in (other, longer):
        before = await everything(one)
        with pytest.raises(JournalNotEmpty, match="not the beginning"):
            await import_from(path, one)
        assert await everything(one) == before


class Shared(MemoryJournal):
    """Somebody else writes to it at the same time."""

    async def append(self, batches: Sequence[Batch]) -> int:
        await super().append([(put(("Other", "one"), 0, [event(1)]),)])
        return await super().append(batches)


async def test_somebody_else_who_writes_at_the_same_time_is_noticed(path: Path) -> None:
    await export_to(path, await filled())
    with pytest.raises(JournalNotEmpty, match="somebody else has written"):
        await import_from(path, Shared())


class Forgetful(MemoryJournal):
    """An engine that keeps no tags."""

    async def append(self, batches: Sequence[Batch]) -> int:
        for each in (each for batch in batches for append in batch for each in append.events):
            each.tags = ()
        return await super().append(batches)


async def test_an_engine_that_keeps_less_is_noticed(path: Path) -> None:
    await export_to(path, await filled())
    with pytest.raises(JournalUnusable, match="does not keep all that"):
        await import_from(path, Forgetful())


@pytest.mark.usefixtures("small_chunks")
async def test_no_damage_goes_unseen_and_what_is_before_it_can_be_used(path: Path) -> None:
    journal = await filled()
    await export_to(path, journal)
    whole = path.read_bytes()
    positions = set[int]()
    for size in range(1, len(whole), 5):
        path.write_bytes(whole[:size])
        copy = MemoryJournal()
        with pytest.raises(ArchiveDamaged, match="it ends in the middle"):
            await import_from(path, copy)
        assert copy.position == 0
        found = await import_from(path, copy, salvage=True)
        assert found.fault
        assert copy.position == found.position
        assert [r.position for r in copy.records] == [r.position for r in journal.records[: copy.position]]
        positions.add(copy.position)
    assert {0, 3, journal.position} <= positions
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        copy = MemoryJournal()
        try:
            await import_from(path, copy)
        except (ArchiveDamaged, NotAnArchive):
            assert copy.position == 0
        else:  # a bit of a gzip header that says nothing, as the time
            assert await everything(copy) == await everything(journal)


@pytest.mark.usefixtures("small_chunks")
async def test_chunks_that_are_missing_or_in_another_order_are_found(path: Path) -> None:
    journal = await filled()
    await export_to(path, journal)
    with path.open("rb") as file:
        ends = [(chunk.begin, chunk.end) for chunk in chunks(file)]
    parts = [path.read_bytes()[begin:end] for begin, end in ends]
    wrong = [parts[:n] + parts[n + 1 :] for n in range(len(parts))]
    wrong += [[parts[n + 1], parts[n], *parts[:n], *parts[n + 2 :]] for n in range(len(parts) - 1)]
    wrong += [[*parts[:n], parts[n], *parts[n:]] for n in range(len(parts))]
    wrong += [[*parts, b"more"]]
    for order in wrong:
        path.write_bytes(b"".join(order))
        with path.open("rb") as file:
            assert look_through(file).fault
        with pytest.raises(ArchiveDamaged):
            await import_from(path, MemoryJournal())


async def test_a_forged_line_is_found(path: Path) -> None:
    await export_to(path, await filled())
    text = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(text.replace(b"c1", b"c9")))
    with pytest.raises(ArchiveDamaged, match="checksum differs"):
        await import_from(path, MemoryJournal())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"milk, bread, eggs", "not compressed as an archive is"),
        (gzip.compress(b"milk", mtime=0), "not an archive of Understudy"),
        (gzip.compress(b'{"format":1}\n', mtime=0), "not an archive of Understudy"),
        (
            gzip.compress(b'{"understudy":"events","format":2}\n', mtime=0),
            "archive format 2, this version of .* reads format 1",
        ),
    ],
)
async def test_what_is_no_archive(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(NotAnArchive, match=said):
        await import_from(path, MemoryJournal(), salvage=True)


async def test_an_archive_that_is_not_there(path: Path) -> None:
    with pytest.raises(JournalUnusable, match=r"can't read .*: No such file"):
        await import_from(path, MemoryJournal())


async def test_a_chunk_that_would_fill_the_memory_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format_, "MOST_BYTES", 100_000)
    path.write_bytes(gzip.compress(bytes(100_001)))
    with pytest.raises(ArchiveDamaged, match="larger than 100,000 bytes"):
        await import_from(path, MemoryJournal())


async def test_a_line_that_does_not_fit_is_named(path: Path) -> None:
    line = msgspec.json.encode({"category": "Flight"})
    path.write_bytes(format_.packed("events", "j", 1, [line]) + format_.packed("end", "j", 1, [], 0))
    with pytest.raises(ArchiveDamaged, match="from byte 0 on can't be read"):
        await import_from(path, MemoryJournal())


async def test_until_an_import_is_whole_every_owner_counts_as_unfinished(path: Path) -> None:
    journal = await filled()
    await export_to(path, journal)
    with path.open("rb") as file:
        _, streams, _ = list(chunks(file))
    path.write_bytes(path.read_bytes()[: streams.begin])
    copy = MemoryJournal()
    await import_from(path, copy, salvage=True)
    states = await copy.streams()
    assert len(states) == 6
    assert {state.wake for state in states} == {AT_ONCE}
