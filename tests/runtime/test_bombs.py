"""Failure 36: what is too large, too deep or too long a number is refused, with a clear error and little memory."""

import sqlite3
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from actors import Failed, JournalMismatch, Parked
from persistence import NotDecodable, Snapshot
from persistence.checksum import crc_of, snapshot_crc
from persistence.codec import Decoder
from persistence.limits import MAX_PAYLOAD
from runtime import Runtime
from tests.runtime.cast import Board, BookTrip, Held, Hold, Lines, Look, Odd, Room, Trip, WasHeld

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


@pytest.mark.parametrize("name", [name for name in BOMBS if "skipped" not in name])
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


def forged(path: Path, column: str, value: str) -> None:
    """Change the first event, with a checksum that is right."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"update events set {column} = ? where position = 1", (value,))
        category, key, version, name, time, command, data, meta = db.execute(
            "select category, key, version, name, time, command, data, meta from events "
            "join streams s on s.id = stream join types t on t.id = type where position = 1"
        ).fetchone()
        crc = crc_of(1, (category, key), version, name, time, command, data.encode(), meta.encode())
        db.execute("update events set crc = ? where position = 1", (crc,))
        db.commit()


WRAPPED = {
    "50 MB": '{"causation":"' + "x" * 50_000_000 + '"}',
    "depth 10,000": '{"reply":' + "[" * 10_000 + "]" * 10_000 + "}",
    "depth 10,000 of objects": '{"more":' + '{"a":' * 10_000 + "1" + "}" * 10_000 + "}",
}


@pytest.mark.parametrize("name", ["50 MB", "depth 10,000"])
async def test_a_bomb_in_metadata_is_refused_where_it_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "journal.db"
    async with Runtime(f"sqlite:{path}", [Room]) as runtime:
        assert await runtime.ask(Room.at("r"), Hold("t"), id="one") == Held(1)
    forged(path, "meta", WRAPPED[name])
    async with Runtime(f"sqlite:{path}", [Room]) as runtime:
        with pytest.raises(JournalMismatch, match=r"limit is 34,603,008$|maximum recursion depth"):
            await runtime.ask(Room.at("r"), Hold("t"), id="one")
        assert await runtime.ask(Room.at("r"), Look()) == 1


@pytest.mark.parametrize("name", WRAPPED)
async def test_a_bomb_in_a_sagas_story_parks_only_that_saga(tmp_path: Path, name: str) -> None:
    path = tmp_path / "journal.db"
    async with Runtime(f"sqlite:{path}", [Room, Trip]) as runtime:
        await runtime.ask(Trip.at("bad"), BookTrip(["r"]))
    forged(path, "data", WRAPPED[name])
    async with Runtime(f"sqlite:{path}", [Room, Trip]) as runtime:
        with pytest.raises(Parked, match="Trip/bad is parked") as parked:
            await runtime.ask(Trip.at("bad"), BookTrip(["r"]))
        assert len(str(parked.value)) < 1_000
        assert (await runtime.ask(Trip.at("good"), BookTrip(["r"]))).trip == "good"


@pytest.mark.parametrize("name", ["80 MB", "depth 10,000", "a state of 20 MB"])
async def test_a_bomb_in_a_snapshot_is_passed_over(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It only spares reading: the events are read instead."""
    monkeypatch.setattr(Room, "snapshot_every", 1)
    path = tmp_path / "journal.db"
    bombs = {
        "80 MB": b'{"state":{"held":[],"count":7},"run":"' + b"x" * 80_000_000 + b'"}',
        "depth 10,000": b'{"state":{"held":[],"count":7,"more":' + b"[" * 10_000 + b"]" * 10_000 + b"}}",
        "a state of 20 MB": b'{"state":{"held":["' + b"x" * 20_000_000 + b'"],"count":7}}',
    }
    async with Runtime(f"sqlite:{path}", [Room]) as runtime:
        for trip in "abc":
            await runtime.ask(Room.at("r"), Hold(trip))
    with closing(sqlite3.connect(path)) as db:
        version, fingerprint = db.execute("select version, fingerprint from snapshots").fetchone()
        snapshot = Snapshot(version, fingerprint, bombs[name])
        crc = snapshot_crc(("Room", "r"), snapshot)
        db.execute("update snapshots set data = ?, crc = ?", (snapshot.data, crc))
        db.commit()
    async with Runtime(f"sqlite:{path}", [Room]) as runtime:
        assert await runtime.ask(Room.at("r"), Look()) == 3


@pytest.mark.parametrize("trip", ["x" * TEN_MEGABYTES], ids=["10 MB"])
async def test_what_is_too_large_is_not_written(trip: str) -> None:
    async with Runtime("memory:", [Room]) as runtime:
        with pytest.raises(Failed, match="the limit is 1,048,576"):
            await runtime.ask(Room.at("r"), Hold(trip))
        with pytest.raises(Failed):
            await runtime.ask(Room.at("r"), Odd("second can't be stored"))
        assert runtime.position == 0
        assert (await runtime.ask(Room.at("r"), Hold("t"))).number == 1
