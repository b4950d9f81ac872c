"""What begins again when the journal was lost and is there again, beside what stands in it."""

from typing import Any

from actors import Address, Saga
from runtime.cells import Phase, World
from runtime.saga_mail import join


def start_again(world: World, supervised: dict[Address[Any], Phase]) -> None:
    """Bring back members of groups that were there when the journal was lost, and have the ends of sagas told."""
    for address, phase in supervised.items():
        owner = world.owners.get(address)
        if owner is None:
            continue  # its parent is gone
        if phase is Phase.PARKED:
            owner.unpark()
        elif phase is not Phase.STOPPED and (cell := world.cell(address)).phase is Phase.STOPPED:
            cell.revive()
    for address in world.watches:
        if issubclass(world.kind(address.actor).cls, Saga):
            join(world.cell(address))
