"""The simulation that tests use: runs scenarios, or explores what may go wrong in them."""

from collections.abc import Callable, Sequence
from typing import Any

from runtime.simulation.explore import RUNS, Explored, Explorer
from runtime.simulation.faults import Plan, plan_of
from runtime.simulation.invariants import Invariant
from runtime.simulation.run import RunResult, Scenario, Setup


class Simulation:
    """Runs the real runtime with real actors in virtual time, over a journal in memory, as a seed says.

    The ``simulation`` fixture of the pytest plugin is one; without pytest make one yourself. ``replay`` is a plan of an
    earlier report: then :meth:`explore` runs that alone. ``runs`` is how many random runs an exploration has, whatever
    the test says. ``command`` returns the line by which a plan is run again, for reports.

    Raises:
        BadPlan: what is to be replayed is no plan.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        replay: str | None = None,
        runs: int | None = None,
        command: Callable[[Plan], str] | None = None,
    ) -> None:
        self.seed = seed
        self._replay = None if replay is None else plan_of(replay)
        self._runs = runs
        self._command = command or _command

    def run(
        self,
        *scenarios: Scenario,
        actors: Sequence[type],
        invariants: Sequence[Invariant] = (),
        outside: Callable[[], Any] | None = None,
        plan: Plan | str | None = None,
        **options: Any,
    ) -> RunResult:
        """Run scenarios beside each other, once, to their end and that of all sagas; return what has happened.

        ``plan`` says the schedule and the faults; without it nothing goes wrong. ``outside`` makes the outside world;
        other ``options`` go to the :class:`Runtime`.

        Raises:
            InvariantBroken: an invariant is broken, one of ``invariants`` or a built-in one.
        """
        __tracebackhide__ = True
        plan = plan_of(plan) if isinstance(plan, str) else plan
        explorer = Explorer(Setup(scenarios, actors, invariants, outside, options), self._command)
        return explorer.replay(self._replay or plan or Plan(self.seed))

    def explore(
        self,
        *scenarios: Scenario,
        actors: Sequence[type],
        invariants: Sequence[Invariant] = (),
        outside: Callable[[], Any] | None = None,
        depth: int = 1,
        runs: int = RUNS,
        **options: Any,
    ) -> Explored:
        """Run scenarios again and again with all that may go wrong; return what was gone through.

        First nothing goes wrong. Then, with ``depth`` 1, each single fault is tried at each point that was reached: the
        process dies behind every batch of the journal, every actor is killed before and after every message, replies
        come late or twice, reads and writes fail, the disk is full for a while, the clock is set. Then ``runs`` runs
        have random schedules and up to ``depth`` faults. The first broken invariant ends it.

        Raises:
            InvariantBroken: an invariant is broken. Its text is the report, on the smallest run that shows it.
        """
        __tracebackhide__ = True
        explorer = Explorer(Setup(scenarios, actors, invariants, outside, options), self._command)
        if self._replay is not None:
            explorer.replay(self._replay)
            return Explored(runs=1)
        return explorer.explore(depth=depth, runs=runs if self._runs is None else self._runs, seed=self.seed)


def _command(plan: Plan) -> str:
    return f'Simulation(replay="{plan}")'
