"""Waiting for a position: those who want to see a read model's tables when they have come that far."""

import asyncio


class Waiting:
    """Those who wait, each for a position."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def wait(self, position: int) -> None:
        """Wait until :meth:`let_go` comes to the position; raises what :meth:`fail` is given."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((position, future))
        await future

    def let_go(self, position: int) -> None:
        """Let those go who wait for a position up to this one."""
        waiting, self._waiting = self._waiting, []
        for wanted, future in waiting:
            if wanted > position:
                self._waiting.append((wanted, future))
            elif not future.done():
                future.set_result(None)

    def fail(self, error: Exception) -> None:
        """Tell all who wait that it won't come to that."""
        waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(error)

    def move_to(self, other: "Waiting") -> None:
        """Have all who wait wait there instead."""
        other._waiting += self._waiting
        self._waiting = []
