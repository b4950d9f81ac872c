"""The simulated databases of read models: SQLite in memory, without threads, kept by the machine beyond a process."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol, TypeVar

from persistence.connection import Connection, shielded
from persistence.sqlite_view import SqliteView
from persistence.views import Build, Shelf
from runtime.simulation.faults import Fault

T = TypeVar("T")

Name = tuple[str, str, int]
"""Which database: the read model, the fingerprint of what it was built from, and its generation."""

SLOW_VIEW = 500
"""The most microseconds that a statement, or a batch of them, takes."""


class Machine(Protocol):
    """What a database needs of its machine."""

    def at(self, place: Any, label: str, sort: str, /) -> Sequence[Fault]:
        """Come to a place; return what goes wrong there."""
        ...

    def pause(self, most: int) -> float:
        """Return how long something takes, in seconds."""
        ...

    async def end_here(self) -> NoReturn:
        """Let the process die."""
        ...

    def kill(self, read_model: str) -> None:
        """Let a read model crash."""
        ...


class ViewDisk:
    """The databases on one machine. What was committed is there after a crash."""

    def __init__(self) -> None:
        self.databases: dict[Name, sqlite3.Connection] = {}

    def database(self, name: Name) -> sqlite3.Connection:
        """Return a database; an empty one, where there is none yet."""
        found = self.databases.get(name)
        if found is None:
            found = sqlite3.connect(":memory:", isolation_level=None, cached_statements=256)
            self.databases[name] = found
        return found

    def drop(self, name: Name) -> None:
        """Remove a database."""
        found = self.databases.pop(name, None)
        if found is not None:
            found.close()

    def close(self) -> None:
        """Remove all."""
        for name in list(self.databases):
            self.drop(name)


class SimulatedConnection(Connection):
    """A connection whose work is done at once, in the loop, after a while."""

    def __init__(self, database: sqlite3.Connection, machine: Machine, name: str) -> None:
        super().__init__(lambda: database, iter_chunk_size=64)
        self._connection = database
        self._machine = machine
        self._model = name

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work``, to its end even if the caller is cancelled."""
        return await shielded(self._run(work))

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        machine = self._machine
        faults = machine.at("view", f"work on {self._model}'s database", self._model)
        await asyncio.sleep(machine.pause(SLOW_VIEW))
        for fault in faults:
            if fault.how == "before":
                await self._go_wrong(fault.what)
        result = work(self._conn)
        for fault in faults:
            if fault.how == "after":
                await self._go_wrong(fault.what)
        return result

    async def _go_wrong(self, what: str) -> None:
        match what:
            case "crash":
                await self._machine.end_here()
            case "kill":
                self._machine.kill(self._model)
            case _:
                raise _io_error()

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Do what the driver would have its thread do."""
        await asyncio.sleep(self._machine.pause(SLOW_VIEW))
        if self._connection is None:
            raise ValueError("Connection closed")
        return fn(*args, **kwargs)

    async def shut(self) -> None:
        """Let go of the database, which stays."""
        self._connection = None

    async def close(self) -> None:
        """Let go of the database, which stays."""
        self._connection = None

    def __del__(self) -> None:
        """Say nothing: who dies closes nothing."""


class SimulatedView(SqliteView):
    """One read model's database on a machine."""

    def __init__(
        self, machine: Machine, disk: ViewDisk, name: Name, schema: str, journal: str, now: Callable[[], int]
    ) -> None:
        super().__init__(None, schema, journal, now)
        self._machine = machine
        self._disk = disk
        self._name = name

    async def _connect(self) -> None:
        self._writer = SimulatedConnection(self._disk.database(self._name), self._machine, self._name[0])

    async def _connect_reader(self) -> None:
        if self._writer is None:
            await self._connect()
        await super()._connect_reader()

    async def _remake(self) -> None:
        self._disk.drop(self._name)
        await super()._remake()


class SimulatedShelf(Shelf):
    """The databases of read models on a machine."""

    def __init__(self, machine: Machine, disk: ViewDisk) -> None:
        self._machine = machine
        self._disk = disk

    def view(self, name: str, build: Build, schema: str, journal: str, now: Callable[[], int]) -> SimulatedView:
        """Return a database; see :meth:`Shelf.view`."""
        place = (name, build.fingerprint, build.generation)
        return SimulatedView(self._machine, self._disk, place, schema, journal, now)

    async def builds(self, name: str) -> list[Build]:
        """Return the databases that there are; see :meth:`Shelf.builds`."""
        builds: list[Build] = []
        for (model, fingerprint, generation), db in self._disk.databases.items():
            if model == name:
                try:
                    row = db.execute(
                        "select journal, form, made, ready, position from understudy_checkpoint"
                    ).fetchone()
                except sqlite3.Error:
                    continue
                if row is not None:
                    builds.append(Build(fingerprint, generation, row[0], row[1], row[2], bool(row[3]), row[4]))
        return sorted(builds, key=lambda build: (build.made, build.generation))

    async def drop(self, name: str, build: Build) -> bool:
        """Remove a database; see :meth:`Shelf.drop`."""
        self._disk.drop((name, build.fingerprint, build.generation))
        return True


def _io_error() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error
