"""The journal and its engines. Knows nothing of actors: streams, events as bytes, positions and versions."""

from persistence.errors import (
    AppendFailed,
    BadJournalUrl,
    DuplicateCommand,
    JournalDamaged,
    JournalError,
    JournalInUse,
    JournalTaken,
    JournalUnusable,
    NotAJournal,
    NotDecodable,
    NotEncodable,
    VersionConflict,
)
from persistence.journal import AT_ONCE, NEVER, Append, Batch, Journal, NewEvent, Record, Sleeper, Stream
from persistence.memory import MemoryJournal
from persistence.sqlite import SqliteJournal

__all__ = [
    "AT_ONCE",
    "NEVER",
    "Append",
    "AppendFailed",
    "BadJournalUrl",
    "Batch",
    "DuplicateCommand",
    "Journal",
    "JournalDamaged",
    "JournalError",
    "JournalInUse",
    "JournalTaken",
    "JournalUnusable",
    "MemoryJournal",
    "NewEvent",
    "NotAJournal",
    "NotDecodable",
    "NotEncodable",
    "Record",
    "Sleeper",
    "SqliteJournal",
    "Stream",
    "VersionConflict",
]
