"""Commands, queries and kills, all at once: what is strong has one order in real time, what is eventual was so once.

Registers that many clients write, compare and read while actors are killed and the journal fails now and then. Strong:
commands, and queries with ``consistent=True`` or behind a position that was seen. Eventual: what a query says was so
once, and no query goes back behind an earlier one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any, assert_never

import pytest

from actors import (
    Command,
    Decision,
    Event,
    Failed,
    Meta,
    OutcomeUnknown,
    Parked,
    Query,
    ReadModel,
    ReadModelBehind,
    Refused,
    RestartPolicy,
    Service,
    State,
    Statement,
    sql,
)
from persistence import Batch, Journal, SqliteJournal
from runtime import Chaos, Runtime
from tests.linearizability import Operation, Unknown, linearization
from tests.runtime.tools import HeldJournal

KEYS, CLIENTS, EACH = 3, 6, 25


class Written(Event):
    value: int


class Write(Command["Register", None]):
    value: int


class Swap(Command["Register", None]):
    """Writes ``value`` where ``expected`` stands; refused elsewhere."""

    expected: int
    value: int


class Read(Command["Register", int]):
    """A strong read, by the actor itself."""


class Content(State):
    value: int = 0


class Register(Service[Content, Write | Swap | Read, Written]):
    initial = Content()
    restart = RestartPolicy(restarts=100_000)

    def decide(self, state: Content, command: Write | Swap | Read) -> Decision:
        match command:
            case Write(value):
                return command.reply(None, Written(value))
            case Swap(expected, _) if expected != state.value:
                raise Refused(f"it is {state.value}")
            case Swap(_, value):
                return command.reply(None, Written(value))
            case Read():
                return command.reply(state.value)
            case _:
                assert_never(command)

    def evolve(self, state: Content, event: Written) -> Content:
        return Content(event.value)


class Shown(Query["Registers", tuple[int, int]]):
    """The value of a register and its version; (0, 0) where there is none."""

    key: str


class Registers(ReadModel):
    schema = "create table register (key text primary key, value integer, version integer)"

    def project(self, event: Written, meta: Meta) -> Iterator[Statement]:
        yield sql("insert or replace into register values (?, ?, ?)", meta.key, event.value, meta.version)

    async def answer(self, db: Any, query: Shown) -> tuple[int, int]:
        async with db.execute("select value, version from register where key = ?", (query.key,)) as rows:
            found = await rows.fetchone()
        return (0, 0) if found is None else (found[0], found[1])


def register(state: int, request: Any, result: Any) -> tuple[bool, int]:
    """What a register does, for the checker."""
    match request:
        case Write(value):
            return True, value
        case Swap(expected, value):
            swapped = expected == state
            return result is Unknown or (result == "refused") is not swapped, value if swapped else state
        case _:
            return result is Unknown or result == state, state


class Clients:
    """Those who write and read, and what they have seen."""

    def __init__(self, runtime: Runtime, seed: int) -> None:
        self._runtime = runtime
        self._random = Random(seed)
        self.strong: dict[str, list[Operation]] = defaultdict(list)
        self.eventual: dict[str, list[tuple[float, float, int, int]]] = defaultdict(list)
        """When each query was sent and answered, and the value and version that it saw."""
        self._values = iter(range(1, 1_000_000))

    async def run(self, client: int) -> None:
        for n in range(EACH):
            key = str(self._random.randrange(KEYS))
            match self._random.randrange(6):
                case 0:
                    await self._eventual(key)
                case 1:
                    await self._consistent(key, consistent=True)
                case 2:
                    await self._consistent(key, after=self._runtime.position)
                case choice:
                    await self._command(key, choice, f"{client}/{n}")

    async def _command(self, key: str, choice: int, command_id: str) -> None:
        known = next((one.result for one in reversed(self.strong[key]) if isinstance(one.result, int)), 0)
        commands: tuple[Any, ...] = (Write(next(self._values)), Swap(known, next(self._values)), Read())
        operation = Operation(commands[choice - 3], perf_counter())
        self.strong[key].append(operation)
        for _ in range(self._random.randrange(1, 3)):  # who doesn't know asks again, or gives up
            try:
                operation.result = await self._runtime.ask(Register.at(key), operation.request, id=command_id)
            except Refused:
                operation.result = "refused"
            except (OutcomeUnknown, Failed, Parked):
                continue
            operation.answered = perf_counter()
            return

    async def _consistent(self, key: str, **how: Any) -> None:
        operation = Operation(Shown(key), perf_counter())
        try:
            value, _ = await self._runtime.ask(Registers.at(), Shown(key), **how)
        except (OutcomeUnknown, Parked, ReadModelBehind):
            return
        operation.result, operation.answered = value, perf_counter()
        self.strong[key].append(operation)

    async def _eventual(self, key: str) -> None:
        sent = perf_counter()
        value, version = await self._runtime.ask(Registers.at(), Shown(key))
        self.eventual[key].append((sent, perf_counter(), value, version))

    async def check(self) -> None:
        for history in self.strong.values():
            assert linearization(history, register, 0) is not None, history
        for key, seen in self.eventual.items():
            past = {0: 0}
            async for entry in self._runtime.history(Register.at(key)):
                event, version = entry.event, entry.meta.version
                past[version] = event.value if isinstance(event, Written) else past[version - 1]
            for sent, _, value, version in seen:
                assert past[version] == value
                earlier = [before for _, answered, _, before in seen if answered < sent]
                assert version >= max(earlier, default=0), "a read went back in time"


class Failing(HeldJournal):
    """A journal of which every tenth append or so fails, before or after it is written; now and then two in a row."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = Random(seed)
        self.failed = 0

    async def append(self, batches: Sequence[Batch]) -> int:
        if not self.fail and self._random.random() < 0.1:
            self.failed += 1
            self.fail += self._random.choices(["before", "after"], k=self._random.randrange(1, 3))
        return await super().append(batches)


async def play(journal: Journal, seed: int) -> Chaos:
    chaos = Chaos(seed, kill=0.05)
    async with Runtime(journal, [Register, Registers], chaos=chaos) as runtime:
        clients = Clients(runtime, seed)

        async with asyncio.TaskGroup() as group:
            for client in range(CLIENTS):
                group.create_task(clients.run(client))
        await clients.check()
    return chaos


@pytest.mark.parametrize("seed", range(8))
async def test_with_kills(seed: int) -> None:
    assert (await play(HeldJournal(), seed)).kills


@pytest.mark.parametrize("seed", range(8))
async def test_with_kills_and_a_journal_that_fails(seed: int) -> None:
    journal = Failing(seed)
    await play(journal, seed)
    assert journal.failed


@pytest.mark.parametrize("seed", range(3))
async def test_on_sqlite(seed: int, tmp_path: Path) -> None:
    assert (await play(SqliteJournal(tmp_path / "registers.db"), seed)).kills
