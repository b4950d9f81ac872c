"""Personal values are sealed wherever they are stored, and open where they are read."""

import asyncio
import json
import logging
import re
import sqlite3
from base64 import b64decode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import (
    Address,
    Command,
    CommandIdReused,
    Decision,
    DefinitionError,
    Event,
    Failed,
    JournalMismatch,
    Parked,
    Personal,
    Service,
    State,
)
from persistence import JournalDamaged, KeyMissing, MemoryKeys, SqliteJournal
from runtime import KeyFile, ManualClock, Runtime, check_journal
from runtime.personal import holds_personal
from tests import postgres
from tests.extras import need
from tests.runtime.people import (
    ALL,
    ANA,
    BOB,
    SECRET,
    SECRETS,
    Customer,
    Greet,
    Home,
    Mailer,
    Nudge,
    People,
    Profile,
    Row,
    Send,
    SignedUp,
    SignUp,
    Use,
    Welcome,
    WelcomeSaga,
)
from tests.runtime.tools import HeldJournal, quiet, restart_of

need("cryptography")
DAY = timedelta(days=1)
CUSTOMER, SAGA = Customer.at("c"), WelcomeSaga.at("w")
HOME = Home(SECRETS[1], [SECRETS[2]])


def ana(value: Any = SECRET) -> Any:
    return Personal(ANA, value)


async def everything(runtime: Runtime, clock: ManualClock) -> None:
    """Do with a person all that can be written down."""
    assert (await runtime.ask(CUSTOMER, SignUp(ana(), ana(HOME)), id="1")).value == SECRET
    assert (await runtime.ask(CUSTOMER, Greet(), id="2")).to.value == SECRET
    await runtime.ask(CUSTOMER, Nudge(ana(), DAY))
    await runtime.remind(Mailer.at(), "far", Send(ana()), after=2 * DAY)
    await runtime.tell(SAGA, Welcome(ana(), opens=True))
    await quiet(runtime)
    Mailer.fails = True
    clock.advance(DAY.total_seconds())
    await quiet(runtime)
    assert not Mailer.sent
    Mailer.fails = False
    for _ in range(8):  # the clock of retries
        clock.advance(60)
        await quiet(runtime)
    assert set(Mailer.sent) == {SECRET, SECRET.upper()}
    assert (await runtime.result(SAGA)).email.value == SECRET.upper()
    replies = await runtime.transact((CUSTOMER, SignUp(ana(), ana(HOME))), (Customer.at("d"), SignUp(ana())), id="t")
    assert replies == (ana(), ana())
    assert await runtime.ask(People.at(), Row(), consistent=True)


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def clear_in(*places: bytes) -> list[str]:
    """Return what can be read in some places, be it by whoever can read base64."""
    hidden = [b64decode(text) for place in places for text in re.findall(rb'"sealed": ?"([^"]*)"', place)]
    return [secret for secret in (*SECRETS, SECRET.upper()) for place in (*places, *hidden) if secret.encode() in place]


async def test_nothing_is_stored_in_the_clear_on_sqlite(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    clock = ManualClock()
    keys = KeyFile(tmp_path / "trips.keys")
    async with Runtime(f"sqlite:{tmp_path / 'trips.db'}", ALL, keys=keys, clock=clock) as runtime:
        await everything(runtime, clock)
        files = {path.name: path.read_bytes() for path in files_in(tmp_path)}
        entries = [repr(entry) async for entry in runtime.history(CUSTOMER)]
        entries += [repr(entry) for entry in await runtime.trail(SAGA)]
        entries += [repr(await runtime.state_of(CUSTOMER)), repr(runtime.parked()), repr(runtime.dead_letters())]
    out = capsys.readouterr()
    views = [name for name in files if ".People-" in name]
    assert {"trips.db", "trips.db-wal", "trips.keys", "trips.keys-wal"} < files.keys()
    assert clear_in(*(files[name] for name in files if name not in views)) == []
    assert clear_in(*(files[name] for name in views))  # a read model is for reading
    assert clear_in(*(text.encode() for text in (*entries, caplog.text, out.out, out.err))) == []
    db = sqlite3.connect(tmp_path / "trips.db")
    ((data,),) = db.execute("select data from log where type = 'SignedUp' and position = 1").fetchall()
    db.close()
    assert json.loads(data)["email"].keys() == {"subject", "sealed"}
    assert json.loads(data)["email"]["subject"] == ANA


@postgres.needs_server
async def test_nothing_is_stored_in_the_clear_on_postgresql(tmp_path: Path) -> None:
    async with postgres.a_schema() as schema:
        clock = ManualClock()
        async with Runtime(postgres.url_of(schema), ALL, keys=KeyFile(tmp_path / "k"), clock=clock) as runtime:
            await everything(runtime, clock)
            await runtime.forget_subject(ANA)
            assert (await runtime.state_of(CUSTOMER)).email == (await runtime.state_of(CUSTOMER)).email
            assert await runtime.ask(People.at(), Row(), consistent=True) == [(ANA, None, None)]
        tables = await postgres.run(
            "select table_name as name from information_schema.tables where table_schema = $1 and table_type = $2",
            schema,
            "BASE TABLE",
        )
        assert len(tables) > 2
        dump = [str(await postgres.run(f'select * from "{schema}"."{table[0]}"')) for table in tables]
        assert any("sealed" in rows for rows in dump)
        assert clear_in(*(rows.encode() for rows in dump)) == []


async def test_a_restart_reads_all_of_it(tmp_path: Path) -> None:
    url, keys = f"sqlite:{tmp_path / 'trips.db'}", KeyFile(tmp_path / "trips.keys")
    clock = ManualClock()
    async with Runtime(url, ALL, keys=keys, clock=clock) as runtime:
        await everything(runtime, clock)
        before = await runtime.state_of(CUSTOMER)
        rows = await runtime.ask(People.at(), Row(), consistent=True)
    (view,) = [
        path for path in files_in(tmp_path) if ".People-" in path.name and path.name[-4:] not in ("-wal", "-shm")
    ]
    view.unlink()
    async with Runtime(url, ALL, keys=KeyFile(tmp_path / "trips.keys"), clock=clock) as runtime:
        assert await runtime.state_of(CUSTOMER) == before == Profile(ana(), ana(HOME), (ana(), ana()), "example.org")
        assert await runtime.ask(CUSTOMER, Use()) == len(SECRET)
        assert await runtime.ask(People.at(), Row(), consistent=True) == rows
        assert [one.command for one in await runtime.reminders(Mailer.at())] == [Send(ana())]


async def test_a_repeat_is_told_from_another_command_also_after_a_restart() -> None:
    """P3: the marks in fingerprints are equal for equal values, though what is sealed never is."""
    keys, journal = MemoryKeys(), HeldJournal()
    for _ in range(2):
        async with Runtime(journal, ALL, keys=keys) as runtime:
            for _ in range(2):
                assert (await runtime.ask(CUSTOMER, SignUp(ana(), ana(HOME)), id="1")).value == SECRET
                both = (CUSTOMER, SignUp(ana())), (Customer.at("d"), SignUp(ana()))
                assert await runtime.transact(*both, id="t") == (ana(), ana())
            for other in (SignUp(ana("x"), ana(HOME)), SignUp(ana()), SignUp(Personal(BOB, SECRET), ana(HOME))):
                with pytest.raises(CommandIdReused):
                    await runtime.ask(CUSTOMER, other, id="1")
            with pytest.raises(CommandIdReused):
                await runtime.transact((CUSTOMER, SignUp(ana("x"))), (Customer.at("d"), SignUp(ana())), id="t")
        journal = restart_of(journal.records)


async def test_a_fingerprint_does_not_tell_what_was_said() -> None:
    """Two systems with other keys have other fingerprints of the same command: nobody can try values until one fits."""
    found: set[bytes] = set()
    for _ in range(2):
        journal = HeldJournal()
        async with Runtime(journal, ALL, keys=MemoryKeys()) as runtime:
            await runtime.ask(CUSTOMER, SignUp(ana()), id="1")
        found.add(json.loads(journal.records[0].meta)["fingerprint"])
    assert len(found) == 2


class Keep(Command["Keeper", None]):
    what: Personal[Any]


class Kept(Event):
    what: Personal[Any]


class Shelf(State):
    what: Personal[Any] | None = None


class Keeper(Service[Shelf, Keep, Kept]):
    initial = Shelf()

    def decide(self, state: Shelf, command: Keep) -> Decision:
        return command.reply(None, Kept(command.what))

    def evolve(self, state: Shelf, event: Kept) -> Shelf:
        return Shelf(event.what)


texts = st.text(st.characters(codec="utf-8"), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(texts.filter(bool), json_values)
async def test_any_value_of_anybody_reads_back(subject: str, value: Any) -> None:
    keys, journal = MemoryKeys(), HeldJournal()
    async with Runtime(journal, [Keeper], keys=keys) as runtime:
        await runtime.ask(Keeper.at(), Keep(Personal(subject, value)), id="1")
    async with Runtime(restart_of(journal.records), [Keeper], keys=keys) as runtime:
        await runtime.ask(Keeper.at(), Keep(Personal(subject, value)), id="1")
        assert (await runtime.state_of(Keeper.at())).what == Personal(subject, value)
        await runtime.forget_subject(subject)
        found = (await runtime.state_of(Keeper.at())).what
        assert found is not None
        assert (found.subject, found.forgotten, found.get("?")) == (subject, True, "?")


@pytest.mark.parametrize(
    ("value", "why"),
    [(ana(7), "Expected `str`, got `int`"), (ana(float("nan")), "NaN"), (ana(object()), "unsupported")],
)
async def test_what_would_not_read_back_is_refused(value: Any, why: str) -> None:
    async with Runtime("memory:", ALL, keys=MemoryKeys()) as runtime:
        with pytest.raises(Failed, match=f"SignedUp can't be stored.*{why}") as failed:
            await runtime.ask(CUSTOMER, SignUp(value))
        assert SECRET not in str(failed.value)
        assert runtime.position == 0


async def test_a_nan_inside_is_found() -> None:
    async with Runtime("memory:", [Keeper], keys=MemoryKeys()) as runtime:
        with pytest.raises(Failed, match="JSON has no NaN"):
            await runtime.ask(Keeper.at(), Keep(Personal(ANA, [None, {"a": float("nan")}])))


# -- keys that are not there ---------------------------------------------------------------------------------------


def test_without_keys_a_class_that_holds_personal_data_is_refused_and_told_what_to_write() -> None:
    with pytest.raises(DefinitionError, match=r'Customer.* event SignedUp .* write Runtime\(\.\.\., keys=KeyFile\("'):
        Runtime("memory:", ALL)


class Tell(Command["Clerk", None]):
    what: Personal[str] | None


class Told(Event):
    what: Any


class Clerk(Service[State, Tell, Told]):
    """Its types don't say that it holds personal data."""

    initial = State()

    def decide(self, state: State, command: Tell) -> Decision:
        return command.reply(None, *([Told(command.what)] if command.what else []))

    def evolve(self, state: State, event: Told) -> State:
        return state


async def test_without_keys_a_message_is_refused_where_it_would_be_written() -> None:
    async with Runtime("memory:", [Clerk]) as runtime:
        await runtime.ask(Clerk.at(), Tell(None))
        for command_id in ("1", None):
            with pytest.raises(Failed, match=r"personal data of 'customer:7', and the runtime has no keys; write Run"):
                await runtime.ask(Clerk.at(), Tell(ana()), id=command_id)
        assert runtime.position == 0


async def test_other_keys_are_told_by_the_name_of_whose_they_lack(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'trips.db'}"
    async with Runtime(url, ALL, keys=KeyFile(tmp_path / "right.keys")) as runtime:
        await runtime.ask(CUSTOMER, SignUp(ana()), id="1")
    async with Runtime(url, ALL, keys=KeyFile(tmp_path / "wrong.keys")) as runtime:
        message = r"position 1\) can't be opened: the key \w+ of 'customer:7' is not in .*wrong\.keys, and was not dest"
        with pytest.raises(JournalMismatch, match=message) as missing:
            await runtime.state_of(CUSTOMER)
        assert isinstance(missing.value.__cause__, KeyMissing)
        with pytest.raises(Parked, match=message):
            await runtime.ask(CUSTOMER, Use())
    async with Runtime(url, ALL, keys=KeyFile(tmp_path / "right.keys")) as runtime:
        assert await runtime.ask(CUSTOMER, Use()) == len(SECRET)


async def test_two_runtimes_with_keys_of_their_own_pass_a_value_on() -> None:
    """Each seals it with its own keys; what one has forgotten can't be given to the other."""
    async with Runtime("memory:", ALL, keys=MemoryKeys()) as one, Runtime("memory:", ALL, keys=MemoryKeys()) as other:
        given = await one.ask(CUSTOMER, SignUp(ana()), id="1")
        await other.ask(CUSTOMER, SignUp(given), id="1")
        assert await one.state_of(CUSTOMER) == await other.state_of(CUSTOMER) == Profile(ana(), domain="example.org")
        mine = (await one.state_of(CUSTOMER)).email
        await one.forget_subject(ANA)
        assert mine is not None
        with pytest.raises(Failed, match="Forgotten: what was known of 'customer:7'"):
            await other.ask(CUSTOMER, SignUp(mine))


# -- damage --------------------------------------------------------------------------------------------------------


Email = dict[str, Any]


def with_sealed(data: bytes, change: Callable[[Email], Any]) -> bytes:
    fields = json.loads(data)
    fields["email"] = change(fields["email"])
    return json.dumps(fields).encode()


def flipped(email: Email) -> Email:
    sealed = email["sealed"]
    return email | {"sealed": sealed[:30] + ("A" if sealed[30] != "A" else "B") + sealed[31:]}


def cut(email: Email) -> Email:
    return email | {"sealed": email["sealed"][:16]}


def emptied(email: Email) -> Email:
    return email | {"sealed": ""}


def moved(email: Email) -> Email:
    return email | {"subject": BOB}


def no_base64(email: Email) -> Email:
    return email | {"sealed": "&"}


def added_to(email: Email) -> Email:
    return email | {"more": 1}


def written_plain(_: Email) -> str:
    return SECRET


def written_open(_: Email) -> Email:
    return {"subject": ANA, "value": SECRET}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        *[(change, JournalDamaged) for change in (flipped, cut, emptied, moved)],
        *[(change, JournalMismatch) for change in (no_base64, added_to, written_plain, written_open)],
    ],
)
async def test_a_sealed_value_that_is_damaged_stops_its_reader(
    change: Callable[[Email], Any], error: type[Exception]
) -> None:
    """P15. The journal's checksum finds what the disk has done; this finds what somebody has done."""
    keys, journal = MemoryKeys(), HeldJournal()
    async with Runtime(journal, ALL, keys=keys) as runtime:
        await runtime.ask(CUSTOMER, SignUp(ana()))
        await runtime.ask(Customer.at("bob"), SignUp(Personal(BOB, "x")))
    journal.records[0].data = with_sealed(journal.records[0].data, change)
    journal, clock = restart_of(journal.records), ManualClock()

    async def asked(address: Address[Any], message: Any, **more: Any) -> Any:
        """Ask, and let time pass until it is answered: who can't read tries again."""
        asking = asyncio.create_task(runtime.ask(address, message, **more))
        while not asking.done():
            await quiet(runtime)
            clock.advance(0.1)
        return await asking

    async with Runtime(journal, ALL, keys=keys, clock=clock) as runtime:
        where = r"event SignedUp at version 1 of stream Customer/c \(position 1\)"
        with pytest.raises(error, match=where) as found:
            await runtime.state_of(CUSTOMER)
        assert SECRET not in str(found.value)
        with pytest.raises(Parked, match=where):
            await asked(CUSTOMER, Use())
        with pytest.raises(Parked, match=where):
            await asked(People.at(), Row(), consistent=True)
        assert await runtime.ask(Customer.at("bob"), Use()) == 1
        report = await check_journal(journal, ALL, keys=keys)
        assert [problem.what for problem in report.problems] == ["SignedUp revision 1"]
        await runtime.forget_subject(ANA)
        if error is JournalDamaged and change is flipped:
            assert (await runtime.state_of(CUSTOMER)).email is not None  # nobody can tell any more


async def test_a_saga_whose_command_is_damaged_is_parked() -> None:
    keys, journal = MemoryKeys(), HeldJournal()
    async with Runtime(journal, ALL, keys=keys, clock=ManualClock()) as runtime:
        await runtime.tell(SAGA, Welcome(ana()))
        await quiet(runtime)
    first = journal.records[0]
    fields = json.loads(first.data)
    fields["command"]["email"] = flipped(fields["command"]["email"])
    first.data = json.dumps(fields).encode()
    async with Runtime(restart_of(journal.records), ALL, keys=keys, clock=ManualClock()) as runtime:
        with pytest.raises(Parked, match="JournalDamaged: a sealed value of 'customer:7' is damaged"):
            await runtime.result(SAGA)


# -- checks --------------------------------------------------------------------------------------------------------


async def test_a_check_opens_what_it_has_keys_for_and_takes_what_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "trips.keys"
    clock = ManualClock()
    async with Runtime(f"sqlite:{tmp_path / 'trips.db'}", ALL, keys=KeyFile(path), clock=clock) as runtime:
        await everything(runtime, clock)
        await runtime.tell(WelcomeSaga.at("open"), Welcome(ana()))
        await quiet(runtime)
        await runtime.ask(Customer.at("bob"), SignUp(Personal(BOB, "x")))
        await runtime.forget_subject(BOB)
    journal, keys, others = SqliteJournal(tmp_path / "trips.db"), KeyFile(path), MemoryKeys()
    await journal.open()
    await keys.open()
    for given_keys in (keys, None):
        report = await check_journal(journal, ALL, keys=given_keys)
        assert report.ok, str(report)
    report = await check_journal(journal, ALL, keys=others)
    assert {problem.what for problem in report.problems} > {"SignedUp revision 1", "command that it began with"}
    assert "of 'customer:7' is not in" in str(report)
    await keys.close()
    await journal.close()


class Tree(State):
    """A class within itself."""

    branches: list["Tree"] = []
    leaf: int | None = None


class Fruit(State):
    tree: Tree
    sweet: dict[str, tuple[Personal[Tree] | None, int]]


def test_a_type_that_may_hold_personal_data_is_known() -> None:
    assert holds_personal(SignedUp)
    assert holds_personal(Fruit)
    assert not holds_personal(Tree)
