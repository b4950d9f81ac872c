"""The pytest plugin of Understudy: a ``simulation`` for tests of sagas and services. See docs/testing.md.

It stands by itself, so that pytest loads nothing else of Understudy where no test asks for it.
"""

from collections.abc import Callable
from shlex import quote
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from runtime.simulation import Plan, Simulation


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("understudy")
    group.addoption("--understudy-seed", type=int, default=0, metavar="N", help="the seed of simulations (default: 0)")
    group.addoption("--understudy-runs", type=int, default=None, metavar="N", help="random runs of each exploration")
    group.addoption(
        "--understudy-replay", default=None, metavar="PLAN", help="run only this plan; the line is in each report"
    )


@pytest.fixture
def simulation(request: pytest.FixtureRequest) -> "Simulation":
    """Return a simulation, by the options of the command line."""
    from runtime.simulation import Simulation  # here, for it loads the runtime

    options: Any = request.config.option
    return Simulation(
        options.understudy_seed,
        replay=options.understudy_replay,
        runs=options.understudy_runs,
        command=_command(request.node.nodeid),
    )


def _command(test: str) -> "Callable[[Plan], str]":
    return lambda plan: f"pytest {quote(test)} --understudy-replay={plan}"
