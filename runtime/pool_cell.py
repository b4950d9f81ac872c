"""The cell of a pool: it has no actor of its own, and hands what comes on to its workers."""

from typing import Any
from zlib import crc32

from actors import Address, Failed, Pool
from runtime.cells import Cell, Phase, World
from runtime.failures import failure
from runtime.kinds import Kind
from runtime.mailbox import Envelope


class PoolCell(Cell):
    """Several workers behind one address. Its own mailbox has no room, so senders always look for a worker's."""

    __slots__ = ("_next", "_pool")

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        assert kind.pool is not None
        self._pool: Pool = kind.pool
        self._next = 0
        self.limit = 0

    def target(self, message: object, path: tuple[Address[Any], ...] = ()) -> Cell:
        """Return the worker for a message: by its key, or the next one that has room and doesn't wait for the reply.

        Raises:
            Failed: the author's code couldn't tell the key.
        """
        size = self._pool.size
        if self._pool.by is not None:
            try:
                key = repr(self._pool.by(message))
            except Exception as error:
                raise failure(self.address, message, error) from error
            return self._worker(crc32(key.encode("utf-8", "surrogatepass")) % size)  # hash() differs by process
        for _ in range(size):
            self._next = (self._next + 1) % size
            worker = self._worker(self._next)
            if not worker.crowded and worker.address not in path:
                break
        return self._worker(self._next)

    def _worker(self, number: int) -> Cell:
        return self.world.cell(worker_address(self.address, number))

    def put(self, envelope: Envelope) -> None:
        """Hand a message on."""
        self.target(envelope.message).put(envelope)

    def put_from_inside(self, envelope: Envelope) -> None:
        """Hand on a message of another actor's."""
        try:
            worker = self.target(envelope.message, envelope.path)
        except Failed as error:
            self.give_back(envelope, error)
        else:
            worker.put_from_inside(envelope)

    def _workers(self) -> list[Cell]:
        found = [self.world.find(worker_address(self.address, number)) for number in range(self._pool.size)]
        return [worker for worker in found if worker is not None]

    @property
    def resting(self) -> bool:
        """Whether it could leave the memory: always, for it keeps nothing but whose turn it is."""
        return self.phase is Phase.STOPPED

    def kill(self) -> None:
        """Kill all workers."""
        for worker in self._workers():
            worker.kill()

    def unpark(self) -> None:
        """Let all workers that are parked try again."""
        for worker in self._workers():
            worker.unpark()

    def forget(self) -> None:
        """Do nothing: there is nothing to forget."""


def worker_address(pool: Address[Any], number: int) -> Address[Any]:
    """Return the address of one worker of a pool; no class has such a name, so it can be no other actor's."""
    return Address(f"{pool.actor}#{number}", pool.key)
