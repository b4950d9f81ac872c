"""The command line: ``python -m demos.trip --help``."""

import argparse
import asyncio
import json
import logging
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from typing import NoReturn

from actors import UnderstudyError
from demos.trip import ACTORS, load, story
from demos.trip.page import Page
from demos.trip.report import Report
from persistence import JournalError
from persistence.postgres_url import without_password
from runtime import Chaos, Runtime, stop_on_signals

MOST_TRIPS = 1_000_000
BAD, INTERRUPTED = 2, 130
"""Exit codes: options or a journal that can't be used; Ctrl-C before anything was begun."""

EXAMPLES = """\
examples:
  python -m demos.trip                                tell the story, in a new journal
  python -m demos.trip --trips 2000 --kill 0.01       book 2,000 trips while actors are dying
  python -m demos.trip --journal sqlite:trips.db      carry on with a journal, or begin one

exit codes: 0 the books balance, 1 they don't, 2 bad options or journal, 130 Ctrl-C, 143 SIGTERM
"""


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Say it and exit."""
        self.exit(BAD, f"{self.prog}: {message} (see --help)\n")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = Parser(
        prog="python -m demos.trip",
        description="Books trips: a seat on a flight, a hotel room and a cab, or none of them, whatever breaks.\n"
        "Without options it tells the story of a few of them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--trips", type=trips, metavar="N", help="book N trips at the same time, and measure")
    parser.add_argument(
        "--kill",
        type=probability,
        default=0.0,
        metavar="P",
        help="kill each actor with probability P before each message",
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="S", help="choose trips and victims by this number")
    parser.add_argument(
        "--journal",
        metavar="URL",
        help="where the events are kept: sqlite:FILE, postgresql://USER@HOST/DATABASE or memory: (default: a new "
        "file in a temporary folder). A journal that exists is carried on with, and trips that are unfinished in it "
        "are finished first",
    )
    parser.add_argument("--json", action="store_true", help="write nothing but one JSON object with the totals")
    return parser.parse_args(arguments)


def trips(text: str) -> int:
    """Read a number of trips."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 <= number <= MOST_TRIPS:
        raise argparse.ArgumentTypeError(f"it must be a whole number from 0 to {MOST_TRIPS:,}, not {text!r}")
    return number


def seed(text: str) -> int:
    """Read a seed."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"it must be a whole number, not {text!r}") from None


def probability(text: str) -> float:
    """Read a probability."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"it must be a number from 0 to below 1, not {text!r}")
    return number


async def run(options: argparse.Namespace, journal: str, page: Page) -> Report:
    """Tell the story or book the trips."""
    chaos = Chaos(options.seed, options.kill)

    def open_runtime() -> Runtime:
        return Runtime(journal, ACTORS, chaos=chaos)

    if options.trips is None:
        return await story.tell(open_runtime, journal, page)
    async with open_runtime() as runtime:
        page.note(f"Journal: {without_password(journal)}")
        report = await load.run(runtime, options.trips, options.seed, page)
        if chaos.kills:
            page.note(f"On the way {chaos.kills:,} actors were killed.")
        return report


async def run_until_stopped(options: argparse.Namespace, journal: str, page: Page) -> Report | int:
    """Run to the end, or in good order until a signal comes; then return the exit code."""
    with stop_on_signals() as stop:
        return await run(options, journal, page)
    return stop.exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and return the exit code."""
    options = parse(arguments)
    logging.getLogger("understudy").addHandler(logging.NullHandler())  # what matters here is told on the page
    journal = options.journal
    try:
        if journal is None:
            journal = f"sqlite:{tempfile.mkdtemp(prefix='understudy-')}/trips.db"
        report = asyncio.run(run_until_stopped(options, journal, Page(None if options.json else sys.stdout)))
        if isinstance(report, int):
            go_on = f"; go on with --journal {shlex.quote(without_password(journal))}" if journal != "memory:" else ""
            return complain(f"stopped{go_on}", report)
        if options.json:
            print(json.dumps(report.as_json(without_password(journal))), flush=True)
    except KeyboardInterrupt:
        return complain("stopped", INTERRUPTED)  # before anything was begun
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on; don't fail again at exit
        return BAD
    except (JournalError, UnderstudyError, OSError) as error:
        return complain(str(error), BAD)
    return 0 if report.books.balance else 1


def complain(what: str, code: int) -> int:
    """Say in one line on standard error what is wrong, and return the exit code."""
    print(f"python -m demos.trip: {' '.join(what.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
