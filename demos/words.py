"""Numbers and places in words, as stories need them."""

import tempfile
from pathlib import Path

WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def how_many(number: int, noun: str) -> str:
    """Return a number with its noun, in words where it is small."""
    word = WORDS[number] if number < len(WORDS) else f"{number:,}"
    return f"{word} {noun}{'' if number == 1 else 's'}"


def folder_beside(journal: str, suffix: str) -> Path:
    """Return a folder for what goes out: beside the journal's file, or a temporary one where it is none."""
    scheme, _, path = journal.partition(":")
    return Path(f"{Path(path).absolute()}.{suffix}" if scheme == "sqlite" else tempfile.mkdtemp(prefix="understudy-"))
