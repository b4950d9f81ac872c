"""Archives that were altered, cut, packed anew with right checksums, or made to fill the memory."""

import asyncio
import gzip
import json
import tempfile
import tracemalloc
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from persistence import ArchiveDamaged, MemoryJournal, SqliteJournal, chain
from persistence.archive import MOST_BYTES, packed
from persistence.archiving import export_to, import_from
from tests.fuzz.mutations import VALUES, altered, check_ours, examples, mutated
from tests.unit.journals import everything, fill


@cache
def written() -> tuple[bytes, Any]:
    """An archive, and all that its journal says."""

    async def write() -> tuple[bytes, Any]:
        journal = MemoryJournal()
        await fill(journal)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a"
            await export_to(path, journal)
            return path.read_bytes(), await everything(journal)

    return asyncio.run(write())


def members(archive: bytes) -> list[list[bytes]]:
    """Return the lines of each chunk."""
    whole = gzip.decompress(archive).split(b"\n")[:-1]
    chunks: list[list[bytes]] = []
    for line in whole:
        if line.startswith(b'{"understudy"'):
            chunks.append([])
        chunks[-1].append(line)
    return chunks


async def bring_in(path: Path, database: Path) -> Any:
    """Import an archive into an SQLite journal, and read it; return all that it says, None where it was refused."""
    journal = SqliteJournal(database)
    try:
        await journal.open()
        await import_from(path, journal)
        await chain.seal(journal)
        return await everything(journal)
    except Exception as error:  # noqa: BLE001 (looked at)
        check_ours(error)
        return None
    finally:
        await journal.close()


def brought_in(archive: bytes) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(archive)
        return asyncio.run(bring_in(path, Path(folder) / "j.db"))


@given(st.data())
@examples(60, slow=4)
def test_bytes_of_an_archive(data: st.DataObject) -> None:
    whole, original = written()
    found = brought_in(data.draw(mutated(whole)))
    assert found is None or found == original


@given(st.data())
@examples(60, slow=4)
def test_lines_that_were_altered_with_their_checksums_made_right(data: st.DataObject) -> None:
    """Whoever can write an archive can write its checksums; what is in it must be something that a journal can hold."""
    whole, _ = written()
    chunks = members(whole)
    at = data.draw(st.integers(0, len(chunks) - 1))
    head, *lines = chunks[at]
    if not lines or data.draw(st.booleans()):
        head = data.draw(altered(head))
    else:
        line = data.draw(st.integers(0, len(lines) - 1))
        lines[line] = data.draw(altered(lines[line]) | mutated(lines[line]).filter(lambda one: b"\n" not in one))
    brought_in(b"".join(_packed([head, *lines] if n == at else chunk) for n, chunk in enumerate(chunks)))


def _packed(chunk: list[bytes]) -> bytes:
    try:
        header: dict[str, Any] = json.loads(chunk[0])
        one = packed(header["understudy"], header["identity"], header["first"], chunk[1:], header["count"])
    except (TypeError, ValueError, KeyError, AttributeError, msgspec.MsgspecError, UnicodeError):
        one = gzip.compress(b"\n".join([*chunk, b""]))
    return one


@given(st.data())
@examples(30, slow=4)
def test_a_line_that_was_altered_is_found_by_its_checksum(data: st.DataObject) -> None:
    whole, _ = written()
    chunks = members(whole)
    chunk = chunks[data.draw(st.integers(0, 1))]
    line = data.draw(st.integers(1, len(chunk) - 1))
    chunk[line] = data.draw(altered(chunk[line]).filter(lambda one: json.loads(one) != json.loads(chunk[line])))
    assert brought_in(b"".join(gzip.compress(b"\n".join([*one, b""])) for one in chunks)) is None


@given(
    st.sampled_from(VALUES), st.sampled_from(["version", "time", "category", "key", "type", "id", "tags", "command"])
)
@examples(60, slow=4)
def test_an_event_whose_parts_are_odd(value: Any, part: str) -> None:
    line = {"category": "a", "key": "k", "version": 1, "type": "t", "time": 1, "data": "{}", "meta": "{}", part: value}
    try:
        lines = [json.dumps(line).encode()]
    except UnicodeError:
        return
    state = [b'{"category":"a","key":"k","version":1}']
    brought_in(packed("events", "i", 1, lines) + packed("streams", "i", 1, state) + packed("end", "i", 1, [], 1))


def test_a_bomb_takes_no_more_memory_than_the_largest_chunk() -> None:
    """A few kilobytes that unpack to a gigabyte, declared as one line or as many."""
    header = b'{"understudy":"events","format":1,"identity":"i","first":1,"count":999999999999,"sha256":"%s"}\n' % (
        b"0" * 64
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bomb"
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(header)
            for _ in range(MOST_BYTES // 1_000_000 + 50):
                file.write(b" " * 1_000_000)
        assert path.stat().st_size < 3_000_000
        tracemalloc.start()
        try:
            asyncio.run(_refused(path))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 3 * MOST_BYTES, f"{peak:,}"


async def _refused(path: Path) -> None:
    try:
        await import_from(path, MemoryJournal())
    except ArchiveDamaged as error:
        assert "larger than" in str(error)  # noqa: PT017 (there is no other)
    else:
        raise AssertionError("it was taken")
