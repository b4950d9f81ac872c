"""Services whose locks the tests take, and stand-ins for sagas that take them."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, ClassVar, assert_never

from actors import (
    Address,
    Command,
    Decision,
    Event,
    Meta,
    Query,
    ReadModel,
    Refused,
    RestartPolicy,
    Saga,
    Service,
    ServiceLocked,
    ServiceUnlocked,
    State,
    Statement,
    Step,
    sql,
)
from actors.locks import WhenLocked
from persistence import Record, Stream
from runtime import Runtime
from runtime.lock_mail import Unlock
from runtime.mailbox import Envelope
from runtime.service_cell import ServiceCell
from tests.runtime.tools import ENDS, check_once, content, node_of, quiet


class Wrote(Event):
    line: str
    who: str


class Tore(Event):
    line: str


class Write(Command["Page", int]):
    """Write a line; the reply is how many there are. One that says "no" is refused."""

    line: str
    who: str = ""


class Tear(Command["Page", None]):
    """Take a line back."""

    line: str


class Later(Command["Page", None]):
    """Needs no lock, and has a line written in so many seconds."""

    line: str
    seconds: float = 1.0


class Read(Command["Page", tuple[str, ...]]):
    """Needs no lock, and changes nothing."""


class Nod(Command["Page", None]):
    """Needs the lock of a line, and changes nothing."""

    line: str


class Whom(Command["Page", tuple[str, ...]]):
    """Who holds the lock of a line?"""

    line: str


class Lines(State):
    lines: tuple[str, ...] = ()


class Page(Service[Lines, Write | Tear | Later | Read | Nod | Whom, Wrote | Tore]):
    """Each line has a lock, named by its first word; what is under way is refused."""

    initial = Lines()
    restart = RestartPolicy(restarts=0)
    when_locked: ClassVar[WhenLocked] = "refuse"

    def lock_of(self, command: Write | Tear | Later | Read | Nod | Whom) -> str | None:
        if isinstance(command, Later | Read | Whom):
            return None
        return command.line.split()[0]

    def decide(self, state: Lines, command: Write | Tear | Later | Read | Nod | Whom) -> Decision:
        match command:
            case Write(line) if "no" in line.split():
                raise Refused("no")
            case Write(line, who) if self.when_locked == "tell" and "if free" in line:
                if self.locked_by.get(line.split()[0]):
                    raise Refused(f"taken by {', '.join(map(str, self.locked_by[line.split()[0]]))}")
                return command.reply(len(state.lines) + 1, Wrote(line, who))
            case Write(line, who) if "unique" in line:
                reply = command.reply(len(state.lines) + 1, Wrote(line, who))
                return reply.unless(f"{line} is there", Wrote, tags=[line])
            case Write(line, who):
                return command.reply(len(state.lines) + 1, Wrote(line, who))
            case Later(line, seconds):
                return command.reply(None).remind("later", Write(line, "later"), after=timedelta(seconds=seconds))
            case Tear(line):
                return command.reply(None, Tore(line))
            case Read():
                return command.reply(state.lines)
            case Nod():
                return command.reply(None)
            case Whom(line):
                return command.reply(tuple(map(str, self.locked_by.get(line, ()))))
            case _:
                assert_never(command)

    def tags(self, event: Wrote | Tore) -> tuple[str, ...]:
        return (event.line,)

    def evolve(self, state: Lines, event: Wrote | Tore) -> Lines:
        match event:
            case Wrote(line):
                return Lines((*state.lines, line))
            case Tore(line):
                return Lines(tuple(one for one in state.lines if one != line))
            case _:
                assert_never(event)


class Queued(Page):
    """What is under way lets others wait."""

    when_locked = "queue"


class Told(Page):
    """What is under way is told to others."""

    when_locked = "tell"


A, B, C, D = (Address[Any]("Tale", key) for key in "abcd")
"""Sagas, as far as a service knows of them."""


def step(
    runtime: Runtime,
    at: Address[Any],
    command: Command[Any, Any],
    *path: Address[Any],
    name: str = "step",
    lock: bool = True,
    undoes: str | None = None,
) -> "asyncio.Future[Any]":
    """Send a command as the last of these sagas would as a step of its own; return what becomes of it."""
    node = node_of(runtime)
    promise = node.promises.make(at, command)
    mark = "!" if undoes else "#"
    undone = None if undoes is None else f"{path[-1]}#{undoes}"
    command_id = f"{path[-1]}{mark}{undoes or name}"
    node.cell(at).put_from_inside(Envelope(command, command_id, promise, path=path, undoes=undone, lock=lock))
    return promise.future


def release(
    runtime: Runtime, at: Address[Any], saga: Address[Any], *unsettled: str, lane: str = "post"
) -> "asyncio.Future[Any]":
    """Give back what a saga holds, as it does when it has ended."""
    node = node_of(runtime)
    message = Unlock(saga, unsettled=tuple(f"{saga}#{one}" for one in unsettled))
    promise = node.promises.make(at, message)
    getattr(node.cell(at), lane)(Envelope(message, None, promise))
    return promise.future


class Tell(Command["Tale", int]):
    """Write a line on each of these pages, and hold the lock of its first word meanwhile."""

    pages: list[str]
    line: str = "one"
    of: str = "Queued"
    nap: float = 0.0
    """Seconds to sleep after each."""
    at_once: bool = False
    ends: str = "well"
    lock: bool = True


class Tale(Saga[Tell, int]):
    """The line that it writes is known by its key, so that an effect that came twice, or stays, shows."""

    async def run(self, command: Tell) -> int:
        steps = [self._write(command, page) for page in command.pages]
        if command.at_once:
            await self.parallel(*steps)
        else:
            for step in steps:
                await step
                if command.nap:
                    await self.sleep(f"after {step.name}", timedelta(seconds=command.nap))
        if command.ends != "well":
            raise Refused(command.ends)
        return len(command.pages)

    def _write(self, command: Tell, page: str) -> Step[int]:
        line = f"{command.line} {self.key}"
        to: Address[Page] = Address(command.of, page)
        return self.ask(page, to, Write(line, f"Tale/{self.key}"), undo=Tear(line), lock=command.lock)


class Collect(Command["Anthology", int]):
    """Write a line on each page of one's own, then have these tales told, all at once."""

    pages: list[str]
    tales: list[Tell]
    ends: str = "well"


class Anthology(Saga[Collect, int]):
    """Its tales have its key before theirs."""

    async def run(self, command: Collect) -> int:
        line = f"one {self.key}"
        for page in command.pages:
            to = Queued.at(page)
            await self.ask(page, to, Write(line, f"Anthology/{self.key}"), undo=Tear(line), lock=True)
        told = [self.ask(f"t{n}", Tale.at(f"{self.key}.{n}"), tale) for n, tale in enumerate(command.tales)]
        count = sum(await self.parallel(*told))
        if command.ends != "well":
            raise Refused(command.ends)
        return count


class HeldOn(Query["Pending", list[tuple[str, str, str]]]):
    """What is pending, on which page."""


class Pending(ReadModel):
    """A page that shows what is pending."""

    schema = "create table pending (page text, lock text, saga text, primary key (page, lock, saga))"

    def project(self, event: ServiceLocked | ServiceUnlocked, meta: Meta) -> Iterator[Statement]:
        row = (f"{meta.actor}/{meta.key}", event.lock, str(event.holder))
        if isinstance(event, ServiceLocked):
            yield sql("insert into pending values (?, ?, ?)", *row)
        else:
            yield sql("delete from pending where page = ? and lock = ? and saga = ?", *row)

    async def answer(self, db: Any, query: HeldOn) -> list[tuple[str, str, str]]:
        return [tuple(row) for row in await db.execute_fetchall("select * from pending order by page, lock, saga")]


ALL = [Page, Queued, Told, Tale, Anthology, Pending]


def _family(one: str, other: str) -> bool:
    """Whether a saga is another one, or has asked it."""
    one, other = (name.partition("/")[2].partition(".")[0] for name in (one, other))
    return one == other


def check_locks(records: Iterable[Record], *, exclusive: bool = True, all_back: bool = True) -> None:
    """Check that a lock had one holder at a time, that each was given back, and that others kept out meanwhile."""
    held: dict[tuple[Stream, str], list[str]] = {}
    for record in records:
        found = content(record) if record.type in ("service.locked", "service.unlocked", "Wrote") else {}
        if record.type == "Wrote":
            holders = held.get((record.stream, found["line"].split()[0]), [])
            assert not exclusive or all(_family(one, found["who"]) for one in holders), f"{found}; held by {holders}"
        elif found:
            holders = held.setdefault((record.stream, found["lock"]), [])
            holder = "/".join(found["holder"])
            if record.type == "service.locked":
                assert holder not in holders
                assert not exclusive or all(_family(one, holder) for one in holders), f"{found}; held by {holders}"
                holders.append(holder)
            else:
                holders.remove(holder)
    if all_back:
        assert not any(held.values()), f"never given back: {held}"


def check_tales(records: Sequence[Record], *, exclusive: bool = True) -> None:
    """Check that what is on the pages belongs to tales that ended well, once, and that all has come to its end."""
    check_locks(records, exclusive=exclusive)
    check_once(records)
    check_lines(records)


def check_lines(records: Iterable[Record]) -> None:
    """Check that each tale has come to its end, and that just the lines of those that ended well are there, once."""
    ends: dict[Stream, str] = {}
    told: dict[Stream, dict[str, Any]] = {}
    lines: Counter[tuple[str, str]] = Counter()
    for record in records:
        assert record.type != "saga.parked", f"{record.stream} is parked: {content(record)['error']}"
        if record.type == "saga.started":
            told[record.stream] = content(record)["command"]
        elif record.type in ENDS:
            ends[record.stream] = record.type
        elif record.type in ("Wrote", "Tore"):
            lines[record.stream[1], content(record)["line"]] += 1 if record.type == "Wrote" else -1
            assert lines[record.stream[1], content(record)["line"]] in (0, 1)
    assert set(ends) == set(told), f"not ended: {set(told) - set(ends)}"
    completed = {stream: told[stream] for stream, end in ends.items() if end == "saga.completed"}
    due = {(page, f"{tale.get('line', 'one')} {key}") for (_, key), tale in completed.items() for page in tale["pages"]}
    assert set(+lines) == due


PAGES = [Page, Queued, Told]


def in_line(runtime: Runtime, at: Address[Any]) -> int:
    cell = node_of(runtime).cell(at)
    assert isinstance(cell, ServiceCell)
    return len(cell.locking.lines)


async def waiting(runtime: Runtime, at: Address[Any], count: int) -> None:
    await quiet(runtime)
    assert in_line(runtime, at) == count


def asks(runtime: Runtime, at: Address[Any], command: Any) -> "asyncio.Future[Any]":
    """Ask as a caller outside, at once."""
    promise = node_of(runtime).send(at, command, None)
    assert promise is not None
    return promise.future
