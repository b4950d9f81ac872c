"""The command line: looks into a journal and keeps it safe, also beside the process that holds it."""

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import NoReturn

from persistence import command_line_keeping as keeping
from persistence import command_line_reading as reading
from persistence.command_line_job import BAD, FOUND, INTERRUPTED, BadUsage, Command, Job
from persistence.command_line_page import Page, printable
from persistence.errors import ArchiveDamaged, JournalDamaged, JournalError
from persistence.limits import MOST_PAYLOAD
from persistence.opening import journal_of

PROGRAM = "python -m persistence"
VARIABLE = "UNDERSTUDY_JOURNAL"
GROUP = "understudy.commands"
URL = re.compile(r"(sqlite|memory|postgres|postgresql):")
OURS: Sequence[Command] = (
    reading.INFO,
    reading.STREAMS,
    reading.SHOW,
    reading.TAIL,
    keeping.VERIFY,
    keeping.SEAL,
    keeping.EXPORT,
    keeping.IMPORT,
    keeping.BACKUP,
)

USAGE = f"usage: {PROGRAM} COMMAND [URL] [...]\n"
HELP = """\
{usage}
Looks into a journal and keeps it safe, also while another process holds it.

commands:
{commands}

URL is sqlite:FILE or postgresql://USER@HOST/DATABASE?schema=NAME. It may also stand before the command, be given with
--journal, or be in the environment as {variable}. Each command takes --json, and says more with --help.

examples:
  {program} info sqlite:trips.db
  {program} show sqlite:trips.db Flight/LH441
  {program} tail sqlite:trips.db -f --json | jq .data

exit codes: 0 fine, 1 something was found (damage, say), 2 bad usage or a journal that can't be used, 130 Ctrl-C
"""


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Say it and exit."""
        raise BadUsage(f"{message} (see --help)")


def all_commands() -> dict[str, Command]:
    """Return our commands and those of other packages."""
    commands = {command.name: command for command in OURS}
    for entry in entry_points(group=GROUP):
        found = entry.load()
        if isinstance(found, Command):
            commands.setdefault(found.name, found)
    return commands


def parser_of(command: Command) -> Parser:
    """Return what reads a command's options."""
    name = f"{PROGRAM} {command.name}"
    examples = "\n".join(f"  {name} {example}" for example in command.examples)
    parser = Parser(
        prog=name,
        usage=f"{name} [URL]{' ' if command.operand else ''}{command.operand} [options]",
        description=f"{command.summary[0].upper()}{command.summary[1:]}.\n{command.more}",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("operands", nargs="*", help=argparse.SUPPRESS)
    command.add_options(parser)
    parser.add_argument("--journal", metavar="URL", help=f"the journal (default: URL, or what {VARIABLE} says)")
    parser.add_argument("--json", action="store_true", help="write JSON, one object a line")
    return parser


def split(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the command's name, and the other arguments in an order in which its parser takes them.

    Raises:
        BadUsage: there is no command.
    """
    before: list[str] = []
    rest = list(arguments)
    while rest and (rest[0].startswith("-") or URL.match(rest[0]) or (rest[0] not in _NAMES and rest[1:2] in _ALONE)):
        before.append(rest.pop(0))
        if before[-1] == "--journal" and rest:
            before.append(rest.pop(0))
    if not rest:
        raise BadUsage("write a command (see --help)")
    return rest[0], [*before, *rest[1:]]


_NAMES = [command.name for command in OURS]
_ALONE = [[name] for name in _NAMES]


def parse(command: Command, arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[str, argparse.Namespace]:
    """Return the journal's URL and a command's options; what it takes beside them is ``operand``.

    Raises:
        BadUsage: they can't be understood.
    """
    options = parser_of(command).parse_intermixed_args(list(arguments))
    operands: list[str] = options.operands
    wanted = 1 if command.operand else 0
    url: str | None = options.journal
    if url is None and len(operands) > wanted:
        url = operands.pop(0)
    elif url is None and len(operands) == 1 == wanted and URL.match(operands[0]):
        raise BadUsage(f"write {command.operand} behind the journal's URL (see --help)")
    if len(operands) > wanted:
        raise BadUsage(f"unrecognized arguments: {' '.join(map(printable, operands[wanted:]))} (see --help)")
    if len(operands) < wanted:
        raise BadUsage(f"{command.operand} is missing (see --help)")
    url = url or environment.get(VARIABLE)
    if not url:
        raise BadUsage(f"which journal? Write its URL, as in sqlite:trips.db, or set {VARIABLE} (see --help)")
    if url == "memory:":
        raise BadUsage("a journal in memory is gone with its process; name one that is kept, as in sqlite:trips.db")
    options.operand = operands[0] if operands else ""
    return url, options


async def run(command: Command, url: str, options: argparse.Namespace, page: Page) -> int:
    """Open the journal, do what is wanted, and return the exit code."""
    journal = journal_of(url, watching=command.access == "watch", max_payload=MOST_PAYLOAD)
    try:
        await journal.open()
        return await command.run(Job(journal, options, page))
    finally:
        page.clear()
        await journal.close()


def help_text() -> str:
    """Return the help on all commands."""
    commands = all_commands().values()
    width = max(len(command.name) for command in commands)
    listed = "\n".join(f"  {command.name:<{width}}  {command.summary}" for command in commands)
    return HELP.format(usage=USAGE, commands=listed, variable=VARIABLE, program=PROGRAM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    page = Page(as_json="--json" in arguments)
    try:
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            page.text(help_text())
            return BAD if not arguments else 0
        name, rest = split(arguments)
        command = all_commands().get(name) if name not in _NAMES else OURS[_NAMES.index(name)]
        if command is None:
            raise BadUsage(f"there is no command {name!r} (see --help)")
        url, options = parse(command, rest, os.environ)
        code = asyncio.run(run(command, url, options, page))
        page.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        page.nobody_reads()
        return 0
    except (JournalDamaged, ArchiveDamaged) as error:
        return complain(str(error), FOUND)
    except (BadUsage, JournalError, OSError) as error:
        return complain(str(error), BAD)
    return code


def complain(what: str, code: int) -> int:
    """Say in one line on standard error what is wrong, and return the exit code."""
    print(f"{PROGRAM}: {printable(' '.join(what.split()))}", file=sys.stderr)
    return code
