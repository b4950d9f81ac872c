"""Supervision: what happens to the members of a group when one of them crashes.

A group is a list of members in the order in which they are started; a member is an actor, or a group inside. A crash
costs the group one of its restarts. When they are spent the failure goes to the group's owner.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from actors import Address, Group
from runtime.cells import Cell, Phase, World
from runtime.failures import passing
from runtime.log import log
from runtime.restarts import Budget


class Supervisor:
    """Keeps one group."""

    def __init__(
        self,
        world: World,
        group: Group,
        escalate: Callable[[BaseException], None] | None = None,
        parent: Address[Any] | None = None,
    ) -> None:
        """Keep the members of ``group``; ``escalate`` is told of what the group can't mend; None: they are parked.

        A group of children of a ``parent`` lets go of those that have finished.
        """
        self._world = world
        self.parent = parent
        self._group = group
        self._escalate = escalate or self._park
        self._budget = Budget(group.restart)
        self._members: list[Address[Any] | Supervisor] = []
        for member in group.members:
            if isinstance(member, Group):
                inner = Supervisor(world, member)
                inner._escalate = partial(self._failed, inner)
                self._members.append(inner)
            else:
                world.kind(member.actor)  # an unknown class is told here, and not at the first crash
                self.add(member)

    def add(self, address: Address[Any]) -> None:
        """Take an actor in, as the last one."""
        self._members.append(address)
        self._world.owners[address] = self

    def finished(self, address: Address[Any]) -> None:
        """Take note of a member that has ended in order."""
        if self.parent is not None and address in self._members:
            self._members.remove(address)
            self._world.owners.pop(address, None)

    def __bool__(self) -> bool:
        return bool(self._members)

    def __iter__(self) -> Iterator[Cell]:
        """The cells of all members, also those of groups inside, in the order in which they are started."""
        for member in self._members:
            yield from self._cells(member)

    def _cells(self, member: "Address[Any] | Supervisor") -> Iterator[Cell]:
        if isinstance(member, Supervisor):
            yield from member
        else:
            yield self._world.cell(member)

    def start(self) -> None:
        """Start all members that are not there."""
        for cell in self:
            if cell.phase is Phase.STOPPED:
                cell.revive()

    def end(self) -> None:
        """End all members, the last one first: their owner has ended."""
        for cell in reversed(list(self)):
            self._world.owners.pop(cell.address, None)
            cell.end_with_owner()
        self._members.clear()

    def crashed(self, address: Address[Any], error: BaseException) -> None:
        """Take note of a member's crash, and start again what has to be."""
        self._failed(address, error)

    def _failed(self, member: "Address[Any] | Supervisor", error: BaseException) -> None:
        pause = self._budget.spend(self._world.clock.steady(), self._world.random)
        if pause is None and passing(error):
            pause = self._group.restart.backoff.cap.total_seconds()
        if pause is None:
            self._escalate(error)
            return
        cells = [cell for other in self._affected(member) for cell in self._cells(other)]
        log.warning("group restarts", because=str(member), members=len(cells), restart_in=round(pause, 3))
        for cell in reversed(cells):
            if cell.phase is not Phase.STOPPED:
                cell.stop("killed", error)
        starts = [cell.suspend() for cell in cells]

        def start_all() -> None:
            for start in starts:
                start()

        self._world.delays.after(pause, start_all)

    def _affected(self, member: "Address[Any] | Supervisor") -> "list[Address[Any] | Supervisor]":
        match self._group.strategy:
            case "one_for_one":
                return [member]
            case "one_for_all":
                return list(self._members)
            case "rest_for_one":
                return self._members[self._members.index(member) :]

    def _park(self, error: BaseException) -> None:
        for cell in self:
            if cell.phase is not Phase.PARKED:
                cell.stop("parked", error)
                cell.park(error)

    def unpark(self) -> None:
        """Let the whole group try again, with a new budget."""
        self._budget = Budget(self._group.restart)
        for cell in self:
            cell.unpark()
        self.start()

    def __str__(self) -> str:
        if self.parent is not None:
            return f"the children of {self.parent}"
        return f"the group of {', '.join(str(cell.address) for cell in self)}"
