"""What people type into a search box, as the databases want it: all of these words, or words that begin so."""

import re


def words_of(text: str) -> list[str]:
    """Return the words of what somebody has typed; whatever else it holds is nothing to search for."""
    return re.findall(r"\w+", text)


def for_fts5(text: str) -> str:
    """Return it as SQLite's FTS5 wants it; empty: there is nothing to search for.

    In quotes a word is a word, whatever FTS5 would make of it; the star finds those that begin so.
    """
    return " ".join(f'"{word}"*' for word in words_of(text))


def for_tsquery(text: str) -> str:
    """Return it as PostgreSQL's ``to_tsquery`` wants it; empty: there is nothing to search for."""
    return " & ".join(f"'{word}':*" for word in words_of(text))
