"""What fuzzing has found, each by itself."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors import Command, Event, JournalMismatch, Saga, Service, State
from persistence import (
    BadJournalUrl,
    JournalDamaged,
    JournalUnusable,
    KeyFile,
    KeysUnusable,
    MemoryJournal,
    NotDecodable,
    Record,
    Seal,
    SqliteJournal,
    chain,
)
from persistence.checksum import digest_of
from persistence.journal import ERASED
from persistence.keys import Key
from persistence.opening import journal_of
from persistence.postgres_url import parse_url, without_password
from persistence.sqlite_view import SqliteView
from persistence.views import Aside, ParkedRow
from runtime import ManualClock, Runtime, check_journal
from runtime.reminder_events import NOTHING_PENDING, replayed
from runtime.timeline import diagram, timeline
from tests.fuzz.forging import journal_of as journal_with
from tests.fuzz.test_streams import OPEN, written
from tests.runtime.cast import ALL
from tests.runtime.reminding import BELL, Bell
from tests.runtime.tools import node_of
from tests.runtime.voyage import ACTORS, VOYAGE
from tests.unit.journals import LH441, fill


@pytest.fixture(scope="module", autouse=True)
def _() -> None:
    """Write the journal of all examples, outside of any event loop."""
    written()


SAGAS = list(dict.fromkeys([*ALL, *ACTORS, Bell]))


def forged(type_: str, **fields: Any) -> list[Record]:
    """Return the journal with other content in the first event of this type of the open saga, or of the bell."""
    records = [msgspec.structs.replace(record, value=None) for record in written()]
    streams = [(OPEN.actor, OPEN.key), (BELL.actor, BELL.key)]
    found = next(record for record in records if record.type == type_ and record.stream in streams)
    found.data = msgspec.json.encode({**msgspec.json.decode(found.data), **fields})
    return records


@pytest.mark.parametrize(
    ("type_", "fields", "why"),
    [
        ("saga.answered", {"step": "nowhere"}, "KeyError: 'nowhere'"),
        ("saga.undorevised", {"step": "nowhere"}, "KeyError: 'nowhere'"),
        ("saga.answered", {"step": "full mess"}, "KeyError: 'full mess'"),
        ("saga.refused", {"step": "cabin"}, "step 'cabin' has its outcome already"),
    ],
)
async def test_an_event_of_a_saga_that_can_not_follow_is_a_mismatch(
    type_: str, fields: dict[str, Any], why: str
) -> None:
    """It had raised what came up, at progress_of say, or put a step's second outcome in the place of its first."""
    records = forged(type_, **fields)
    async with Runtime(journal_with(records), SAGAS, clock=ManualClock(records[-1].time)) as runtime:
        with pytest.raises(
            JournalMismatch, match=f"{type_} at version .* does not follow what stands before it: {why}"
        ):
            await runtime.progress_of(OPEN)
        with pytest.raises(JournalMismatch, match=why):
            _ = [moment async for moment in timeline(node_of(runtime).journal, OPEN)]
    report = await check_journal(journal_with(records), SAGAS)
    assert "place in its saga's story" in str(report)


async def test_a_step_that_was_asked_twice_is_a_mismatch() -> None:
    """It had stood there anew, without its outcome: with its undo lost."""
    records = forged("saga.asked")
    at = next(n for n, one in enumerate(records) if one.type == "saga.answered" and one.stream[0] == VOYAGE.actor)
    asked = next(one for one in records if one.type == "saga.asked" and one.stream == records[at].stream)
    records[at].type, records[at].data = asked.type, asked.data
    async with Runtime(journal_with(records), SAGAS, clock=ManualClock(records[-1].time)) as runtime:
        with pytest.raises(JournalMismatch, match="step 'cabin' was asked before"):
            await runtime.progress_of(VOYAGE)


async def test_a_message_that_is_no_object_is_a_mismatch() -> None:
    records = [msgspec.structs.replace(record, value=None) for record in written()]
    next(one for one in records if one.type == "saga.started").data = b'{"command":7}'
    with pytest.raises(
        JournalMismatch, match=r"saga.started at version 1 .* does not follow .*Expected `object`, got `int`"
    ):
        await diagram(journal_with(records), VOYAGE)


def test_a_reminder_that_was_never_set_is_a_mismatch() -> None:
    record = next(one for one in forged("service.reminded", name="never") if one.type == "service.reminded")
    with pytest.raises(JournalMismatch, match=r"service.reminded at version .* no reminder 'never' is pending"):
        replayed(NOTHING_PENDING, record)


class Sat(Event): ...


class Sit(Command["Chair", None]): ...


class Seat(State): ...


class Chair(Service[Seat, Sit, Sat]):
    initial = Seat()

    def decide(self, state: Seat, command: Sit) -> Any:
        return command.reply(None, Sat())

    def evolve(self, state: Seat, event: Sat) -> Seat:
        return state


class Dine(Command["Dinner", None]): ...


class Dinner(Saga[Dine, None]):
    async def run(self, command: Dine) -> None:
        await self.ask("sit", Chair.at("c"), Sit(), lock=True)


async def test_a_timeline_tells_of_locks_that_were_given_back() -> None:
    """It had raised AssertionError for each saga that takes a lock."""
    journal = MemoryJournal()
    async with Runtime(journal, [Chair, Dinner]) as runtime:
        await runtime.ask(Dinner.at("d"), Dine())
    told = [moment.text async for moment in timeline(journal, Dinner.at("d"))]
    assert told == ["started by Dine", "Sit", "done", "completed", "its locks are given back"]


# -- files --------------------------------------------------------------------------------------------------------


async def damaged(path: Path, *statements: str) -> SqliteJournal:
    """Return a journal in which something was changed, open."""
    journal = SqliteJournal(path)
    await journal.open()
    await fill(journal)
    await chain.seal(journal)
    await journal.close()
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            assert db.execute(statement).rowcount == 1
        db.commit()
    journal = SqliteJournal(path)
    await journal.open()
    return journal


@pytest.mark.parametrize(
    "statement",
    [
        "update seals set position = 'x'",
        "update seals set position = 6.5",
        f"update seals set hash = '{'z' * 64}'",
        "update streams set first = 'x' where id = 1",
        "update streams set first = 6.5 where id = 1",
        "update streams set wake = 'x' where id = 1",
    ],
)
async def test_what_should_be_a_number_and_is_not_is_damage(tmp_path: Path, statement: str) -> None:
    """It had raised TypeError or ValueError."""
    journal = await damaged(tmp_path / "j.db", statement)
    try:
        with pytest.raises(JournalDamaged, match=r"is no number|a seal is not what was written"):
            await looked_at(journal)
    finally:
        await journal.close()


@pytest.mark.parametrize(
    "change",
    [
        "version = ''",
        "version = version + 0.5",
        "time = time || 'x'",
        "time = time + 0.5",
        "command = cast(command as blob)",
        "command = x''",
    ],
)
async def test_a_value_of_another_sort_is_damage(tmp_path: Path, change: str) -> None:
    """It had raised TypeError; and a time that had become 0.5 more was taken for what was written."""
    statement = f"update events set {change} where position = 1"
    journal = await damaged(tmp_path / "j.db", statement)
    try:
        with pytest.raises(JournalDamaged):
            await journal.read_all()
    finally:
        await journal.close()


async def looked_at(journal: SqliteJournal) -> None:
    await chain.verify(journal)
    await journal.read(LH441)
    await journal.sleeping()


async def test_a_seal_that_is_no_hash_is_damage() -> None:
    journal = MemoryJournal()
    await fill(journal)
    await journal.keep_seals([Seal(1, "z" * 64)])
    with pytest.raises(JournalDamaged, match="its seal at position 1 is no hash"):
        await chain.seal(journal)


def test_what_is_left_of_an_erased_event_is_a_digest() -> None:
    with pytest.raises(NotDecodable, match="its digest is no SHA-256"):
        digest_of(Record(1, ("a", "k"), 1, ERASED, 1, None, b'{"digest":"zz"}', b"{}"))


@pytest.mark.parametrize(
    "statement",
    [
        "update master set sealed = 7",
        "delete from master",
        "update secrets set secret = 7",
        "update secrets set secret = x'00'",
    ],
)
async def test_a_key_file_in_which_something_else_stands_is_damaged(tmp_path: Path, statement: str) -> None:
    """It had raised TypeError, or given out a key that is none."""
    keys = KeyFile(tmp_path / "keys.db")
    await keys.open()
    await keys.add([Key(b"i" * 8, "ana", b"s" * 32)])
    await keys.close()
    with closing(sqlite3.connect(tmp_path / "keys.db")) as db:
        assert db.execute(statement).rowcount == 1
        db.commit()
    keys = KeyFile(tmp_path / "keys.db")
    try:
        with pytest.raises(KeysUnusable, match="are damaged"):
            await used(keys)
    finally:
        await keys.close()


async def used(keys: KeyFile) -> None:
    await keys.open()
    keys.current("ana")


# -- what people write --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["sqlite:\0", "sqlite:a\0b", "sqlite:\ud800", "x" * 5_000, "postgresql://h/d?schema=\ud800"]
)
def test_a_url_that_can_not_be_is_told(url: str) -> None:
    """It had raised ValueError, UnicodeEncodeError or OSError."""
    with pytest.raises(BadJournalUrl):
        journal_of(url)
    with pytest.raises(BadJournalUrl):
        parse_url(url)


def test_who_forgets_the_scheme_does_not_tell_his_password() -> None:
    assert without_password("ana:s3cret@host/db") == "ana@host/db"
    with pytest.raises(BadJournalUrl, match=r"'ana@host/db' is no journal's URL"):
        journal_of("ana:s3cret@host/db")
    assert without_password("postgresql:ana@host") == "postgresql:ana@host"


@pytest.mark.parametrize(
    ("change", "read"),
    [("add column more text", True), ("rename column attempts to tries", False), ("rename to elsewhere", False)],
)
async def test_a_column_more_or_less_where_a_read_model_sets_events_aside(
    tmp_path: Path, change: str, read: bool
) -> None:
    """Was a TypeError."""
    path = tmp_path / "view.db"
    view = SqliteView(path, "create table board (line text)", "journal", lambda: 7)
    await view.open()
    await view.apply([], 1, aside=Aside(parked=(ParkedRow(1, "k", 7, "e", 2),)))
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"alter table understudy_parked {change}")
        db.commit()
    try:
        if read:
            assert await view.parked() == [ParkedRow(1, "k", 7, "e", 2)]
        else:
            with pytest.raises(JournalUnusable):
                await view.parked()
    finally:
        await view.close()
