"""A person is forgotten everywhere when the key is destroyed, and nobody else is."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from actors import Address, CommandIdReused, Event, Failed, Forgotten, Personal, Refused, Service, upcast
from persistence import KeysUnusable, MemoryKeys, SqliteJournal
from persistence.sqlite_view import SqliteView
from runtime import KeyFile, ManualClock, Runtime
from tests import postgres
from tests.extras import need
from tests.runtime.houses import CUSTOMER, DAY, GONE, SAGA, ana, told, view_in
from tests.runtime.people import (
    ALL,
    ANA,
    BOB,
    SECRET,
    SECRETS,
    Customer,
    Domain,
    Greet,
    Greeted,
    Home,
    Mailer,
    Nudge,
    People,
    Profile,
    Row,
    Send,
    SignedOff,
    SignUp,
    Use,
    Welcome,
)
from tests.runtime.tools import HeldJournal, node_of, quiet, restart_of

need("cryptography")
HOME = Home(SECRETS[1], [SECRETS[2]])


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=postgres.needs_server)])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path / 'trips.db'}"
    else:
        async with postgres.a_schema() as schema:
            yield f"{postgres.url_of(schema)}&views={tmp_path}"


def personal_in(value: Any) -> list[Personal[Any]]:
    if isinstance(value, Personal):
        return [value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, tuple | list):
        return [found for part in value for found in personal_in(part)]  # pyright: ignore[reportUnknownVariableType]
    fields: Sequence[str] = getattr(value, "__struct_fields__", ())
    return [found for name in fields for found in personal_in(getattr(value, name))]


async def all_of(runtime: Runtime) -> list[Personal[Any]]:
    """Return every personal value of Ana's that the journal holds and today's classes read."""
    found: list[Personal[Any]] = []
    streams: list[Address[Any]] = [CUSTOMER, SAGA]
    for address in streams:
        found += [one async for entry in runtime.history(address) for one in personal_in(entry.event)]
    for entry in await runtime.trail(SAGA):
        found += personal_in(entry.event)
    found += personal_in(await runtime.state_of(CUSTOMER))
    reminded: list[Address[Any]] = [CUSTOMER, Mailer.at()]
    for address in reminded:
        found += [one for reminder in await runtime.reminders(address) for one in personal_in(reminder.command)]
    found += personal_in(await runtime.result(SAGA))
    found += personal_in(await runtime.ask(CUSTOMER, Greet(), id="greet"))
    return [one for one in found if one.subject == ANA]


async def lived(runtime: Runtime, clock: ManualClock) -> None:
    await runtime.ask(CUSTOMER, SignUp(ana(), ana(HOME)), id="1")
    await runtime.ask(CUSTOMER, Greet(), id="greet")
    await runtime.tell(SAGA, Welcome(ana()))
    await quiet(runtime)
    clock.advance(DAY.total_seconds())
    await runtime.result(SAGA)
    await runtime.ask(CUSTOMER, Nudge(ana(), DAY))
    await runtime.remind(Mailer.at(), "far", Send(ana()), after=2 * DAY)
    await runtime.ask(Customer.at("bob"), SignUp(Personal(BOB, "bob@example.org")))


async def test_after_the_key_is_destroyed_it_is_forgotten_in_every_place(url: str, tmp_path: Path) -> None:
    clock = ManualClock()
    rows: list[Any] = []
    for age in ("live", "restarted", "rebuilt"):
        async with Runtime(url, ALL, keys=KeyFile(tmp_path / "trips.keys"), clock=clock) as runtime:
            if age == "live":
                await lived(runtime, clock)
                before = await all_of(runtime)
                assert len(before) > 12
                assert not any(one.forgotten for one in before)
                await runtime.forget_subject(ANA)
                assert all(one.forgotten for one in before)  # what a caller has in hand, too
            assert await told(runtime) == [ANA]
            found = await all_of(runtime)
            assert len(found) > 12
            for one in found:
                assert (one.forgotten, one.get()) == (True, None)
                with pytest.raises(Forgotten):
                    one.value  # noqa: B018
            with pytest.raises(Failed, match=GONE):
                await runtime.ask(CUSTOMER, Use())
            assert await runtime.ask(CUSTOMER, Domain()) == ""  # what was made of it has left the memory
            assert await runtime.ask(Customer.at("bob"), Use()) == len("bob@example.org")
            rows.append(await runtime.ask(People.at(), Row(), consistent=True))
        if age == "restarted":
            view_in(tmp_path).unlink()
    assert rows == [[(ANA, None, None), (BOB, "bob@example.org", None)]] * 3  # P7: rebuilt, it is equal to the live one


async def test_no_file_holds_a_byte_of_it(tmp_path: Path) -> None:
    """Read models follow the event, and leave no copy of what they have blanked."""
    clock = ManualClock()
    async with Runtime(
        f"sqlite:{tmp_path / 'trips.db'}", ALL, keys=KeyFile(tmp_path / "trips.keys"), clock=clock
    ) as runtime:
        await lived(runtime, clock)
        await runtime.ask(People.at(), Row(), consistent=True)
        assert SECRET.encode() in b"".join(path.read_bytes() for path in files_in(tmp_path))
        await runtime.forget_subject(ANA)
        await cleaned(runtime)
        held = {path.name: path.read_bytes() for path in files_in(tmp_path)}
    assert [(name, secret) for name, data in held.items() for secret in SECRETS if secret.encode() in data] == []
    assert any(b"bob@example.org" in data for data in held.values())


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def version_of(path: Path) -> int:
    db = sqlite3.connect(path)
    ((version,),) = db.execute("pragma user_version").fetchall()
    db.close()
    return int(version)


async def cleaned(runtime: Runtime) -> None:
    """Wait until the read model has left no copy of what it has blanked."""
    await runtime.ask(People.at(), Row(), consistent=True)
    while node_of(runtime).projectors["People"].view.unclean:  # noqa: ASYNC110 (nobody is told when)
        await asyncio.sleep(0)


async def test_a_read_model_that_died_before_it_was_clean_is_cleaned_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: SqliteView) -> None:
        raise sqlite3.OperationalError("the disk is full")

    url = f"sqlite:{tmp_path / 'trips.db'}"
    with monkeypatch.context() as patch:
        patch.setattr(SqliteView, "clean", broken)
        async with Runtime(url, ALL, keys=KeyFile(tmp_path / "k")) as runtime:
            await runtime.ask(CUSTOMER, SignUp(ana()))
            await runtime.forget_subject(ANA)
            assert await runtime.ask(People.at(), Row(), consistent=True) == [(ANA, None, None)]
            assert not runtime.parked()
    assert version_of(view_in(tmp_path)) == 1  # its mark of what is to be cleaned
    async with Runtime(url, ALL, keys=KeyFile(tmp_path / "k")) as runtime:
        assert await runtime.ask(People.at(), Row(), consistent=True) == [(ANA, None, None)]
        await cleaned(runtime)
    assert version_of(view_in(tmp_path)) == 0


# -- again and again ----------------------------------------------------------------------------------------------


async def test_forgetting_again_changes_nothing_and_nobody_may_be_forgotten() -> None:
    async with Runtime("memory:", ALL, keys=MemoryKeys()) as runtime:
        await runtime.ask(CUSTOMER, SignUp(ana()))
        await asyncio.gather(*(runtime.forget_subject(ANA) for _ in range(5)))
        await runtime.forget_subject(ANA)
        await runtime.forget_subject("nobody")
        assert await told(runtime) == [ANA]


async def test_a_person_who_comes_back_has_a_new_key_and_the_old_data_stays_gone(tmp_path: Path) -> None:
    url, path = f"sqlite:{tmp_path / 'trips.db'}", tmp_path / "trips.keys"
    async with Runtime(url, ALL, keys=KeyFile(path)) as runtime:
        old = ana("old")
        await runtime.ask(CUSTOMER, SignUp(old), id="1")
        await runtime.forget_subject(ANA)
        with pytest.raises(CommandIdReused):  # nobody can tell any more whether it is the same
            await runtime.ask(CUSTOMER, SignUp(ana("old")), id="1")
        await runtime.ask(CUSTOMER, SignUp(old), id="2")  # an old value that somebody still has brings nothing back
        assert (await runtime.ask(CUSTOMER, SignUp(ana("new")), id="3")).value == "new"
    async with Runtime(url, ALL, keys=KeyFile(path)) as runtime:
        events = [entry.event.email async for entry in runtime.history(CUSTOMER)]
        assert [email.get() for email in events] == [None, None, "new"]
        assert await runtime.ask(People.at(), Row(), consistent=True) == [(ANA, "new", None)]
        await runtime.forget_subject(ANA)
        assert await told(runtime) == [ANA, ANA]
        assert await runtime.ask(People.at(), Row(), consistent=True) == [(ANA, None, None)]


async def test_without_keys_there_is_nothing_to_forget() -> None:
    async with Runtime("memory:", []) as runtime:
        with pytest.raises(KeysUnusable, match=r"no keys to destroy; write Runtime\(\.\.\., keys=KeyFile"):
            await runtime.forget_subject(ANA)


class Reached(Event):
    contact: Personal[str]
    kind: str


@upcast("SignedUp", 1, into={"Reached": 1})
def reached(fields: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "Reached", {"contact": fields["email"], "kind": "email"}


class NewCustomer(Service[Profile, SignUp | Greet, Reached | Greeted | SignedOff]):
    initial = Profile()
    upcasts = (reached,)

    def decide(self, state: Profile, command: SignUp | Greet) -> Any:
        raise Refused("")

    def evolve(self, state: Profile, event: Reached | Greeted | SignedOff) -> Profile:
        return Profile(event.contact) if isinstance(event, Reached) else state


NewCustomer.__name__ = "Customer"


# -- as classes change --------------------------------------------------------------------------------------------


async def test_an_upcast_moves_what_is_sealed() -> None:
    keys, journal = MemoryKeys(), HeldJournal()
    async with Runtime(journal, ALL, keys=keys) as runtime:
        await runtime.ask(CUSTOMER, SignUp(ana()))
    address: Address[NewCustomer] = Address("Customer", "c")
    async with Runtime(restart_of(journal.records), [NewCustomer], keys=keys) as runtime:
        assert (await runtime.state_of(address)).email == ana()
        await runtime.forget_subject(ANA)
        email = (await runtime.state_of(address)).email
        assert email is not None
        assert email.forgotten


WITHOUT = """
import sys
sys.modules["cryptography"] = None
from actors import Personal
from persistence import KeysUnusable
from persistence.sqlite_view import SqliteView
from runtime import KeyFile, MemoryKeys, Runtime
Runtime("memory:", [])
KeyFile("a.keys")
for make in (lambda: Runtime("memory:", [], keys=MemoryKeys()), lambda: KeyFile("a.keys", bytes(32))):
    try:
        make()
    except KeysUnusable as error:
        print(error)
"""


# -- without cryptography -----------------------------------------------------------------------------------------


def test_all_else_works_without_the_extra() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == "personal data is encrypted by cryptography: pip install 'understudy[encryption]'\n" * 2


async def test_a_snapshot_holds_it_sealed_and_forgets_it(tmp_path: Path) -> None:
    keys = tmp_path / "trips.keys"
    async with Runtime(f"sqlite:{tmp_path}/trips.db", ALL, keys=KeyFile(keys)) as runtime:
        await runtime.ask(CUSTOMER, SignUp(ana()))
        await runtime.snapshot(CUSTOMER)
    journal = SqliteJournal(tmp_path / "trips.db")
    await journal.open()
    snapshot = (await journal.snapshots([("Customer", "c")]))[("Customer", "c")]
    await journal.close()
    assert snapshot.data is not None
    assert b"sealed" in snapshot.data
    assert SECRET.encode() not in (tmp_path / "trips.db").read_bytes()
    async with Runtime(f"sqlite:{tmp_path}/trips.db", ALL, keys=KeyFile(keys)) as runtime:
        assert (await runtime.ask(CUSTOMER, Greet())).to.value == SECRET
        await runtime.forget_subject(ANA)
        assert (await runtime.ask(CUSTOMER, Greet())).to.forgotten
    async with Runtime(f"sqlite:{tmp_path}/trips.db", ALL, keys=KeyFile(keys)) as runtime:
        assert (await runtime.ask(CUSTOMER, Greet())).to.forgotten
