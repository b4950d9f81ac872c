"""What a journal is given, looked at before anything of it is written: once, for all engines.

Who has made sure already says so (:attr:`Append.sound`): a runtime, whose codec has the same limits.
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from operator import attrgetter

import msgspec

from persistence.errors import JournalError, NotEncodable
from persistence.journal import Append, Batch, NewEvent, Snapshot, Written
from persistence.limits import (
    ID_LENGTH,
    KEY_LENGTH,
    MAX_DEPTH,
    MAX_SNAPSHOT,
    MOST_EVENTS,
    MOST_TAGS,
    NAME_LENGTH,
    TAG_LENGTH,
    oversize,
    too_deep,
)
from persistence.query import Unless, check_query

_anything = msgspec.json.Decoder()
_sound = attrgetter("sound")
_LARGEST = 2**63 - 1

WriteEach = Callable[[Sequence[Batch]], Awaitable[list[Written | JournalError]]]


def check(batches: Sequence[Batch], max_payload: int, max_depth: int = MAX_DEPTH) -> None:
    """Make sure that each engine can write batches, and that what they hold can be read.

    Raises:
        NotEncodable: something is too large, too long or too deep, or is no text or no JSON; it is named.
    """
    if all(map(_sound, chain.from_iterable(batches))) and max(map(len, batches), default=0) <= MOST_EVENTS:
        return  # as most are
    for batch in batches:
        if len(batch) > MOST_EVENTS:
            raise NotEncodable(f"a batch of {len(batch):,} appends can't be written, the limit is {MOST_EVENTS:,}")
        for append in batch:
            if not append.sound:
                _check_append(append, max_payload, max_depth)


async def write_sound(batches: Sequence[Batch], max_payload: int, write: WriteEach) -> list[Written | JournalError]:
    """Have those batches written that can be; return what became of each."""
    faults = [_fault_of(batch, max_payload) for batch in batches]
    if not any(faults):
        return await write(batches)
    outcomes = iter(await write([batch for batch, fault in zip(batches, faults, strict=True) if fault is None]))
    return [next(outcomes) if fault is None else fault for fault in faults]


def _fault_of(batch: Batch, max_payload: int) -> NotEncodable | None:
    try:
        check((batch,), max_payload)
    except NotEncodable as error:
        return error
    return None


def check_text(what: str, text: str, most: int) -> None:
    """Make sure that a text can be kept; ``what`` begins the error's message.

    Raises:
        NotEncodable: it is too long, or UTF-8 can't hold it.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] (not everybody has a type checker)
        raise NotEncodable(f"{what} is a text, not a {type(text).__name__}")
    if len(text) > most:
        raise NotEncodable(f"{what} has {len(text):,} characters, the limit is {most:,}: {text[:40]!r}...")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise NotEncodable(f"{what} must be text that UTF-8 can hold, not {text[:80]!r}") from error


def _check_append(append: Append, max_payload: int, max_depth: int) -> None:
    category, key = append.stream
    check_text("a stream's category", category, NAME_LENGTH)
    check_text("a stream's key", key, KEY_LENGTH)
    if append.command is not None:
        check_text("a command's id", append.command, ID_LENGTH)
    for number in (append.time, append.expected, append.wake or 0, append.erase_before):
        if not -_LARGEST <= number <= _LARGEST:
            raise NotEncodable("a time or a version of an append has more than 64 bits")
    if len(append.events) > MOST_EVENTS:
        raise NotEncodable(
            f"an append of {len(append.events):,} events can't be written, the limit is {MOST_EVENTS:,}; make several"
        )
    for event in append.events:
        _check_event(event, max_payload, max_depth)
    if append.snapshot is not None:
        _check_snapshot(append.snapshot)
    if append.unless is not None:
        _check_condition(append.unless)


def _check_event(event: NewEvent, max_payload: int, max_depth: int) -> None:
    check_text("an event's type", event.type, NAME_LENGTH)
    if event.id is not None:
        check_text("an event's id", event.id, ID_LENGTH)
    if len(event.tags) > MOST_TAGS:
        raise NotEncodable(f"an event has {len(event.tags):,} tags, the limit is {MOST_TAGS}")
    for tag in event.tags:
        check_text("a tag", tag, TAG_LENGTH)
    _check_json(f"the payload of {event.type}", event.data, max_payload, max_depth)
    _check_json(f"the metadata of {event.type}", event.meta, max_payload, max_depth)


def _check_json(what: str, data: bytes, max_payload: int, max_depth: int) -> None:
    if not isinstance(data, bytes):  # pyright: ignore[reportUnnecessaryIsInstance] (as above)
        raise NotEncodable(f"{what} is given as bytes of JSON, not as a {type(data).__name__}")
    if len(data) > max_payload:
        raise NotEncodable(f"{what} can't be stored: {oversize(len(data), max_payload)}")
    if too_deep(data, max_depth):
        raise NotEncodable(f"{what} can't be stored: more than {max_depth} lists and objects stand within each other")
    try:
        _anything.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NotEncodable(f"{what} can't be stored, as it would not read back as JSON: {error}") from error


def _check_snapshot(snapshot: Snapshot) -> None:
    check_text("a snapshot's fingerprint", snapshot.fingerprint, ID_LENGTH)
    if not isinstance(snapshot.data, bytes):
        raise NotEncodable("a snapshot without data can't be kept")
    if (size := len(snapshot.data)) > MAX_SNAPSHOT:
        raise NotEncodable(f"a snapshot can't be stored: it has {size:,} bytes, the limit is {MAX_SNAPSHOT:,}")


def _check_condition(condition: Unless) -> None:
    try:
        check_query(condition.query)
    except ValueError as error:
        raise NotEncodable(f"the condition of an append can't be asked: {error}") from error
    for item in condition.query:
        for text in (*item.types, *item.categories, *item.tags):
            check_text("what a condition asks for", text, TAG_LENGTH)
