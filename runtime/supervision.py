"""Supervision: what happens to the members of a group when one of them crashes.

A group is a list of members in the order in which they are started; a member is an actor, or a group inside. A crash
costs the group one of its restarts. When they are spent the failure goes to the group's owner.
"""

from collections.abc import Callable, Iterator
from typing import Any

from actors import ActorMisuse, Address, DefinitionError, Group, NotTaken, ReadModel, RestartPolicy, Subscriber
from runtime.cells import Cell, Phase, World
from runtime.log import log
from runtime.pool_cell import worker_address
from runtime.restarts import Budget

MOST_CHILDREN = 100_000
"""How many children one actor may have."""


class Supervisor:
    """Keeps one group."""

    def __init__(
        self,
        world: World,
        group: Group,
        *,
        outer: "Supervisor | None" = None,
        parent: Address[Any] | None = None,
        escalate: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Keep the members of ``group``.

        What it can't mend goes to the group ``outer`` that it is in, or is what a ``parent`` whose children it holds is
        told by ``escalate``; else all members are parked. A group of children lets go of those that have finished.
        """
        self._world = world
        self.parent = parent
        self._escalate = escalate
        self._group = group
        self._outer = outer
        self._budget = Budget(group.restart)
        self._members: dict[Address[Any] | Supervisor, None] = {}
        """In the order in which they are started."""
        for member in group.members:
            if isinstance(member, Group):
                self._members[Supervisor(world, member, outer=self)] = None
            else:
                self._add_member(member)

    def _add_member(self, address: Address[Any]) -> None:
        kind = self._world.kind(address.actor)  # an unknown class is told here, and not at the first crash
        if issubclass(kind.cls, ReadModel | Subscriber):
            raise NotTaken(f"{address} can't be in a group: what follows the journal starts and retries by itself")
        if kind.pool is None:
            self.add(address)
        else:
            for number in range(kind.pool.size):
                self.add(worker_address(address, number))

    def add(self, address: Address[Any]) -> None:
        """Take an actor in, as the last one."""
        if address in self._world.owners:
            raise DefinitionError(f"{address} is in two groups; which of them would start it again?")
        if self.parent is not None and len(self._members) >= MOST_CHILDREN:
            raise ActorMisuse(f"there are {MOST_CHILDREN:,} children already; let some finish")
        self._members[address] = None
        self._world.owners[address] = self

    def finished(self, address: Address[Any]) -> None:
        """Take note of a member that has ended in order."""
        if self.parent is not None:
            self._members.pop(address, None)
            self._world.owners.pop(address, None)

    @property
    def restart(self) -> RestartPolicy:
        """How the group is started again; for how long it is parked, the outermost one says."""
        return self._group.restart if self._outer is None else self._outer.restart

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
        pause = self._budget.spend(error, self._world.clock.steady(), self._world.random)
        if pause is None:
            self._give_up(error)
            return
        affected = self._affected(member)
        for other in affected:
            if isinstance(other, Supervisor):
                other.renew()
        cells = [cell for other in affected for cell in self._cells(other)]
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
        members = list(self._members)
        match self._group.strategy:
            case "one_for_one":
                return [member]
            case "one_for_all":
                return members
            case "rest_for_one":
                return members[members.index(member) :]

    def _give_up(self, error: BaseException) -> None:
        if self._outer is not None:
            self._outer._failed(self, error)
        elif self._escalate is not None:
            self._escalate(error)
        else:
            for cell in self:
                if cell.phase is not Phase.PARKED:
                    cell.stop("parked", error)
                    cell.park(error)

    def renew(self) -> None:
        """Begin with a new budget, also in the groups inside: the group is started again as a whole."""
        self._budget = Budget(self._group.restart)
        for member in self._members:
            if isinstance(member, Supervisor):
                member.renew()

    def unpark(self) -> None:
        """Let all that was parked together try again, with a new budget."""
        if self._outer is not None:
            self._outer.unpark()
            return
        self.renew()
        for cell in self:
            if cell.phase is Phase.PARKED:
                cell.pardon()
        self.start()

    def __str__(self) -> str:
        if self.parent is not None:
            return f"the children of {self.parent}"
        return f"the group of {', '.join(str(cell.address) for cell in self)}"
