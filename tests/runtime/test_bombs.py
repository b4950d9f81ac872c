"""Failure 36: what is too large, too deep or too long a number is refused, with a clear error and little memory."""

import sqlite3
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from actors import Failed, Parked
from persistence import NotDecodable
from persistence.checksum import crc_of
from persistence.codec import Decoder
from persistence.limits import MAX_PAYLOAD
from runtime import Runtime
from tests.runtime.cast import Board, Hold, Lines, Odd, Room, WasHeld

TEN_MEGABYTES = 10 * 1024 * 1024
BOMBS = {
    "10 MB": b'{"type":"WasHeld","trip":"' + b"x" * TEN_MEGABYTES + b'"}',
    "10 MB of lists": b'{"type":"WasHeld","trip":' + b"[]," * (TEN_MEGABYTES // 3) + b"}",
    "depth 10,000": b'{"type":"WasHeld","trip":"t","more":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "depth 10,000 of objects": b'{"type":"WasHeld","trip":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    "a huge integer": b'{"type":"WasHeld","trip":' + b"9" * 1_000_000 + b"}",
    "a huge exponent": b'{"type":"WasHeld","trip":1e999999999}',
    "a huge skipped integer": b'{"type":"WasHeld","more":' + b"9" * 1_000_000 + b"}",
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("cls", [WasHeld, dict[str, Any], object], ids=["event", "dict", "anything"])
def test_a_bomb_is_refused_or_small(name: str, cls: Any) -> None:
    tracemalloc.start()
    try:
        try:
            Decoder(cls).decode(BOMBS[name])
        except NotDecodable as error:
            assert len(str(error)) < 300  # noqa: PT017 (what it means to nobody may be skipped, or be a number)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MAX_PAYLOAD


@pytest.mark.parametrize("name", [name for name in BOMBS if "skipped" not in name and name != "depth 10,000"])
async def test_a_bomb_in_the_journal_parks_its_readers_and_nobody_else(tmp_path: Path, name: str) -> None:
    """P13, P15: with a checksum that is right, as one who can write the file may have made it."""
    path = tmp_path / "journal.db"
    async with Runtime(f"sqlite:{path}", [Room]) as runtime:
        await runtime.ask(Room.at("bad"), Hold("t"))
    data = BOMBS[name]
    with closing(sqlite3.connect(path)) as db:
        version, time, command, meta = db.execute("select version, time, command, meta from events").fetchone()
        crc = crc_of(1, ("Room", "bad"), version, "WasHeld", time, command, data, meta.encode())
        db.execute("update events set data = ?, crc = ?", (data.decode(), crc))
        db.commit()
    async with Runtime(f"sqlite:{path}", [Room, Board]) as runtime:
        with pytest.raises(Parked, match="Room/bad is parked") as parked:
            await runtime.ask(Room.at("bad"), Hold("u"))
        assert len(str(parked.value)) < 1_000
        with pytest.raises(Parked, match="Board is parked behind position 0"):
            await runtime.ask(Board.at(), Lines(), consistent=True)
        assert (await runtime.ask(Room.at("good"), Hold("t"))).number == 1


@pytest.mark.parametrize("trip", ["x" * TEN_MEGABYTES], ids=["10 MB"])
async def test_what_is_too_large_is_not_written(trip: str) -> None:
    async with Runtime("memory:", [Room]) as runtime:
        with pytest.raises(Failed, match="the limit is 1,048,576"):
            await runtime.ask(Room.at("r"), Hold(trip))
        with pytest.raises(Failed):
            await runtime.ask(Room.at("r"), Odd("second can't be stored"))
        assert runtime.position == 0
        assert (await runtime.ask(Room.at("r"), Hold("t"))).number == 1
