r"""Text that PostgreSQL can hold: it has no place for a NUL in text, and a key may have one.

A NUL is written as ``\000`` and a backslash as two. So different texts stay different, nearly all look as they are,
and the server's cast to bytea reads them as the bytes of their UTF-8.
"""

import re
from collections.abc import Sequence

from persistence.journal import Stream


def escaped(text: str) -> str:
    """Return the text as PostgreSQL keeps it."""
    if "\\" in text or "\0" in text:
        return text.replace("\\", "\\\\").replace("\0", "\\000")
    return text


def unescaped(text: str) -> str:
    """Return the text that was kept."""
    if "\\" in text:
        return re.sub(r"\\(\\|000)", lambda found: "\\" if found[1] == "\\" else "\0", text)
    return text


def named(streams: Sequence[Stream]) -> tuple[list[str], list[str]]:
    """Return streams as two arrays, of categories and of keys."""
    return [escaped(category) for category, _ in streams], [escaped(key) for _, key in streams]


def literal(texts: Sequence[str]) -> str:
    """Return texts as one that the server's cast to text[] reads: an array's element can't be an array itself."""
    return "{" + ",".join(f'"{_in_quotes(escaped(text))}"' for text in texts) + "}"


def _in_quotes(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
