"""The world of a run, as its scenario and its invariants see it."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

from actors import Address, Event, ReadModel, Saga, Service, State
from persistence import Keys, Record
from runtime.kinds import Kind
from runtime.replay import Replay
from runtime.saga_events import DECODERS
from runtime.saga_story import Story
from runtime.simulation.journal import SimulatedJournal
from runtime.simulation.machine import Machine
from runtime.simulation.node import SimulatedRuntime

E = TypeVar("E", bound=Event)
S = TypeVar("S", bound=State)


class World:
    """What a scenario drives, and what an invariant looks at.

    ``runtime`` is that of the process that runs now; ``outside`` is what the test made for this run, and no crash
    undoes. All else looks at what is durable.
    """

    runtime: SimulatedRuntime
    journal: SimulatedJournal

    def __init__(self, machine: Machine, outside: Any, kinds: Callable[[Keys], Mapping[str, Kind]]) -> None:
        self._machine = machine
        self.outside: Any = outside
        self._kinds_by, self._kinds, self._destroyed = kinds, kinds(machine.keys), 0
        self.random = Random(machine.plan.seed)
        """For scenarios; it begins anew with each attempt, so that an attempt does what the first one did."""

    # -- time ---------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The wall time."""
        return datetime.fromtimestamp(self._machine.clock.now() / 1e6, UTC)

    async def sleep(self, time: timedelta | float) -> None:
        """Let virtual time pass: a timedelta, or seconds."""
        await asyncio.sleep(time.total_seconds() if isinstance(time, timedelta) else time)

    def step_clock(self, time: timedelta | float) -> None:
        """Set the wall clock forward or back, as a time server might."""
        self._machine.clock.step(time.total_seconds() if isinstance(time, timedelta) else time)

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What reads the journal. Whoever was forgotten meanwhile is forgotten to it."""
        gone = len(self._machine.keys.gone)
        if gone != self._destroyed:
            self._kinds, self._destroyed = self._kinds_by(self._machine.keys), gone
        return self._kinds

    # -- what is durable ----------------------------------------------------------------------------------------

    @property
    def records(self) -> list[Record]:
        """The journal."""
        return self.journal.records

    def events(self, what: "type[E] | Address[Any]") -> list[Any]:
        """Return the events of a class, or of one actor, in order."""
        found: list[Any] = []
        of_actor = (what.actor, what.key) if isinstance(what, Address) else None
        for record in self.records:
            if of_actor in (None, record.stream):
                found += [one for one in self.read(record) if isinstance(what, Address) or isinstance(one, what)]
        return found

    def read(self, record: Record) -> tuple[Any, ...]:
        """Return the events of a record: one, or what upcasts make of it; none where only the runtime reads it."""
        kind = self.kinds.get(record.stream[0])
        known = kind is not None and ("." not in record.type or record.type in kind.events)
        return kind.read(record) if kind is not None and known else ()

    def state_of(self, address: "Address[Service[S, Any, Any]]") -> S:
        """Return a service's state, by its events."""
        kind = self.kinds[address.actor]
        replay = Replay(address, kind)
        for record in self.records:
            if record.stream == (address.actor, address.key):
                replay.come_to(record)
                replay.take(record)
        state: S = replay.state()
        return state

    def rows(self, read_model: type[ReadModel], query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return what a SELECT finds in a read model's database as it is now; nothing where it isn't made yet.

        A read model is behind the journal for a while; at the end of a run it is not.
        """
        names = [name for name in self._machine.views.databases if name[0] == read_model.__name__]
        if not names:
            return []
        newest = max(names, key=lambda name: name[2])
        return self._machine.views.databases[newest].execute(query, values).fetchall()

    def story_of(self, address: "Address[Saga[Any, Any]]") -> Story:
        """Return a saga's story; its ``status`` says where it is."""
        story = Story()
        for record in self.records:
            if record.stream == (address.actor, address.key) and record.type in DECODERS:
                story.apply(DECODERS[record.type].decode(record.data), record.time)
        return story

    def sagas(self) -> dict[Address[Any], Story]:
        """Return all sagas that were started, and their stories."""
        stories: dict[Address[Any], Story] = {}
        for record in self.records:
            if record.type in DECODERS:
                story = stories.setdefault(Address(*record.stream), Story())
                story.apply(DECODERS[record.type].decode(record.data), record.time)
        return stories
