"""What every test must keep: it leaves no thread, no task and no open file behind."""

import asyncio
import gc
import inspect
import os
import threading
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests import nats, postgres, server
from tests.watchdog import SHARE, Watchdog

DESCRIPTORS = Path("/proc/self/fd")  # where there is none, open files go unchecked
SERVERS = {"nats": "NATS"}
"""What these are, by marker; all others need PostgreSQL."""
PATIENCE = 10.0
"""Seconds that a thread gets to end by itself: one that has just been told to may still be on its last lines."""


def open_files() -> Counter[str]:
    """Count the process's open files by name; pipes, sockets and devices aside."""
    names: list[str] = []
    for descriptor in os.listdir(DESCRIPTORS) if DESCRIPTORS.is_dir() else ():
        with suppress(FileNotFoundError):  # the listing's own descriptor
            names.append(os.readlink(DESCRIPTORS / descriptor))
    return Counter(name for name in names if name.startswith("/") and not name.startswith(("/dev/", "/proc/")))


LEFT_OUT = pytest.StashKey[list[str]]()
NEEDS = {"postgres": postgres, "own_server": server, "nats": nats}
"""Markers of tests that need something, and who knows whether it is there."""


WATCHDOG = pytest.StashKey[Watchdog]()


def pytest_configure(config: pytest.Config) -> None:
    limit = float(config.getini("faulthandler_timeout"))
    if limit > 0:
        # Not what sys.stderr is while a test runs, which is kept from being seen until it has ended.
        config.stash[WATCHDOG] = Watchdog(SHARE * limit, os.fdopen(os.dup(2), "w"))


def pytest_unconfigure(config: pytest.Config) -> None:
    watchdog = config.stash.get(WATCHDOG, None)
    if watchdog is not None:
        watchdog.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    watchdog = item.config.stash.get(WATCHDOG, None)
    if watchdog is None:
        return (yield)
    watchdog.begin(item.nodeid)
    try:
        return (yield)
    finally:
        watchdog.end()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector out of the thousands of tests that are collected, and stay until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a server where none answers; told in one line, not in one for each test."""
    said = config.stash[LEFT_OUT] = []
    for marker, place in NEEDS.items():
        need = [item for item in items if item.get_closest_marker(marker)]
        if need and not place.answers():
            items[:] = [item for item in items if item not in need]
            config.hook.pytest_deselected(items=need)
            said.append(
                f"{len(need)} tests were skipped, for they need {SERVERS.get(marker, 'PostgreSQL')}: {place.missing()}"
            )
    getattr(config, "workeroutput", {})["left_out"] = said


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Have told what one of several processes has left out, as all of them have."""
    if hasattr(node, "workeroutput"):  # it ended in order
        node.config.stash[LEFT_OUT] = node.workeroutput["left_out"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    none: list[str] = []
    for line in config.stash.get(LEFT_OUT, none):
        terminalreporter.write_line(line)


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"the test left tasks behind: {left}"


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    threads, files = set(threading.enumerate()), open_files()
    test: Any = request.function
    test = getattr(getattr(test, "hypothesis", None), "inner_test", test)
    if inspect.iscoroutinefunction(test):
        request.getfixturevalue("no_task_left")
    yield
    for thread in set(threading.enumerate()) - threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"the test left a thread behind: {thread}"
    left = open_files() - files
    assert not left, f"the test left files open: {sorted(left)}"


@pytest.fixture
async def schema() -> AsyncGenerator[str]:
    """The name of a schema on the PostgreSQL server, for one test."""
    async with postgres.a_schema() as name:
        yield name
