"""Who decides what becomes of an actor that has crashed: its group."""

from typing import Any, Protocol

from actors import Address, RestartPolicy


class Owner(Protocol):
    """Who decides what becomes of an actor that has crashed: its group."""

    parent: Address[Any] | None
    """Whose children the group holds, if it is one of children."""

    @property
    def restart(self) -> RestartPolicy:
        """How the group is started again; for how long it is parked."""
        ...

    def crashed(self, address: Address[Any], error: BaseException, /) -> None:
        """Take note of a member's crash, and start again what has to be."""
        ...

    def finished(self, address: Address[Any], /) -> None:
        """Take note of a member that has ended in order."""
        ...

    def unpark(self) -> None:
        """Let the whole group try again, with a new budget."""
        ...
