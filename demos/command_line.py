"""The command line that all demos have: a story without options, many at once with a number, and a journal's URL."""

import argparse
import asyncio
import json
import logging
import os
import shlex
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, NoReturn

from actors import UnderstudyError
from demos.page import Page
from demos.report import Report
from persistence import JournalError
from persistence.postgres_url import SCHEMES, without_password
from runtime import Chaos, Clock, OnAlert, Runtime, stop_on_signals

MOST = 1_000_000
BAD, INTERRUPTED = 2, 130
"""Exit codes: options or a journal that can't be used; Ctrl-C before anything was begun."""

CODES = "exit codes: 0 the books balance, 1 they don't, 2 bad options or journal, 130 Ctrl-C, 143 SIGTERM"


OpenRuntime = Callable[..., Runtime]
"""Opens the journal of the command line; ``on_alert=`` and ``clock=`` as in :class:`Runtime`."""


class Demo(NamedTuple):
    """An application with a story."""

    name: str
    things: str
    """What it makes many of, in the plural: ``trips``."""
    verb: str
    """What it does with them: ``book``."""
    description: str
    actors: list[type]
    tell: Callable[[OpenRuntime, str, Page], Awaitable[Report]]
    """Tells the story."""
    load: Callable[[Runtime, int, int, Page], Awaitable[Report]]
    """Makes so many, by this seed."""
    as_it_was: Callable[[Runtime, datetime, Page], Awaitable[Report]] | None = None
    """Tells what a journal's world was like at some time; None: there is no ``--at``."""
    on_postgres: list[type] | None = None
    """The actors where ``--views`` puts the read models on PostgreSQL; None: there is no ``--views``."""

    @property
    def program(self) -> str:
        """How it is called."""
        return f"python -m demos.{self.name}"

    @property
    def examples(self) -> str:
        """What stands below the help."""
        said = {
            self.program: "tell the story, in a new journal",
            f"{self.program} --{self.things} 2000 --kill 0.01": f"{self.verb} 2,000 while actors are dying",
            f"{self.program} --journal sqlite:{self.things}.db": "carry on with a journal, or begin one",
        }
        width = max(map(len, said))
        lines = [f"  {command:<{width}}  {meaning}" for command, meaning in said.items()]
        return "\n".join(["examples:", *lines, "", CODES])


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Say it and exit."""
        self.exit(BAD, f"{self.prog}: {message} (see --help)\n")


def parse(demo: Demo, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    things, verb = demo.things, demo.verb
    parser = Parser(
        prog=demo.program,
        description=f"{demo.description}\nWithout options it tells the story of a few of them.",
        epilog=demo.examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        f"--{things}", dest="number", type=number, metavar="N", help=f"{verb} N {things} at the same time, and measure"
    )
    parser.add_argument(
        "--kill",
        type=probability,
        default=0.0,
        metavar="P",
        help="kill each actor with probability P before each message",
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="S", help=f"choose {things} and victims by this number")
    parser.add_argument(
        "--journal",
        metavar="URL",
        help="where the events are kept: sqlite:FILE, postgresql://USER@HOST/DATABASE or memory: (default: a new "
        f"file in a temporary folder). A journal that exists is carried on with, and {things} that are unfinished in "
        "it are finished first",
    )
    if demo.as_it_was is not None:
        parser.add_argument(
            "--at",
            type=moment,
            metavar="DATE",
            help="tell only what it was like at the end of that day (2026-01-31), by replay of --journal",
        )
    if demo.on_postgres is not None:
        parser.add_argument(
            "--views",
            metavar="URL",
            help="where read models are kept: sqlite:FOLDER, postgresql://USER@HOST/DATABASE or memory: (default: "
            "beside a journal on SQLite, else in memory)",
        )
    parser.add_argument("--json", action="store_true", help="write nothing but one JSON object with the totals")
    options = parser.parse_args(arguments)
    if getattr(options, "at", None) is not None and options.journal is None:
        parser.error("argument --at: say of which journal, by --journal URL")
    return options


def number(text: str) -> int:
    """Read how many."""
    try:
        found = int(text)
    except ValueError:
        found = -1
    if not 0 <= found <= MOST:
        raise argparse.ArgumentTypeError(f"it must be a whole number from 0 to {MOST:,}, not {text!r}")
    return found


def seed(text: str) -> int:
    """Read a seed."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"it must be a whole number, not {text!r}") from None


def moment(text: str) -> datetime:
    """Read a day, of which the end is meant, or a time; in UTC where it doesn't say."""
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        return found + timedelta(days=1, microseconds=-1) if len(text) == len("2026-01-31") else found
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"it must be a date like 2026-01-31, not {text!r}") from None


def probability(text: str) -> float:
    """Read a probability."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1:
        raise argparse.ArgumentTypeError(f"it must be a number from 0 to below 1, not {text!r}")
    return found


async def run(demo: Demo, options: argparse.Namespace, journal: str, page: Page) -> Report:
    """Tell the story or make many."""
    chaos = Chaos(options.seed, options.kill) if options.kill else None

    views = None if demo.on_postgres is None else options.views
    actors = demo.on_postgres if views is not None and views.partition(":")[0] in SCHEMES else demo.actors

    def open_runtime(on_alert: OnAlert | None = None, clock: Clock | None = None) -> Runtime:
        return Runtime(journal, actors or demo.actors, chaos=chaos, on_alert=on_alert, clock=clock, views=views)

    if demo.as_it_was is not None and options.at is not None:
        async with open_runtime() as runtime:
            return await demo.as_it_was(runtime, options.at, page)
    if options.number is None:
        return await demo.tell(open_runtime, journal, page)
    async with open_runtime() as runtime:
        page.note(f"Journal: {without_password(journal)}")
        report = await demo.load(runtime, options.number, options.seed, page)
        if chaos is not None and chaos.kills:
            page.note(f"On the way {chaos.kills:,} actors were killed.")
        return report


async def run_until_stopped(demo: Demo, options: argparse.Namespace, journal: str, page: Page) -> Report | int:
    """Run to the end, or in good order until a signal comes; then return the exit code."""
    with stop_on_signals() as stop:
        return await run(demo, options, journal, page)
    return stop.exit_code


def main(demo: Demo, arguments: Sequence[str] | None = None) -> int:
    """Run, and return the exit code."""
    options = parse(demo, arguments)
    logging.getLogger("understudy").addHandler(logging.NullHandler())  # what matters here is told on the page
    journal = options.journal
    try:
        if journal is None:
            journal = f"sqlite:{tempfile.mkdtemp(prefix='understudy-')}/{demo.things}.db"
        page = Page(None if options.json else sys.stdout)
        report = asyncio.run(run_until_stopped(demo, options, journal, page))
        if isinstance(report, int):
            go_on = f"; go on with --journal {shlex.quote(without_password(journal))}" if journal != "memory:" else ""
            return complain(demo, f"stopped{go_on}", report)
        if options.json:
            print(json.dumps(report.as_json(without_password(journal))), flush=True)
    except KeyboardInterrupt:
        return complain(demo, "stopped", INTERRUPTED)  # before anything was begun
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on; don't fail again at exit
        return BAD
    except (JournalError, UnderstudyError, OSError) as error:
        return complain(demo, str(error), BAD)
    return 0 if report.balance else 1


def complain(demo: Demo, what: str, code: int) -> int:
    """Say in one line on standard error what is wrong, and return the exit code."""
    print(f"{demo.program}: {' '.join(what.split())}", file=sys.stderr)
    return code
