"""Services whose locks the tests take, and stand-ins for sagas that take them."""

import asyncio
from typing import Any, ClassVar, assert_never

from actors import Address, Command, Decision, Event, Refused, RestartPolicy, Service, State
from actors.locks import WhenLocked
from persistence import Record
from runtime import Runtime
from runtime.lock_mail import Unlock
from runtime.mailbox import Envelope
from tests.runtime.tools import content, node_of


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


class Page(Service[Lines, Write | Tear | Read | Nod | Whom, Wrote | Tore]):
    """Each line has a lock, named by its first word; what is under way is refused."""

    initial = Lines()
    restart = RestartPolicy(restarts=0)
    when_locked: ClassVar[WhenLocked] = "refuse"

    def lock_of(self, command: Write | Tear | Read | Nod | Whom) -> str | None:
        if isinstance(command, Read | Whom):
            return None
        return command.line.split()[0]

    def decide(self, state: Lines, command: Write | Tear | Read | Nod | Whom) -> Decision:
        match command:
            case Write(line) if "no" in line.split():
                raise Refused("no")
            case Write(line, who) if self.when_locked == "tell" and "if free" in line:
                if self.locked_by.get(line.split()[0]):
                    raise Refused(f"taken by {', '.join(map(str, self.locked_by[line.split()[0]]))}")
                return command.reply(len(state.lines) + 1, Wrote(line, who))
            case Write(line, who):
                return command.reply(len(state.lines) + 1, Wrote(line, who))
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


def check_locks(records: list[Record], *, exclusive: bool = True) -> None:
    """Check that a lock had one holder at a time, that each was given back, and that others kept out meanwhile."""
    held: dict[tuple[object, str], str] = {}
    for record in records:
        if record.type == "service.locked":
            found = content(record)
            key = (record.stream, found["lock"])
            assert not exclusive or key not in held, f"{key} is held by {held[key]}, and taken by {found['holder']}"
            held[key] = found["step"].partition("#")[0]
        elif record.type == "service.unlocked":
            assert held.pop((record.stream, content(record)["lock"]), None) is not None or not exclusive
        elif record.type == "Wrote" and exclusive:
            found = content(record)
            holder = held.get((record.stream, found["line"].split()[0]))
            assert holder in (None, found["who"]), f"{found} though {holder} holds its lock"
    assert not held, f"never given back: {held}"
