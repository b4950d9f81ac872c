"""What no engine takes: one clear error each, nothing written, and the journal goes on. What is just within the limits
is written as it is. Failures 33 and 36."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from persistence import (
    ANY,
    Append,
    Batch,
    Journal,
    Match,
    NewEvent,
    NotEncodable,
    Snapshot,
    Stream,
    Unless,
    Written,
)
from persistence.limits import (
    ID_LENGTH,
    KEY_LENGTH,
    MAX_DEPTH,
    MAX_PAYLOAD,
    MAX_SNAPSHOT,
    MOST_EVENTS,
    MOST_TAGS,
    NAME_LENGTH,
    TAG_LENGTH,
)
from persistence.writer import Writer
from tests.contract.journal_contract import NOON, ROOMS, SEATS, JournalContract, everything, put

LONE = "a\ud800"
"""A half of a surrogate pair: Python has it in texts, UTF-8 has not."""


def lists(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def objects(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def holding(data: Any = b"{}", meta: Any = b"{}", name: str = "A", **more: Any) -> Append:
    return put(SEATS, ANY, [NewEvent("Before", b"{}", b"{}"), NewEvent(name, data, meta, **more)])


def to(stream: Stream, command: str | None = None) -> Append:
    return put(stream, ANY, 1, command)


def keeping(fingerprint: str, data: Any) -> Append:
    return Append(SEATS, ANY, [NewEvent("A", b"{}", b"{}")], NOON, snapshot=Snapshot(1, fingerprint, data))


def given_that(*query: Match) -> Append:
    return Append(SEATS, ANY, [NewEvent("A", b"{}", b"{}")], NOON, unless=Unless(query))


NO_JSON: dict[str, bytes] = {
    "nothing": b"",
    "cut off": b'{"a":',
    "more behind it": b"{} {}",
    "a NUL": b"\0",
    "a NUL behind it": b"{}\0",
    "a NUL in a text": b'"a\0b"',
    "NaN": b'{"a":NaN}',
    "infinity": b"-Infinity",
    "invalid UTF-8": b'{"a":"\xff"}',
    "UTF-8 of a surrogate": b'"\xed\xa0\x80"',
    "half of a pair": b'"\\ud800"',
    "a huge integer": b"9" * 100_000,
    "a huge exponent": b"1e999999999",
}
DEEP = {
    "lists": lists(MAX_DEPTH + 1),
    "objects": objects(MAX_DEPTH + 1),
    "a bomb": lists(10_000),
    "a bomb of objects": objects(10_000),
    "brackets in texts": b'["\\"]]]",' * (MAX_DEPTH + 1) + b"1" + b"]" * (MAX_DEPTH + 1),
}

BAD: dict[str, tuple[Callable[[], Append], str]] = {
    **{f"payload: {what}": (partial(holding, data), "would not read back") for what, data in NO_JSON.items()},
    **{f"meta: {what}": (partial(holding, b"{}", data), "would not read back") for what, data in NO_JSON.items()},
    **{f"deep: {what}": (partial(holding, data), "payload of A .* more than 128 lists") for what, data in DEEP.items()},
    "meta: deep": (lambda: holding(meta=lists(MAX_DEPTH + 1)), "the metadata of A .* more than 128 lists"),
    "payload: large": (
        lambda: holding(b'"' + b"x" * (MAX_PAYLOAD - 1) + b'"'),
        "the payload of A can't be stored: it has 1,048,577 bytes, the limit is 1,048,576; max_payload= raises it",
    ),
    "payload: 10 MB": (lambda: holding(b"[" + b"[]," * 3_000_000 + b"1]"), "the limit is 1,048,576"),
    "meta: large": (
        lambda: holding(meta=b'"' + b"x" * MAX_PAYLOAD + b'"'),
        "the metadata of A .* the limit is 1,048,576",
    ),
    "payload: a text": (lambda: holding("{}"), "as bytes of JSON, not as a str"),
    "type: long": (lambda: holding(name="t" * (NAME_LENGTH + 1)), "event's type has 256 characters, the limit is 255"),
    "type: UTF-8": (lambda: holding(name=LONE), "an event's type must be text that UTF-8 can hold"),
    "id: long": (lambda: holding(id="i" * (ID_LENGTH + 1)), "an event's id has 2,049 characters, the limit is 2,048"),
    "id: UTF-8": (lambda: holding(id=LONE), "an event's id must be text that UTF-8 can hold"),
    "tag: long": (lambda: holding(tags=("t" * (TAG_LENGTH + 1),)), "a tag has 1,025 characters, the limit is 1,024"),
    "tag: UTF-8": (lambda: holding(tags=("a", LONE)), "a tag must be text that UTF-8 can hold"),
    "tag: a number": (lambda: holding(tags=(7,)), "a tag is a text, not a int"),
    "tags: many": (lambda: holding(tags=tuple(map(str, range(MOST_TAGS + 1)))), "has 101 tags, the limit is 100"),
    "category: long": (lambda: to(("c" * (NAME_LENGTH + 1), "")), "category has 256 characters, the limit is 255"),
    "category: UTF-8": (lambda: to((LONE, "")), "a stream's category must be text that UTF-8 can hold"),
    "key: long": (lambda: to(("A", "k" * (KEY_LENGTH + 1))), "key has 2,049 characters, the limit is 2,048"),
    "key: UTF-8": (lambda: to(("A", LONE)), "a stream's key must be text that UTF-8 can hold"),
    "command: long": (lambda: to(SEATS, "c" * (ID_LENGTH + 1)), "a command's id has 2,049 characters"),
    "command: UTF-8": (lambda: to(SEATS, LONE), "a command's id must be text that UTF-8 can hold"),
    "events: many": (
        lambda: put(SEATS, ANY, MOST_EVENTS + 1),
        "an append of 10,001 events can't be written, the limit is 10,000; make several",
    ),
    "time: huge": (lambda: Append(SEATS, ANY, [NewEvent("A", b"{}", b"{}")], 2**63), "more than 64 bits"),
    "expected: huge": (lambda: put(SEATS, 2**63), "more than 64 bits"),
    "wake: huge": (lambda: put(SEATS, ANY, wake=2**63), "more than 64 bits"),
    "snapshot: large": (lambda: keeping("f", bytes(MAX_SNAPSHOT + 1)), "67,108,865 bytes, the limit is 67,108,864"),
    "snapshot: nothing": (lambda: keeping("f", None), "without data"),
    "snapshot: UTF-8": (lambda: keeping(LONE, b"{}"), "fingerprint must be text that UTF-8 can hold"),
    "condition: many": (lambda: given_that(*[Match(("A",))] * 101), "a query can have 100 items"),
    "condition: UTF-8": (lambda: given_that(Match(tags=(LONE,))), "must be text that UTF-8 can hold"),
}


class IntakeContract(JournalContract):
    @pytest.mark.parametrize("what", BAD)
    async def test_what_can_not_be_kept_is_refused_and_nothing_written(self, journal: Journal, what: str) -> None:
        make, said = BAD[what]
        bad = make()
        if bad.unless is None and bad.expected == ANY:  # a group knows its versions, and has no conditions
            group: list[Batch] = [(put(ROOMS, 0),), (msgspec.structs.replace(bad, expected=0),)]
            with pytest.raises(NotEncodable, match=said) as caught:
                await journal.append(group)
            assert len(str(caught.value)) < 300
        with pytest.raises(NotEncodable, match=said):
            await journal.write(put(ROOMS, ANY), bad)
        assert await everything(journal) == []
        assert await journal.snapshots([SEATS]) == {}
        # In one call with others it harms only its own batch.
        first, refused, last = await journal.append_each([(put(ROOMS, 0),), (put(SEATS, 0), bad), (put(ROOMS, 1),)])
        assert (first, last) == (Written(1, (1,)), Written(2, (2,)))
        assert isinstance(refused, NotEncodable)
        await journal.append([(put(SEATS, 0),)])
        assert len(await everything(journal)) == 3

    async def test_a_batch_of_too_many_appends_is_refused(self, journal: Journal) -> None:
        many = tuple(put(("A", f"{n}"), ANY) for n in range(MOST_EVENTS + 1))
        with pytest.raises(NotEncodable, match="a batch of 10,001 appends can't be written, the limit is 10,000"):
            await journal.write(*many)
        assert await everything(journal) == []

    @pytest.mark.parametrize("what", ["payload: NaN", "payload: large", "key: UTF-8", "events: many"])
    async def test_a_writer_keeps_it_from_its_group(self, journal: Journal, what: str) -> None:
        async def failed(error: BaseException) -> None:
            raise error

        writer = Writer(journal, lambda _batches, _first: None, failed)
        writer.enqueue((put(ROOMS, 0),))
        with pytest.raises(NotEncodable, match=BAD[what][1]):
            writer.enqueue((put(SEATS, 0), BAD[what][0]()))
        bad, good = writer.submit((BAD[what][0](),)), writer.submit((put(ROOMS, 1),))
        running = asyncio.create_task(writer.run())
        writer.kick()
        assert await good == Written(2, (2,))
        assert isinstance(await bad, NotEncodable)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert [record.stream for record in await everything(journal)] == [ROOMS, ROOMS]

    async def test_what_is_just_within_the_limits_reads_back(self, journal: Journal) -> None:
        stream = "ü" * NAME_LENGTH, "\U0001f3ad" * KEY_LENGTH
        payload = b'"' + b"x" * (MAX_PAYLOAD - 2) + b'"'
        tags = tuple(f"{n:02}" + "\0" * (TAG_LENGTH - 2) for n in range(MOST_TAGS))
        new = [
            NewEvent("ty\0e" + "é" * (NAME_LENGTH - 4), payload, payload, None, "\\0\0" * (ID_LENGTH // 3), tags),
            NewEvent("Lists", lists(MAX_DEPTH), objects(MAX_DEPTH), None, "\U0001f3ad" * ID_LENGTH),
            NewEvent("NotDeep", b'["[[[[[[[["' + b',[{"a":"{["}]' * 1_000 + b"]", b'"\\u0000 \\" \xf0\x9f\x8e\xad"'),
            NewEvent("Numbers", b"[1e308,-0.0,12345678901234567890123]", b" {} "),
        ]
        command = "\0" * ID_LENGTH
        snapshot = Snapshot(4, "\0f", b"\x00\xff")
        append = Append(stream, ANY, new, NOON, command, NOON, snapshot)
        assert await journal.write(append) == Written(1, (4,))
        records = await everything(journal)
        assert [(r.stream, r.type, r.data, r.meta, r.id, r.tags) for r in records] == [
            (stream, one.type, one.data, one.meta, one.id, one.tags) for one in new
        ]
        assert await journal.find(stream, command) == 1
        assert [record.version for record in await journal.by_ids([one.id for one in new if one.id])] == [1, 2]
        assert (await journal.scan((Match((new[0].type,), tags),))).records == records[:1]
        assert await journal.snapshots([stream]) == {stream: snapshot}

    async def test_ten_thousand_events_are_one_append(self, journal: Journal) -> None:
        await journal.append([(put(SEATS, 0, MOST_EVENTS, "c1"),)])
        assert await journal.write(put(SEATS, MOST_EVENTS, MOST_EVENTS, "c2")) == Written(10_001, (20_000,))
        assert len(await everything(journal)) == 20_000

    async def test_the_limit_of_payloads_can_be_set(self, tmp_path: Path) -> None:
        def of(size: int) -> Append:
            return put(SEATS, ANY, [NewEvent("A", b'"' + b"x" * (size - 2) + b'"', b"{}")])

        async with self.opened(tmp_path, max_payload=2_000) as journal:
            assert journal.max_payload == 2_000
            await journal.write(of(2_000))
            with pytest.raises(NotEncodable, match="it has 2,001 bytes, the limit is 2,000"):
                await journal.write(of(2_001))
        with pytest.raises(ValueError, match="max_payload is 1,024 to 16,777,216 bytes, not 1,023"):
            self.make(tmp_path, max_payload=1_023)
        with pytest.raises(ValueError, match="not 16,777,217; keep what is larger in a file"):
            self.make(tmp_path, max_payload=16_777_217)

    async def test_the_largest_payload_of_all_reads_back(self, tmp_path: Path) -> None:
        data = b'"' + b"x" * (16_777_216 - 2) + b'"'
        async with self.opened(tmp_path, max_payload=16_777_216) as journal:
            await journal.write(put(SEATS, 0, [NewEvent("A", data, data)] * 3))
            records = await journal.read_all()
            assert [(record.data == data, record.meta == data) for record in records] == [(True, True)] * 3
