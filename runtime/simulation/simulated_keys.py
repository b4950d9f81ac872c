"""The keys of a simulated machine: what a process had kept, or destroyed, is so for the next one. Both may fail."""

import asyncio
import os
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from random import Random
from typing import NoReturn, Protocol

from persistence import Key, KeysUnusable
from persistence.keys import MemoryKeys
from runtime.simulation.faults import Fault, Place

SLOW_KEYS = 1_000
"""The most microseconds that it takes to keep keys, or to destroy them."""


class Machine(Protocol):
    """What keys need of their machine."""

    keys: "KeyDisk"

    def at(self, place: Place, label: str, sort: str, /) -> Sequence[Fault]:
        """Come to a place; return what goes wrong there."""
        ...

    def pause(self, most: int) -> float:
        """Return how long something takes, in seconds."""
        ...

    async def end_here(self) -> NoReturn:
        """Let the process die."""
        ...


class KeyDisk(MemoryKeys):
    """The keys on one machine."""

    @property
    def gone(self) -> list[Key]:
        """What is left of the keys that were destroyed."""
        return list(self._destroyed.values())


class SimulatedKeys:
    """What one process sees of them."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._disk = machine, machine.keys
        self.current, self.find = self._disk.current, self._disk.find
        self.destroyed, self.count_destroyed = self._disk.destroyed, self._disk.count_destroyed

    async def open(self) -> None:
        """Do nothing: they are always there."""

    async def close(self) -> None:
        """Do nothing: they stay for whoever opens them next."""

    async def add(self, keys: Sequence[Key]) -> None:
        """Keep new keys; see :meth:`Keys.add`."""
        faults = await self._begin("kept", keys)
        await self._disk.add(keys)
        await self._go_wrong(faults, "after")

    async def destroy(self, keys: Sequence[Key]) -> None:
        """Destroy keys; see :meth:`Keys.destroy`."""
        faults = await self._begin("destroyed", keys)
        await self._disk.destroy(keys)
        await self._go_wrong(faults, "after")

    async def _begin(self, what: str, keys: Sequence[Key]) -> Sequence[Fault]:
        names = ", ".join(sorted(key.subject for key in keys))
        faults = self._machine.at("keys", f"the keys of {names} are {what}", what)
        await asyncio.sleep(self._machine.pause(SLOW_KEYS))
        await self._go_wrong(faults, "before")
        return faults

    async def _go_wrong(self, faults: Sequence[Fault], when: str) -> None:
        for fault in faults:
            if fault.how == when:
                if fault.what == "crash":
                    await self._machine.end_here()
                raise KeysUnusable("the keys can't be written: disk I/O error")


@contextmanager
def random_bytes(seed: int) -> Generator[None]:
    """Have this thread's random bytes come by a seed, for keys and all else that is made of them; others' are real."""
    before, random, ident = os.urandom, Random(seed), threading.get_ident()

    def urandom(size: int, /) -> bytes:
        return random.randbytes(size) if threading.get_ident() == ident else before(size)

    os.urandom = urandom
    try:
        yield
    finally:
        os.urandom = before
