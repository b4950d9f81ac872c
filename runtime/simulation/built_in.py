"""The invariants that hold for everybody: what the runtime promises, checked from outside of it."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing

from actors import JournalMismatch, ReadModel, Saga, Service, UnknownActor
from persistence import JournalDamaged, Key, Record, Stream
from persistence.journal import ERASED
from runtime.fold_projection import FoldProjection, projection_of, schema_of
from runtime.kinds import Kind
from runtime.projection import Poison
from runtime.saga_events import DECODERS
from runtime.saga_story import Story
from runtime.simulation.acks import Acks
from runtime.simulation.machine import Machine
from runtime.simulation.shelf import ViewDisk
from runtime.simulation.telling import NO_RULES
from runtime.simulation.world import World
from runtime.subjects import SUBJECTS
from runtime.views import fingerprint

Problem = tuple[str, str]
"""The invariant's name, and what is wrong."""

SAGAS, UNDOS, ONCE = "every saga ends", "undos run in reverse, once", "no effect twice"
EVOLVES = "evolve refuses nothing"
FORGOTTEN = "who is forgotten is told of, once"
REPLIES, READ_MODELS = "replies are durable, and the first ones", "read models are the fold of the journal"

NOBODY_THERE = f"{UnknownActor.__name__}: "
"""How the error of a saga begins that has asked for an actor who was not given to the test."""

HINTS = {
    EVOLVES: NO_RULES,
    SAGAS: "look at the last thing that was sent to it, and who should have answered; a step without an end needs a "
    "deadline or a timeout",
    ONCE: "give the outside world an id that is the same at each attempt: self.message_id in a plain actor; give "
    "commands from outside an id; if both were meant, tell Effects what differs: do(id, (order, text))",
    REPLIES: "decide and answer may depend on nothing but their arguments and self.key; else it is our bug",
    UNDOS: "undos are the runtime's own work; if no step was skipped by hand, it is a bug of ours",
    READ_MODELS: "project must be pure: the same statements for the same event, and nothing kept in the class, the "
    "process, or read from elsewhere",
}
"""What to do where one of them is broken."""


def problems(world: World, acks: Acks, machine: Machine) -> Iterator[Problem]:
    """Yield what is wrong at the end of a run."""
    for text in machine.refusals:
        yield EVOLVES, text
    for fault in acks.faults:
        yield REPLIES, fault
    for text in _repeats(world.records):
        yield ONCE, text
    for text in _stories(world.records):
        yield UNDOS, text
    for text in forgotten(world, machine.keys.gone):
        yield FORGOTTEN, text
    for address, story in world.sagas().items():
        if not story.ended and story.status != "parked" and story.asleep_until() is None:
            under_way = [name for name, step in story.steps.items() if step.open or step.needs_undo]
            yield SAGAS, f"{address} is {story.status}, and nothing happens any more; under way: {under_way}"
        elif story.error is not None and story.error.startswith(NOBODY_THERE):
            yield SAGAS, f"{address} is parked, as a class is missing in this test: {story.error}"
    effects = world.outside
    if isinstance(effects, Effects):
        for text in effects.repeats():
            yield ONCE, text
    for text in _read_models(world, machine.views, world.kinds):
        yield READ_MODELS, text


class Effects:
    """A stand-in for the outside world, where it takes what it is told once for each id, as a bank or a mailer might.

    What was done under two ids was done twice; a built-in invariant looks for it. So what is meant twice has to differ:
    ``do(self.message_id, (message.order, message.text))``.
    """

    def __init__(self) -> None:
        self.by_id: dict[str, object] = {}
        self.calls = 0
        """How often it was told anything."""
        self._wrong: list[str] = []

    def do(self, id_: str, effect: object) -> bool:
        """Do something, unless it was done under this id; return whether it is new."""
        self.calls += 1
        if id_ in self.by_id:
            if self.by_id[id_] != effect:
                self._wrong.append(f"the id {id_!r} came with {self.by_id[id_]!r} and then with {effect!r}")
            return False
        self.by_id[id_] = effect
        return True

    @property
    def done(self) -> list[object]:
        """What was done, in order."""
        return list(self.by_id.values())

    def repeats(self) -> list[str]:
        """Return what is wrong with what was done."""
        ids: dict[str, list[str]] = {}
        for id_, effect in self.by_id.items():
            ids.setdefault(repr(effect), []).append(id_)
        return self._wrong + [f"{effect} was done twice, as {same}" for effect, same in ids.items() if len(same) > 1]


def _repeats(records: list[Record]) -> Iterator[str]:
    versions: dict[Stream, int] = {}
    commands: dict[tuple[Stream, str], int] = {}
    for position, record in enumerate(records, 1):
        versions[record.stream] = version = versions.get(record.stream, 0) + 1
        if (record.position, record.version) != (position, version):
            yield f"the journal has a gap at position {position}"
        if record.command is not None:
            key = (record.stream, record.command)
            if key in commands:
                yield f"command {record.command} took effect twice, at positions {commands[key]} and {position}"
            commands[key] = position


def _stories(records: list[Record]) -> Iterator[str]:
    """Look at each saga's events in order: outcomes come once, undos once and in reverse of their steps' completion."""
    stories: dict[Stream, Story] = {}
    for record in records:
        if record.type not in DECODERS:
            continue
        event = DECODERS[record.type].decode(record.data)
        story = stories.setdefault(record.stream, Story())
        what = _wrong(story, record, event)
        if what:
            yield f"{record.stream[0]}/{record.stream[1]} at position {record.position}: {what}"
            return
        story.apply(event, record.time)


def _wrong(story: Story, record: Record, event: object) -> str | None:
    name: str = getattr(event, "step", "")
    if story.ended and record.type not in ("saga.compensating", "saga.released"):
        return f"{record.type} after its end"
    match record.type:
        case "saga.started" | "saga.queued" if story.started is not None:
            return "it was started twice"
        case "saga.asked" if name in story.steps:
            return f"step {name!r} was asked twice"
        case "saga.answered" if name in story.steps and record.time < story.steps[name].asked.due:
            early = story.steps[name].asked.due - record.time
            # A message that a receive waits for comes when it likes; a sleep ends when its time is over.
            return f"{name!r} ended {early} microseconds early" if story.steps[name].asked.kind == "sleep" else None
        case "saga.answered" | "saga.refused" if name not in story.steps or not story.steps[name].open:
            return f"step {name!r} has two outcomes"
        case "saga.undone":
            return _wrong_undo(story, name)
        case "saga.compensated":
            left = [key for key, step in story.steps.items() if step.needs_undo]
            return f"compensated, and {left} not undone" if left else None
        case _:
            return None


def _wrong_undo(story: Story, name: str) -> str | None:
    step = story.steps.get(name)
    if step is None or not step.needs_undo:
        return f"{name!r} was undone, and there was nothing to undo"
    if story.reason is None or not step.ended or step.dropped:
        return None
    others = [key for key, one in story.steps.items() if one.needs_undo and one is not step and not one.dropped]
    later = [key for key in others if not 0 < story.steps[key].ended < step.ended]
    return f"{name!r} was undone before {later[0]!r}, which was done after it" if later else None


def forgotten(world: World, gone: list[Key]) -> Iterator[str]:
    """Compare the keys that were destroyed with what the journal tells of them."""
    told = Counter(event.key for event in world.events(SUBJECTS))
    for key in gone:
        times = told.pop(key.id.hex(), 0)
        if times != 1:
            yield f"the key of {key.subject!r} was destroyed, and the journal tells it {times} times"
    if told:
        yield f"the journal tells of {len(told)} keys that they were destroyed, and they were not"


def _read_models(world: World, views: ViewDisk, kinds: Mapping[str, Kind]) -> Iterator[str]:
    if any(record.type == ERASED for record in world.records):
        return  # a rebuild doesn't see what is erased, and the live one has
    producers = [kind for base in (Service, Saga) for kind in kinds.values() if issubclass(kind.cls, base)]
    for kind in kinds.values():
        if issubclass(kind.cls, ReadModel):
            today = fingerprint(kind, producers, world.journal)
            builds = [name for name in views.databases if name[:2] == (kind.name, today)]
            if builds:
                yield from _compared(world, kind, producers, views.databases[max(builds)])


def _compared(world: World, kind: Kind, producers: list[Kind], live: sqlite3.Connection) -> Iterator[str]:
    aside = live.execute("select position, error from understudy_parked order by position").fetchone()
    if aside is not None:
        yield f"{kind.name} has set aside what is at position {aside[0]}: {aside[1]}"
        return
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as rebuilt:
        rebuilt.executescript(schema_of(kind))
        projection = projection_of(kind, producers)
        (kept,) = live.execute("select position from understudy_checkpoint").fetchone()
        for record in world.records:
            if isinstance(projection, FoldProjection) and record.position > kept:
                break  # the snapshot of a fold may be behind
            try:
                for text, values in projection.statements(record, projection.events(record)):
                    rebuilt.execute(text, values)
            except (Poison, sqlite3.Error, JournalMismatch, JournalDamaged) as error:
                yield f"{kind.name} can't be rebuilt: {error}"
                return
        if isinstance(projection, FoldProjection) and kept:
            rebuilt.execute(*projection.row(projection.state, kept, "?"))
        was, now = _content(live), _content(rebuilt)
    if was != now:
        tables = [name for name in {**was, **now} if was.get(name) != now.get(name)]
        first = tables[0]
        yield (
            f"{kind.name}, at position {kept} of {len(world.records)}, is not what a rebuild gives; table "
            f"{first} holds {was.get(first)}, rebuilt {now.get(first)}"
        )


def _content(db: sqlite3.Connection) -> dict[str, list[str]]:
    """Return what is in the author's tables: rows as text, in one order whatever theirs."""
    tables = [name for name in _tables(db) if not name.startswith(("understudy_", "sqlite_"))]
    return {name: sorted(map(repr, db.execute(f'select * from "{name}"'))) for name in tables}  # noqa: S608 (of its own schema)


def _tables(db: sqlite3.Connection) -> list[str]:
    """Return the tables, without those in which a virtual one keeps its rows.

    How an index of words lies in them depends on how many statements came in one batch.
    """
    kinds = {name: kind for _, name, kind, *_ in db.execute("pragma table_list")}  # nothing before SQLite 3.37
    tables = db.execute("select name, sql from sqlite_master where type = 'table' order by name").fetchall()
    virtual = tuple(f"{name}_" for name, text in tables if text and text.lower().startswith("create virtual table"))
    return [name for name, _ in tables if not (kinds[name] == "shadow" if kinds else name.startswith(virtual))]
