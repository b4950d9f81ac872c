"""The journal in memory: the reference for the other engines, and the double for tests. Gone with the process."""

import uuid
from collections.abc import Mapping, Sequence

from persistence.errors import DuplicateCommand, VersionConflict
from persistence.journal import AT_ONCE, NEVER, PAGE, Batch, Journal, Record, Sleeper, Stream, to_records


class MemoryJournal(Journal):
    """Keeps everything in lists.

    ``records`` may be given to start from, say a prefix of another journal's; the owners of ``unfinished`` must be
    awake at once then, and others at their times in ``wakes``.
    """

    def __init__(
        self,
        records: Sequence[Record] = (),
        unfinished: Sequence[Stream] = (),
        wakes: Mapping[Stream, int] | None = None,
    ) -> None:
        self.url = "memory:"
        self.identity = uuid.uuid4().hex
        self.records: list[Record] = []
        self._streams: dict[Stream, list[Record]] = {}
        self._commands: dict[tuple[Stream, str], int] = {}
        self._wakes: dict[Stream, int] = {**dict.fromkeys(unfinished, AT_ONCE), **(wakes or {})}
        """When owners of streams must be awake; NEVER is left out."""
        self._keep(list(records))

    async def open(self) -> None:
        """Do nothing: memory is always open."""

    async def close(self) -> None:
        """Do nothing: what was written stays until the object goes."""

    async def append(self, batches: Sequence[Batch]) -> int:
        """Write a group; see :meth:`Journal.append`."""
        first = self.position + 1
        self._check(batches)
        self._keep(to_records(batches, first))
        for append in (append for batch in batches for append in batch):
            if append.wake == NEVER:
                self._wakes.pop(append.stream, None)
            elif append.wake is not None and append.stream in self._streams:
                self._wakes[append.stream] = append.wake
        return first

    def _check(self, batches: Sequence[Batch]) -> None:
        versions: dict[Stream, int] = {}
        commands: set[tuple[Stream, str]] = set()
        for append in (append for batch in batches for append in batch):
            stream = append.stream
            version = versions.get(stream, len(self._streams.get(stream, ())))
            if version != append.expected:
                raise VersionConflict(stream, append.expected, version)
            versions[stream] = version + len(append.events)
            if append.command is not None and append.events:
                command = (stream, append.command)
                if command in self._commands or command in commands:
                    raise DuplicateCommand(stream, append.command)
                commands.add(command)

    def _keep(self, records: list[Record]) -> None:
        for record in records:
            self._streams.setdefault(record.stream, []).append(record)
            if record.command is not None:
                self._commands[record.stream, record.command] = record.version
        self.records.extend(records)
        self.position = len(self.records)

    async def recover(self) -> None:
        """Do nothing: an append to memory doesn't fail halfway."""

    async def heads(self, streams: Sequence[Stream]) -> dict[Stream, int]:
        """Return the versions; see :meth:`Journal.heads`."""
        return {stream: len(self._streams[stream]) for stream in streams if stream in self._streams}

    async def read(self, stream: Stream, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return a page of one stream; see :meth:`Journal.read`."""
        return self._streams.get(stream, [])[after : after + limit]

    async def read_all(self, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return a page of all streams; see :meth:`Journal.read_all`."""
        return self.records[after : after + limit]

    async def find(self, stream: Stream, command: str) -> int | None:
        """Return the version of a command's first event; see :meth:`Journal.find`."""
        return self._commands.get((stream, command))

    async def unfinished(self) -> list[Stream]:
        """Return the streams to be woken at once; see :meth:`Journal.unfinished`."""
        return [stream for stream in self._streams if self._wakes.get(stream) == AT_ONCE]

    async def sleeping(self, after: Sleeper | None = None, limit: int = PAGE) -> list[Sleeper]:
        """Return a page of the streams to be woken later; see :meth:`Journal.sleeping`."""
        sleepers = (
            Sleeper(wake, number, stream)
            for number, stream in enumerate(self._streams, 1)
            if (wake := self._wakes.get(stream, AT_ONCE)) != AT_ONCE
        )
        behind = (AT_ONCE, 0) if after is None else (after.wake, after.number)
        later = (sleeper for sleeper in sleepers if (sleeper.wake, sleeper.number) > behind)
        return sorted(later, key=lambda sleeper: (sleeper.wake, sleeper.number))[:limit]
