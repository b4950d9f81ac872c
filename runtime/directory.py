"""The directory: which classes of actors there are, and the cells of those that are in memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from actors import Actor, Address, DefinitionError, NotTaken, ReadModel, Saga, Service, UnknownActor
from runtime.cells import Cell, Phase
from runtime.kinds import Kind, kind_of

MakeCell = Callable[[Address[Any], Kind], Cell]


class Directory:
    """Finds the cell of an address; makes it where there is none."""

    def __init__(self, actors: Sequence[type], makers: dict[type, MakeCell]) -> None:
        self._kinds: dict[str, Kind] = {}
        self._makers: dict[str, MakeCell] = {}
        self._cells: dict[Address[Any], Cell] = {}
        for cls in actors:
            kind = kind_of(cls)
            if kind.name in self._kinds:
                raise DefinitionError(f"actors= names two classes {kind.name}; an address could mean either")
            self._kinds[kind.name] = kind
            for base, make in makers.items():
                if issubclass(cls, base):
                    self._makers[kind.name] = make

    def kind(self, name: str) -> Kind:
        """Return the kind of a class of actors.

        Raises:
            UnknownActor: the runtime was not given this class.
        """
        kind = self._kinds.get(name)
        if kind is None:
            known = [name for name in self._kinds if "." not in name]  # the others are the runtime's own
            raise UnknownActor(
                f"there is no actor {name!r} here, only {', '.join(sorted(known))}; add its class to actors=[...]"
            )
        return kind

    def kinds(self, base: type[Service[Any, Any, Any] | Saga[Any, Any] | ReadModel | Actor]) -> list[Kind]:
        """Return the kinds of all classes made from this base."""
        return [kind for kind in self._kinds.values() if issubclass(kind.cls, base)]

    def check(self, address: Address[Any], message: object) -> None:
        """Make sure that the actor at an address takes a message.

        Raises:
            UnknownActor: there is no such class of actors.
            NotTaken: it takes other messages.
        """
        kind = self._kinds.get(address.actor) or self.kind(address.actor)
        if type(message) not in kind.takes:
            takes = ", ".join(sorted(kind.commands)) or "queries"
            raise NotTaken(f"{kind.name} doesn't take {type(message).__name__}, only {takes}")

    def find(self, address: Address[Any]) -> Cell | None:
        """Return the cell of an address, if it is in memory."""
        return self._cells.get(address)

    def cell(self, address: Address[Any]) -> Cell:
        """Return the cell of an address; it need not be awake.

        Raises:
            UnknownActor: there is no such class of actors.
        """
        cell = self._cells.get(address)
        if cell is None:
            kind = self.kind(address.actor)
            make = self._makers.get(kind.name)
            if make is None:
                raise NotTaken(f"{kind.name} takes queries only, from outside: await runtime.ask({address}, ...)")
            if not address.key.isascii():
                _check_text(address.key)
            cell = self._cells[address] = make(address, kind)
        return cell

    def release(self, cell: Cell) -> None:
        """Let go of a cell that nothing keeps in memory; mail brings it back."""
        idle = not cell.unfinished and not cell.queued and cell.phase is not Phase.RECOVERING
        if idle and self._cells.get(cell.address) is cell:
            del self._cells[cell.address]
            cell.stop()

    def clear(self, keep: type[Cell]) -> None:
        """Drop all cells but those of one sort; their mail goes with them."""
        cells = list(self._cells.items())
        self._cells = {address: cell for address, cell in cells if isinstance(cell, keep)}
        for _, cell in cells:
            if not isinstance(cell, keep):
                cell.mail.clear()
                cell.stop()
                while cell.senders:
                    cell.let_in()  # to the mailbox of the cell that comes next

    def __iter__(self) -> Iterator[Cell]:
        return iter(list(self._cells.values()))

    def __len__(self) -> int:
        return len(self._cells)


def _check_text(key: str) -> None:
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise UnknownActor(f"an actor's key must be text that UTF-8 can hold, not {key!r}") from error
