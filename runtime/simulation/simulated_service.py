"""Services in a simulation: they tell where ``evolve`` refuses, which to a client looks like any refusal."""

from typing import Any

from actors import Address, Event, Refused
from runtime.cells import Cell, World
from runtime.kinds import Kind
from runtime.observed_cells import ObservedService
from runtime.service_cell import ServiceCell
from runtime.simulation.machine import Machine
from runtime.simulation.telling import refusal


class SimulatedService(ServiceCell):
    """A service of which is noted what its ``evolve`` refuses."""

    __slots__ = ("_machine",)

    def __init__(self, machine: Machine, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self._machine = machine

    def empty(self, version: int) -> None:
        """Begin anew behind this version."""
        super().empty(version)
        service, refusals, name = self.service, self._machine.refusals, self.kind.name
        assert service is not None
        evolve = service.evolve

        def watched(state: Any, event: Event) -> Any:
            try:
                return evolve(state, event)
            except Refused as refused:
                refusals.append(refusal(name, event, refused))
                raise

        vars(service)["evolve"] = watched


class SimulatedObservedService(ObservedService, SimulatedService):
    """The same, where the node is observed."""

    __slots__ = ()


def service_cell(machine: Machine, world: World, address: Address[Any], kind: Kind) -> Cell:
    """Return a service's cell."""
    cls = SimulatedObservedService if world.observer.on else SimulatedService
    return cls(machine, world, address, kind)
