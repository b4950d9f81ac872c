"""Which batches can be written to a PostgreSQL journal, as far as what is there tells.

The batches of a call are judged one after the other in memory, each knowing those that have passed before it. What the
server must be asked for all of them takes as many questions as for one.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from persistence.errors import (
    ConditionFailed,
    DuplicateCommand,
    DuplicateEvent,
    JournalError,
    StreamBuried,
    StreamOwned,
    VersionConflict,
)
from persistence.journal import ANY, BURIED, DELETED, EXISTS, NONE, Append, Batch, Record, Stream, Written
from persistence.postgres_client import Link
from persistence.postgres_queries import BROKEN, COMMANDS_THERE, HEADS, IDS_THERE, OWNER, items
from persistence.postgres_text import escaped, named, unescaped
from persistence.query import Match, Unless
from persistence.records import to_records

Head = tuple[int, str]
"""A stream's version, and the type of its last event."""
NO_HEAD: Head = (0, DELETED)


class Judge:
    """Knows what there is that stands for or against some batches, and what those that have passed add to it."""

    def __init__(self, position: int) -> None:
        self.position = position
        """The position of the last event, also of those that have passed."""
        self.numbers: dict[Stream, int] = {}
        """The numbers of the streams that are there."""
        self._heads: dict[Stream, Head] = {}
        self._owners: dict[Stream, str] = {}
        """The owners of streams that are not ours."""
        self._commands: set[tuple[Stream, str]] = set()
        self._ids: set[str] = set()
        self._broken: dict[int, ConditionFailed] = {}
        """What the journal has against conditions, by their identities in memory."""
        self._conditions = False
        """Whether there are any, so that what has passed must be known."""
        self._passed: list[Record] = []
        self._tagged: dict[str, list[Record]] = {}

    # -- asking the server --------------------------------------------------------------------------------------

    async def look(self, link: Link, owner: int, appends: Sequence[Append]) -> None:
        """Find out what there is; ``owner`` is who we are."""
        streams = list(dict.fromkeys(append.stream for append in appends))
        for place, number, version, last, found in await link.fetch(HEADS, *named(streams)):
            index: int = place - 1
            self.numbers[streams[index]] = number
            self._heads[streams[index]] = (version or 0, unescaped(last or ""))
            if found != owner:
                self._owners[streams[index]] = await name_of_owner(link, found)
        commands = [(one.stream, one.command) for one in appends if one.command is not None and one.events]
        if commands:
            texts = [escaped(command) for _, command in commands]
            for (place,) in await link.fetch(COMMANDS_THERE, *named([stream for stream, _ in commands]), texts):
                index = place - 1
                self._commands.add(commands[index])
        ids = [event.id for append in appends for event in append.events if event.id is not None]
        if ids:
            for (place,) in await link.fetch(IDS_THERE, [escaped(id_) for id_ in ids]):
                index = place - 1
                self._ids.add(ids[index])
        await self._look_at_conditions(link, [append.unless for append in appends if append.unless is not None])

    async def _look_at_conditions(self, link: Link, conditions: Sequence[Unless]) -> None:
        self._conditions = bool(conditions)
        if conditions:
            values = items([(condition.query, condition.after) for condition in conditions])
            rows = await link.fetch(BROKEN, *values, self.position, 1)
            for place, position, category, key, version, name in rows:
                index: int = place
                stream = unescaped(category), unescaped(key)
                self._broken[id(conditions[index])] = ConditionFailed(position, stream, version, unescaped(name))

    # -- judging ------------------------------------------------------------------------------------------------

    def sorted_out(self, batches: Sequence[Batch], outcomes: list[Written | JournalError]) -> list[Append]:
        """Say of each batch what becomes of it; return the appends that are to be written, with exact versions."""
        passed: list[Append] = []
        for batch in batches:
            try:
                for append in batch:
                    if append.unless is not None:
                        self._check_condition(append.unless)
                told = self.check(batch)
            except JournalError as error:
                outcomes.append(error)
            else:
                outcomes.append(self._written(told))
                # What is said of a stream that there is not is said of none, also where a later batch begins it.
                passed += [append for append in told if self._heads[append.stream][0] or append.snapshot is None]
        return passed

    def _written(self, told: Sequence[Append]) -> Written:
        versions = tuple([append.expected + len(append.events) for append in told])
        events = sum([len(append.events) for append in told])
        if self._conditions:
            for record in to_records([tuple(told)], self.position + 1):
                self._passed.append(record)
                for tag in record.tags:
                    self._tagged.setdefault(tag, []).append(record)
        written = Written(self.position + 1 if events else self.position, versions)
        self.position += events
        return written

    def _check_condition(self, condition: Unless) -> None:
        error = self._broken.get(id(condition))
        if error is not None:
            raise error
        for item in condition.query or (Match(),):
            for record in self._tagged.get(item.tags[0], ()) if item.tags else self._passed:
                if record.position > condition.after and item.meets(record.stream[0], record.type, record.tags):
                    raise ConditionFailed(record.position, record.stream, record.version, record.type)

    def check(self, batch: Iterable[Append], *, exact: bool = False) -> list[Append]:
        """Return the appends with the versions that their streams are at; ``exact``: all must be known already.

        Raises:
            JournalError: they can't be written.
        """
        heads: dict[Stream, Head] = {}
        commands: set[tuple[Stream, str]] = set()
        ids: set[str] = set()
        told: list[Append] = []
        for append in batch:
            stream, events = append.stream, append.events
            version, last = heads.get(stream) or self._heads.get(stream, NO_HEAD)
            if stream in self._owners and (exact or _writes(append)):
                raise StreamOwned(stream, self._owners[stream])
            if append.expected != version and (
                exact or append.expected not in (ANY, NONE if last in (DELETED, BURIED) else EXISTS)
            ):
                raise VersionConflict(stream, append.expected, version)
            if events:
                if last == BURIED:
                    raise StreamBuried(stream)
                last = events[-1].type
                if append.command is not None:
                    command = (stream, append.command)
                    if command in self._commands or command in commands:
                        raise DuplicateCommand(stream, append.command)
                    commands.add(command)
                for id_ in [event.id for event in events if event.id is not None]:
                    if id_ in self._ids or id_ in ids:
                        raise DuplicateEvent(id_)
                    ids.add(id_)
            heads[stream] = (version + len(events), last)
            told.append(append if append.expected == version else msgspec.structs.replace(append, expected=version))
        self._heads.update(heads)
        self._commands |= commands
        self._ids |= ids
        return told


def _writes(append: Append) -> bool:
    """Return whether an append does more than look."""
    return bool(append.events or append.erase_before or append.snapshot or append.wake is not None)


async def name_of_owner(link: Link, number: int) -> str:
    """Return the name of the owner of a number."""
    rows = await link.fetch(OWNER, number)
    return rows[0][0] if rows else ""


def in_parts(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    """Yield the batches in parts that can be judged at once; one that erases, by itself.

    What it erases, those after it must not see any more. And it may find that there is damage.
    """
    part: list[Batch] = []
    for batch in batches:
        erases = any(append.erase_before for append in batch)
        if erases and part:
            yield part
            part = []
        part.append(batch)
        if erases:
            yield part
            part = []
    if part:
        yield part
