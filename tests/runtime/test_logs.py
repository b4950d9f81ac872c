"""The log names actors, types and ids, and never holds what is in a message."""

import asyncio
import logging
from collections.abc import Generator, Iterator
from datetime import timedelta
from typing import Any, ClassVar, assert_never

import pytest

from actors import (
    Actor,
    Backoff,
    Command,
    Decision,
    Event,
    Mailbox,
    Message,
    Meta,
    Parked,
    Query,
    ReadModel,
    Refused,
    RestartPolicy,
    RetryPolicy,
    Saga,
    Service,
    State,
    Statement,
    sql,
)
from runtime import ManualClock, Runtime
from runtime.instruments import BaseInstrument
from tests.runtime.tools import HeldJournal, comes, quiet, restart_of

SECRET = "s3cr3t"
SOON = RetryPolicy(Backoff(timedelta(seconds=1), jitter=0.0), budget=timedelta(seconds=5))
ONCE = RestartPolicy(restarts=1, backoff=Backoff(timedelta(seconds=1), jitter=0.0))


class Receipt(Message):
    text: str


class Stored(Event):
    text: Any


class Removed(Event):
    text: str


class Store(Command["Vault", Receipt]):
    text: str


class Remove(Command["Vault", None]):
    text: str


class Contents(State):
    texts: tuple[Any, ...] = ()


class Vault(Service[Contents, Store | Remove, Stored | Removed]):
    """Does what its key says."""

    initial = Contents()
    restart = ONCE
    mailbox = Mailbox(limit=1, overflow="drop")
    down: ClassVar[bool] = False

    def decide(self, state: Contents, command: Store | Remove) -> Decision:
        match command:
            case Store() if self.key == "refuses":
                raise Refused("it is full")
            case Store() if Vault.down and self.key == "fails":
                raise ConnectionError("no power")
            case Store() if self.key == "returns rubbish":
                return command  # type: ignore[return-value] # pyright: ignore[reportReturnType]
            case Store(text) if self.key == "can't be stored":
                return command.reply(Receipt(text), Stored((text, {1, 2}, text)))
            case Store(text) if self.key == "reads back as another":
                return command.reply(Receipt([text]))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
            case Store(text):
                return command.reply(Receipt(text), Stored(text))
            case Remove():
                if self.key == "keeps":
                    raise Refused("it is closed")
                return command.reply(None, Removed(command.text))
            case _:
                assert_never(command)

    def evolve(self, state: Contents, event: Stored | Removed) -> Contents:
        return Contents((*state.texts, event.text))


class Carried(Message):
    text: str


class Carry(Command["Courier", Carried]):
    vaults: list[str]
    text: str


class Odd:
    """Something that a saga can await and that is no step."""

    def __init__(self, what: object) -> None:
        self.what = what

    def __await__(self) -> Generator[object, None, None]:
        yield (self.what, self.what)


class Courier(Saga[Carry, Carried]):
    retry = SOON
    undo_retry = SOON
    spelled: ClassVar[str] = ""

    async def run(self, command: Carry) -> Carried:
        for vault in command.vaults:
            text = command.text + Courier.spelled
            await self.ask(vault, Vault.at(vault), Store(text), undo=Remove(text))
        if command.vaults == ["waits for nothing"]:
            await Odd(command)
        return Carried(command.text)


class Say(Command["Clerk", str]):
    text: str
    how: str = ""


class Clerk(Actor):
    restart = ONCE

    def receive(self, message: Say) -> str:
        if message.how == "slow":
            Clerk.clock.advance(1)
        if message.how == "fails":
            raise ConnectionError("no line")
        return message.text

    clock: ClassVar[ManualClock]


class Write(Command["AsyncClerk", str]):
    text: str
    how: str = ""


class AsyncClerk(Actor):
    restart = ONCE

    async def receive(self, message: Write) -> str:
        if message.how == "hangs":
            await asyncio.Event().wait()
        if message.how == "fails":
            raise ConnectionError("no line")
        return message.text

    async def stopped(self) -> None:
        raise ConnectionError("no way out")


class Texts(Query["Shelf", list[str]]):
    pass


class Shelf(ReadModel):
    schema = "create table text (text text unique)"
    parked_limit = 2
    retry = RetryPolicy(Backoff(timedelta(seconds=1), jitter=0.0), budget=timedelta(0))

    def project(self, event: Stored, meta: Meta) -> Iterator[Statement]:
        yield sql("insert into text values (?)", event.text)

    async def answer(self, db: Any, query: Texts) -> list[str]:
        return []


ACTORS: list[type] = [Vault, Courier, Clerk, AsyncClerk, Shelf]


class Broken(BaseInstrument):
    def sent(self, *args: object) -> None:
        raise RuntimeError("a broken gauge")


async def trouble(runtime: Runtime, clock: ManualClock, journal: HeldJournal) -> None:
    """Let everything go wrong that can."""

    async def ask(key: str) -> None:
        asked = asyncio.ensure_future(runtime.ask(Courier.at(key.replace(" ", "-")), Carry(key.split(","), SECRET)))
        await quiet(runtime)
        for _ in range(10):
            clock.advance(1)
            await quiet(runtime)
        await asyncio.gather(asked, return_exceptions=True)

    await ask("fine")
    await ask("fine,refuses")
    await ask("keeps,refuses")
    await ask("waits for nothing")
    Vault.down = True
    await ask("fails")
    Vault.down = False
    for key in ("refuses", "returns rubbish", "can't be stored", "reads back as another"):
        clock.advance(11)  # what happens often is told once a burst
        await runtime.tell(Vault.at(key), Store(SECRET), id=f"id of {key}")
        await quiet(runtime)
    for _ in range(3):
        await runtime.tell(Vault.at("crowded"), Store(SECRET))
    for how in ("", "slow", "fails", "fails", "parked by now"):
        await runtime.tell(Clerk.at(), Say(SECRET, how))
        await runtime.tell(AsyncClerk.at(), Write(SECRET, how))
        await quiet(runtime)
        clock.advance(2)
        await quiet(runtime)
    await runtime.tell(AsyncClerk.at("stops"), Write(SECRET))
    await quiet(runtime)
    hung = asyncio.ensure_future(runtime.ask(AsyncClerk.at("hung"), Write(SECRET, "hangs")))
    await comes(lambda: runtime.stats().actors["AsyncClerk"].turns >= 6)
    await runtime.kill(AsyncClerk.at("hung"))
    await runtime.kill(Vault.at("fine"))
    hung.cancel()
    await asyncio.gather(hung, return_exceptions=True)
    with pytest.raises(Parked):
        await runtime.ask(Shelf.at(), Texts(), consistent=True)
    journal.fail = ["before"]
    await asyncio.gather(runtime.ask(Vault.at("fine"), Store(SECRET)), return_exceptions=True)
    await quiet(runtime)


async def test_no_log_record_holds_what_is_in_a_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "understudy")
    clock, journal = Clerk.clock, HeldJournal()
    Courier.spelled = ""
    async with Runtime(journal, ACTORS, clock=clock, instruments=[Broken()], shutdown_timeout=0.1) as runtime:
        await trouble(runtime, clock, journal)
    begun = next(n for n, record in enumerate(journal.records) if record.type == "saga.asked")
    Courier.spelled = "!"
    async with Runtime(restart_of(journal.records[: begun + 1]), ACTORS, clock=clock) as runtime:
        with pytest.raises(Parked, match="fields that differ: text"):
            await runtime.result(Courier.at("fine"))
    records = [record for record in caplog.records if record.name == "understudy"]
    leaks = [record.getMessage() for record in records if SECRET in f"{record.getMessage()} {vars(record)}"]
    assert leaks == []
    told = {record.getMessage().split("'")[1] for record in records}
    assert told >= {
        "actor crashed",
        "actor parked",
        "saga parked",
        "dead letter",
        "slow turn",
        "event set aside",
        "read model parked",
        "an instrument failed, and is not called again",
        "the journal could not be written",
        "actor failed at its end",
    }, told
    # What went wrong is named with the actor and the type of the message, so it can be found.
    text = "\n".join(record.getMessage() for record in records)
    for what in ("which is no step", "as another value", "would not read back", "must return command.reply"):
        assert what in text
    for name in ("Vault/refuses", "Courier/keeps,refuses", "message='Store'", "Clerk", "Shelf"):
        assert name in text


@pytest.fixture(autouse=True)
def own_clock() -> None:
    Clerk.clock = ManualClock()


def test_the_marker_would_be_seen(caplog: pytest.LogCaptureFixture) -> None:
    """The check itself: a payload that is logged shows."""
    logging.getLogger("understudy").warning("%r", Store(SECRET))
    assert SECRET in caplog.records[0].getMessage()
