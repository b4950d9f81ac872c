"""Every error that journals and their engines raise, in one place."""


class JournalError(Exception):
    """The base of all errors of the journal."""


class BadJournalUrl(JournalError, ValueError):
    """The journal's URL can't be understood; the message says what to write."""


class JournalUnusable(JournalError):
    """The journal can't be opened: it can't be written, or the place doesn't exist."""


class StatementFailed(Exception):
    """A read model's statement failed, or may not be run; the message holds nothing of what is in a row."""


class JournalInUse(JournalError):
    """Another process holds the journal; the message names it."""


class JournalTaken(JournalError):
    """Another process has taken the journal over; this one can't write to it any more. The message names the other."""


class StreamOwned(JournalError):
    """The stream belongs to another owner of the journal, who alone may write to it. Nothing was written."""

    def __init__(self, stream: tuple[str, str], owner: str) -> None:
        super().__init__(
            f"stream {stream[0]}/{stream[1]} belongs to the journal's owner {owner!r}; write to it there, "
            "or take its streams over"
        )
        self.stream = stream
        self.owner = owner


class NotAJournal(JournalError):
    """There is a file, but Understudy did not write it, or a newer version did."""


class JournalDamaged(JournalError):
    """A record is not what was written, or is missing; the message names stream and position."""


class RecordDamaged(JournalDamaged):
    """One record is not what was written. That stops its readers; the others are not worse for it."""


class NotAnArchive(JournalError):
    """There is a file, but it is no archive of a journal, or a newer version wrote it."""


class ArchiveDamaged(JournalError):
    """The archive is not whole: it ends in the middle, or a part of it is not what was written."""


class JournalNotEmpty(JournalError):
    """What should be brought into the journal can't follow what is there already. Nothing was written."""


class VersionConflict(JournalError):
    """A stream was not at the version that the writer expected: somebody else wrote. Nothing was written."""

    def __init__(self, stream: tuple[str, str], expected: int, actual: int) -> None:
        words = {-1: "any", -2: "that it exists"}
        super().__init__(
            f"stream {stream[0]}/{stream[1]} is at version {actual}, the writer expected "
            f"{words.get(expected, expected)}"
        )
        self.stream = stream
        self.expected = expected
        self.actual = actual


class ConditionFailed(JournalError):
    """The journal has an event that the condition of an append forbids; the error names it. Nothing was written."""

    def __init__(self, position: int, stream: tuple[str, str], version: int, type_: str) -> None:
        super().__init__(
            f"the condition doesn't hold: {type_}, version {version} of stream {stream[0]}/{stream[1]}, at position "
            f"{position}"
        )
        self.position = position
        self.stream = stream
        self.version = version
        self.type = type_


class StreamBuried(JournalError):
    """The stream was deleted for good. Nothing was written."""

    def __init__(self, stream: tuple[str, str]) -> None:
        super().__init__(f"stream {stream[0]}/{stream[1]} was deleted for good; use another key")
        self.stream = stream


class DuplicateEvent(JournalError):
    """An event with this id is in the journal already, and not as a part of the same append. Nothing was written."""

    def __init__(self, event_id: str) -> None:
        super().__init__(f"the journal already holds an event with the id {event_id!r}; give each event its own")
        self.event_id = event_id


class DuplicateCommand(JournalError):
    """The stream already holds events of a command with this id. Nothing was written."""

    def __init__(self, stream: tuple[str, str], command: str) -> None:
        super().__init__(f"stream {stream[0]}/{stream[1]} already holds the events of command {command!r}")
        self.stream = stream
        self.command = command


class AppendFailed(JournalError):
    """The journal could not be written, or whether it was is unknown; ``__cause__`` says why."""


class NotEncodable(JournalError, ValueError):
    """A value can't be stored so that it reads back the same; the message says what is wrong with it."""


class NotDecodable(JournalError, ValueError):
    """Stored bytes don't fit the type that they should have."""


class KeyMissing(NotDecodable):
    """A value was sealed with a key that the runtime's keys don't hold, nor know as destroyed; the message names whose.

    They are other keys than those that the journal was written with, or an old copy of them.
    """


class KeysUnusable(JournalError):
    """The keys can't be opened, read or written, or can't be used for what they are asked for."""
