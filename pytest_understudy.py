"""The pytest plugin of Understudy: a ``simulation`` for tests of sagas and services. See docs/testing.md.

It stands by itself, so that pytest loads nothing else of Understudy where no test asks for it.
"""

from collections.abc import Callable
from random import randrange
from shlex import quote
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from runtime.simulation import Plan, Simulation


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("understudy")
    group.addoption(
        "--understudy-seed",
        type=_seed,
        default=0,
        metavar="N",
        help="the seed of simulations (default: 0); random: another one each time, which is printed",
    )
    group.addoption("--understudy-runs", type=int, default=None, metavar="N", help="random runs of each exploration")
    group.addoption(
        "--understudy-replay", default=None, metavar="PLAN", help="run only this plan; the line is in each report"
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    """Print what makes the runs, where that was said: with it they can be had again."""
    options: Any = config.option
    if options.understudy_replay is not None:
        return f"understudy: replays {options.understudy_replay}"
    if not options.understudy_seed and options.understudy_runs is None:
        return None
    runs = "" if options.understudy_runs is None else f" --understudy-runs={options.understudy_runs}"
    return f"understudy: --understudy-seed={options.understudy_seed}{runs}"


def _seed(text: str) -> int:
    return randrange(10**9) if text == "random" else int(text)


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
