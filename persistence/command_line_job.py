"""What a command of the command line is, and what it gets to work with."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from persistence.command_line_page import Page
from persistence.journal import Journal, Stream

OK, FOUND, BAD, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: fine; something was found, damage say; bad usage or a journal that can't be used; Ctrl-C."""

DIGITS = 18
"""The most that a number may have that is given as an option."""


class BadUsage(Exception):
    """What was asked for can't be done; the message says what to write."""


class Job(msgspec.Struct, frozen=True):
    """One run of a command."""

    journal: Journal
    """Open, for reading only unless the command holds it."""
    options: Namespace
    page: Page


def nothing_more(parser: ArgumentParser) -> None:
    """Add no options."""


class Command(msgspec.Struct, frozen=True):
    """A command. Other packages add theirs as entry points of the group ``understudy.commands``."""

    name: str
    summary: str
    """What it does, in a line."""
    run: Callable[[Job], Awaitable[int]]
    """Does it, and returns the exit code."""
    operand: str = ""
    """What it takes beside the journal and the options; "" for nothing."""
    add_options: Callable[[ArgumentParser], None] = nothing_more
    examples: tuple[str, ...] = ()
    """Command lines without the program's name and the command's."""
    more: str = ""
    """What else its help says."""
    access: Literal["watch", "hold"] = "watch"
    """Whether the journal is read beside a process that may hold it, or held (and made, where there is none)."""


def stream_of(text: str) -> Stream:
    """Return the stream that a person has written: its category up to the first slash, and its key.

    Raises:
        BadUsage: there is no slash in it.
    """
    category, slash, key = text.partition("/")
    if not slash:
        raise BadUsage(f"{text!r} names no stream; write its category and its key, as in Flight/LH441")
    return category, key


async def existing(journal: Journal, text: str) -> tuple[Stream, int]:
    """Return the stream that a person has written, and its version.

    Raises:
        BadUsage: there is no such stream.
    """
    stream = stream_of(text)
    heads = await journal.heads([stream])
    if stream not in heads:
        raise BadUsage(f"there is no stream {text} in {journal.url}; the command streams lists those that there are")
    return stream, heads[stream]


def at_least(least: int) -> Callable[[str], int]:
    """Return what reads a whole number of an option."""

    def read(text: str) -> int:
        if not text.isdecimal() or len(text) > DIGITS or int(text) < least:
            raise ArgumentTypeError(f"it must be a whole number from {least} on, not {text!r}")
        return int(text)

    return read
