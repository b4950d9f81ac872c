"""One run: a scenario against the real runtime on a simulated machine, from its first process to the last one's end."""

import asyncio
import gc
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from actors import Failed, MailboxFull, OutcomeUnknown, Parked, ReadModelBehind, Refused
from persistence import JournalUnusable, Keys, KeysUnusable, Record
from runtime.built_in import BUILT_IN
from runtime.kinds import Kind, kind_of
from runtime.personal import PersonalData, holds_personal
from runtime.simulation.acks import Acks
from runtime.simulation.built_in import FORGOTTEN, forgotten, problems
from runtime.simulation.errors import SimulationError
from runtime.simulation.faults import Fault, Plan
from runtime.simulation.invariants import Invariant
from runtime.simulation.logs import told_to
from runtime.simulation.loop import SimulatedLoop
from runtime.simulation.machine import Machine, Moment, Point
from runtime.simulation.node import SimulatedRuntime
from runtime.simulation.simulated_keys import SimulatedKeys, random_bytes
from runtime.simulation.world import World

Scenario = Callable[[World], Awaitable[Any]]
"""What a client of the runtime does. It runs again, with the same ids, after a crash, and where it was told that an
outcome is unknown; so does a real client that wants to be sure."""

LAST = timedelta(days=2)
"""Virtual time that sagas get to end by themselves when the scenario has ended; longer than the retries of an undo."""
TRIES = 100
"""How often a client asks again where it was told to."""
AFTER_FAULTS = (Failed, JournalUnusable, KeysUnusable)
"""What a client may be told, and asks again, once something has gone wrong."""
QUIET = 5
"""So many rounds of the loop without anything under way, and it is quiet."""


class Setup:
    """What is simulated: the same for all runs of one exploration."""

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        actors: Sequence[type],
        invariants: Sequence[Invariant] = (),
        outside: Callable[[], Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """``outside`` makes the outside world of each run; ``options`` go to the runtime.

        Raises:
            ValueError: there is no scenario, or an option is the simulation's own.
        """
        if not scenarios:
            raise ValueError("give it a scenario: explore(book, actors=[...]), with async def book(world: World)")
        if own := sorted(
            {"journal", "clock", "chaos", "views", "keys", "durability", "max_payload"}.intersection(options or ())
        ):
            raise ValueError(f"a simulation has a {own[0]} of its own; leave {own[0]}= out")
        if {"remote", "network"}.intersection(options or ()):
            raise ValueError("a simulation has one node; name also the classes of others in actors=, not in remote=")
        self.scenarios = scenarios
        self.actors = actors
        self.invariants = invariants
        self.outside = outside or (lambda: None)
        self.options = options or {}
        self.kinds: dict[str, Kind] = {kind.name: kind for kind in map(kind_of, [*actors, *BUILT_IN])}
        says = [cls for kind in self.kinds.values() for cls in (*kind.commands.values(), *kind.events.values())]
        self.personal = any(map(holds_personal, says))
        """Whether actors say what is personal, so that there are keys."""

    def kinds_by(self, keys: Keys) -> Mapping[str, Kind]:
        """Return the kinds that read what was sealed with these keys, as far as they are there now."""
        if not self.personal:
            return self.kinds
        codec = PersonalData(keys).codec
        return {name: kind_of(kind.cls, codec) for name, kind in self.kinds.items()}


class Broken(msgspec.Struct, frozen=True):
    """An invariant that did not hold."""

    name: str
    what: str


class RunResult(msgspec.Struct):
    """What has happened in a run."""

    plan: Plan
    broken: Broken | None
    moments: list[Moment]
    points: list[Point]
    fired: list[Fault]
    records: list[Record]
    """The journal at the end."""
    durable_before: dict[str, int]
    """How many events were durable when each fault happened, by its text."""
    choices: dict[int, int]
    """What the schedule has chosen, where it was not the first."""
    chosen: int
    """How many choices there were; 0 where what was ready first ran first."""
    steps: int
    """Callbacks that the loop has called."""
    time: int
    """Virtual time that has passed, in microseconds."""

    @property
    def trace(self) -> str:
        """A hash of all that happened: the same for the same plan, on every machine."""
        digest = hashlib.sha256()
        for moment in (moment for moment in self.moments if moment.kind != "log"):
            digest.update(repr(msgspec.structs.astuple(moment)).encode("utf-8", "backslashreplace"))
        for record in self.records:
            digest.update(repr((record.stream, record.type, record.time, record.command)).encode())
            digest.update(record.data + record.meta)
        digest.update(repr((self.steps, self.time, sorted(self.choices.items()))).encode())
        return digest.hexdigest()


class Run:
    """One run under way."""

    def __init__(self, setup: Setup, plan: Plan, *, logs: bool = False) -> None:
        """With ``logs``, what the runtime logs is told among all else that happens."""
        self._logs = logs
        self._setup = setup
        self._machine = Machine(plan)
        self._acks = Acks()
        self._world: World | None = None
        self._broken: Broken | None = None
        self._waiting = [one for one in setup.invariants if one.when == "eventually"]
        self._last_fault = 0
        self._looks_at: dict[str, int] = {}
        """When it will be looked at what must have come to hold by then."""
        self._fired = 0
        self._steps = 0

    def go(self) -> RunResult:
        """Run to the end, and say what has happened."""
        collecting = gc.isenabled()
        gc.disable()  # finalizers must not run at moments that depend on what else the process does
        try:
            with told_to(self._machine, logs=self._logs), random_bytes(self._machine.plan.seed):
                return self._go()
        finally:
            if collecting:
                gc.enable()

    def _go(self) -> RunResult:
        machine = self._machine
        self._world = world = World(machine, self._setup.outside(), self._setup.kinds_by)
        machine.on_durable = self._look
        loops: list[SimulatedLoop] = []
        try:
            ended = False
            while not ended and self._broken is None:
                loop = machine.start()
                loops.append(loop)
                ended = self._one_process(loop, world)
            if self._broken is None:
                self._look_at_the_end(world)
            return self._result(world)
        finally:
            for loop in loops:
                loop.bury()
            for end in machine.on_end:
                end()
            machine.views.close()

    def _one_process(self, loop: SimulatedLoop, world: World) -> bool:
        """Let one process live; return whether it has come to its end in order."""
        ended = True
        try:
            ended = bool(loop.run(self._process(world)))
        except SimulationError as error:
            self._break("the run ends", str(error))
        if loop.problems:
            self._break("nothing fails unseen", _told(loop.problems[0]))
        self._steps += loop.steps
        return ended

    def _result(self, world: World) -> RunResult:
        """Return what has happened. What is buried after that adds nothing to it."""
        machine = self._machine
        return RunResult(
            machine.plan,
            self._broken,
            list(machine.moments),
            list(machine.points),
            list(machine.fired),
            list(world.records) if hasattr(world, "journal") else [],
            dict(machine.durable_before),
            dict(machine.schedule.choices) if machine.schedule is not None else {},
            machine.schedule.count if machine.schedule is not None else 0,
            self._steps,
            machine.loop.now,
        )

    async def _process(self, world: World) -> bool:
        """Live the life of one process, to its end in order. Nothing here is cleaned up when it dies before."""
        setup, machine = self._setup, self._machine
        keys = SimulatedKeys(machine) if setup.personal else None
        runtime = SimulatedRuntime(machine, setup.actors, self._acks, keys=keys, **setup.options)
        world.runtime, world.journal = runtime, runtime.journal
        fired = len(machine.fired)
        try:
            await runtime.__aenter__()
        except Exception as error:  # noqa: BLE001 (a disk that is full, say: whoever starts processes starts it again)
            if machine.quiet and len(machine.fired) == fired:
                self._break("the process starts", f"{type(error).__name__}: {error}")
            return False
        self._look()
        for what in forgotten(world, machine.keys.gone):  # before a client may tell it again
            self._break(FORGOTTEN, what)
        clients = [asyncio.get_running_loop().create_task(self._client(world, one)) for one in setup.scenarios]
        for client in clients:
            await client
        await self._settle(world)
        if self._broken is None:
            await runtime.__aexit__(None, None, None)
            machine.note("process", "", "", "the process ends in order")
        return True

    async def _client(self, world: World, scenario: Scenario) -> None:
        name = getattr(scenario, "__name__", "the scenario")
        last: Exception | None = None
        for _ in range(TRIES):
            world.random.seed(self._machine.plan.seed)
            try:
                await scenario(world)
            except (Refused, Parked):
                return  # answers like others
            except (OutcomeUnknown, MailboxFull, ReadModelBehind, *AFTER_FAULTS) as error:
                if self._machine.fired or not isinstance(error, AFTER_FAULTS):
                    last = error
                    await asyncio.sleep(1.0)
                    continue
                self._break(f"{name} works", f"{type(error).__name__}: {error}")
            except Exception as error:  # noqa: BLE001 (the test's own code)
                self._break(f"{name} works", f"{type(error).__name__}: {error}")
            return
        self._break(f"{name} gets through", f"it was told {TRIES} times to ask again, at last by {last!r}")

    async def _settle(self, world: World) -> None:
        """Wait until all is quiet and no saga is under way, as long as that takes in virtual time."""
        machine, nap = self._machine, 1.0
        end = machine.loop.now + round(LAST.total_seconds() * 1e6)
        while self._broken is None:
            await self._quiet(world)
            busy = world.runtime.behind or any(
                not story.ended and story.status != "parked" and story.asleep_until() is None
                for story in world.sagas().values()
            )
            patience = (
                self._last_fault + max((one.within for one in self._waiting), default=timedelta()).total_seconds() * 1e6
            )
            if not (busy and machine.loop.now < end) and not (self._waiting and machine.loop.now <= patience):
                return
            await asyncio.sleep(nap)
            nap = min(nap * 2, 3600.0)
            self._look()

    async def _quiet(self, world: World) -> None:
        still = 0
        while still < QUIET and self._broken is None:
            still = still + 1 if world.runtime.idle else 0
            await asyncio.sleep(0 if still else 0.001)

    # -- invariants ---------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Look at what must always hold, and at what must come to hold."""
        world, machine = self._world, self._machine
        if world is None or self._broken is not None:
            return
        if len(machine.fired) > self._fired:
            self._fired, self._last_fault = len(machine.fired), machine.loop.now
        for one in self._setup.invariants:
            if one.when == "always" and (what := one.problem(world)) is not None:
                self._break(one.name, what)
        for one in list(self._waiting):
            due = self._last_fault + round(one.within.total_seconds() * 1e6)
            if machine.loop.now <= due and one.problem(world) is None:
                self._waiting.remove(one)
            elif machine.loop.now >= due:
                self._break(one.name, f"it did not hold within {one.within} of the last fault")
            elif self._looks_at.get(one.name) != due:
                self._looks_at[one.name] = due
                machine.loop.call_at(due / 1e6, self._look)

    def _look_at_the_end(self, world: World) -> None:
        """Look at all that must hold now; first at the built-in invariants, for they say more of why it doesn't."""
        self._look()
        if self._broken is None:
            for name, what in problems(world, self._acks, self._machine):
                self._break(name, what)
        for one in self._setup.invariants:
            if one.when != "always" and self._broken is None and (one.when == "finally" or one in self._waiting):
                wrong = one.problem(world)
                if wrong is not None:
                    self._break(one.name, wrong)

    def _break(self, name: str, what: str) -> None:
        if self._broken is None:
            self._broken = Broken(name, what)
            self._machine.note("fault", "", "", f"broken: {name}")
            self._machine.loop.die()


def _told(problem: dict[str, Any]) -> str:
    error = problem.get("exception")
    return f"{problem.get('message')}: {error!r}" if error is not None else str(problem.get("message"))
