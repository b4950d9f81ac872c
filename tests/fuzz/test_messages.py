"""Payloads of all sorts, altered: each is read as a value that would be written as it is, or it is refused."""

import asyncio
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Address, Message, Personal
from persistence import Append, MemoryJournal, MemoryKeys, NotEncodable, Record, Snapshot
from persistence.checksum import digest_of
from persistence.codec import WRAPPING, Decoder
from persistence.journal import ERASED
from runtime import ManualClock, Runtime
from runtime.kinds import EventMeta, Kind, kind_of
from runtime.personal import PersonalData
from runtime.saga_events import DECODERS
from runtime.schedules import Schedules
from runtime.snapshots import read_kept
from tests.extras import need
from tests.fuzz.mutations import ODD, altered, check_ours, examples, mutated
from tests.runtime.ages import today
from tests.runtime.locking import Page, Write
from tests.runtime.people import ANA, Customer, SignUp
from tests.runtime.reminding import BELL, Bell, Wind, strike
from tests.runtime.tools import HeldJournal, quiet

Reads = Callable[[bytes], Any]


class Leaf(Message):
    text: str = ""
    numbers: tuple[int, ...] = ()
    more: dict[str, float | None] = {}


class Tree(Message):
    leaves: list[Leaf] = []
    trees: list["Tree"] = []
    anything: Any = None
    to: Address[Any] | None = None


TREE = Tree([Leaf("é🪑", (1, -(2**63)), {"a": 1.5, "": None})], [Tree()], {"x": [1, "2", None]}, Address("A", "k"))


SCHEDULE = (
    b'{"type":"schedule.set","content":{"saga":"S","command":{},"fingerprint":"0","cron":"0 3 * * *"},'
    b'"anchor":5,"next":9}'
)
INTENT = (
    b'{"step":"a","kind":"ask","to":["Room","r"],"command":{"type":"Hold"},"undo":{"type":"Release"},'
    b'"undo_retry":{"backoff":{"first":"PT1S"},"budget":"PT60S","crashes":5,"final":["X"]},"lock":true}'
)


def event_of(kind: Kind, name: str, revision: int = 1) -> Reads:
    meta = msgspec.json.encode(EventMeta(revision=revision))
    return lambda data: kind.read(Record(1, (kind.name, "k"), 1, name, 1, None, data, meta))


VALID: dict[str, tuple[Reads, bytes]] = {
    "any message": (Decoder(Tree).decode, msgspec.json.encode(TREE)),
    "a command": (lambda data: kind_of(Page).command(msgspec.Raw(data)), msgspec.json.encode(Write("one"))),
    "an event": (event_of(kind_of(Page), "Wrote"), b'{"type":"Wrote","line":"a","who":"b"}'),
    "an event in an older form": (
        event_of(kind_of(today.Flight), "SeatTaken"),
        b'{"type":"SeatTaken","trip":"t","seat":12}',
    ),
    "an event that became several": (
        event_of(kind_of(today.Flight), "SeatsSwapped"),
        b'{"type":"SeatsSwapped","trip":"t","seat":12,"other":"u","other_seat":34}',
    ),
    "metadata": (
        Decoder(EventMeta, WRAPPING).decode,
        b'{"revision":2,"causation":"c","correlation":"d","fingerprint":"00","reply":{"a":[1]},"trace":"00-1"}',
    ),
    "a lock": (
        event_of(kind_of(Page), "service.locked"),
        b'{"type":"service.locked","lock":"l","holder":["T","k"],"step":"s"}',
    ),
    "a schedule": (
        event_of(kind_of(Schedules), "schedule.set"),
        SCHEDULE,
    ),
    "an intent": (DECODERS["saga.asked"].decode, INTENT),
    "a start": (
        DECODERS["saga.started"].decode,
        b'{"command":{"type":"Sail"},"deadline":5,"path":[["A","b"]],"version":2}',
    ),
    "an erased event": (
        lambda data: digest_of(Record(1, ("a", "k"), 1, ERASED, 1, None, data, b"{}")),
        b'{"digest":"%s"}' % (b"0a" * 32),
    ),
}


def test_the_valid_ones_are() -> None:
    for reads, valid in VALID.values():
        assert reads(valid) is not None


@pytest.mark.parametrize("what", VALID)
@given(data=st.data())
@examples(25, slow=2)
def test_a_payload(what: str, data: st.DataObject) -> None:
    reads, valid = VALID[what]
    _read(reads, data.draw(mutated(valid) | altered(valid)))


@pytest.mark.parametrize("what", VALID)
def test_each_small_change(what: str) -> None:
    """Cut anywhere, each bit turned, and each odd thing at each place."""
    reads, valid = VALID[what]
    for at in range(len(valid)):
        _read(reads, valid[:at])
        for bit in range(8):
            _read(reads, valid[:at] + bytes([valid[at] ^ 1 << bit]) + valid[at + 1 :])
        for piece in ODD:
            if len(piece) < 1_000:
                _read(reads, valid[:at] + piece + valid[at:])


def _read(reads: Reads, payload: bytes) -> None:
    try:
        found = reads(payload)
    except Exception as error:  # noqa: BLE001 (looked at)
        check_ours(error)
        return
    values: list[Any] = [found]
    if isinstance(found, tuple):
        values[:] = found
    for value in values:
        if isinstance(value, Message):
            _reads_back(value)


def _reads_back(value: Message) -> None:
    decoder = Decoder(type(value))
    try:
        written = decoder.encode(value, "it")
    except NotEncodable:
        return  # it fits its class, and can't be stored: too large, say
    assert decoder.decode(written) == value


# -- snapshots ----------------------------------------------------------------------------------------------------


@cache
def kept() -> tuple[HeldJournal, Snapshot]:
    """A bell's journal, and its snapshot."""

    async def write() -> tuple[HeldJournal, Snapshot]:
        journal = HeldJournal()
        async with Runtime(journal, [Bell], clock=ManualClock()) as runtime:
            for number in range(3):
                await runtime.ask(
                    BELL, Wind("x", (strike(f"s{number}", 50), strike("often", 3, every=7))), id=f"c{number}"
                )
            await runtime.snapshot(BELL)
            await quiet(runtime)
        assert len(journal.records) == journal.records[-1].version
        return journal, (await journal.snapshots([("Bell", "big")]))["Bell", "big"]

    return asyncio.run(write())


@given(st.data())
@examples(60, slow=10)
def test_a_snapshot(data: st.DataObject) -> None:
    journal, snapshot = kept()
    assert snapshot.data is not None
    forged = data.draw(mutated(snapshot.data) | altered(snapshot.data))
    read_kept(Snapshot(snapshot.version, snapshot.fingerprint, forged))

    async def go_on() -> None:
        clock = ManualClock(journal.records[-1].time + 1)
        copy = MemoryJournal([msgspec.structs.replace(one, value=None) for one in journal.records], [("Bell", "big")])
        version = len(journal.records)
        kept_now = Snapshot(version, snapshot.fingerprint, forged)
        await copy.append([(Append(("Bell", "big"), version, [], 1, snapshot=kept_now),)])
        async with Runtime(copy, [Bell], clock=clock) as runtime:
            asked = [
                asyncio.ensure_future(_told(one))
                for one in (
                    runtime.ask(BELL, Wind("y"), id="c1"),
                    runtime.ask(BELL, Wind("z")),
                    runtime.reminders(BELL),
                )
            ]
            for _ in range(40):
                await quiet(runtime)
                clock.advance(5)
            await quiet(runtime)
            assert all(one.done() for one in asked)
            for one in asked:
                one.result()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bell, "snapshot_every", 1)  # so that it is looked for
        asyncio.run(go_on())


async def _told(asked: Any) -> None:
    try:
        await asked
    except Exception as error:  # noqa: BLE001 (looked at)
        check_ours(error)


# -- personal values ----------------------------------------------------------------------------------------------


@given(st.data())
@examples(60, slow=2)
def test_a_sealed_value(data: st.DataObject) -> None:
    need("cryptography")
    personal = PersonalData(MemoryKeys(), [Customer])
    kind = kind_of(Customer, personal.codec)
    valid = kind.command_data(SignUp(_personal()))
    forged = data.draw(mutated(valid) | altered(valid))
    try:
        found = kind.command(msgspec.Raw(forged))
    except Exception as error:  # noqa: BLE001 (looked at)
        check_ours(error)
    else:
        assert isinstance(found, SignUp)
        assert found == SignUp(_personal()) or json.loads(forged) != json.loads(valid)


def _personal() -> Any:

    return Personal(ANA, "ana@example.org")
