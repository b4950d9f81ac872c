"""The directory: which classes of actors there are, and the cells of those that are in memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from actors import (
    Actor,
    Address,
    DefinitionError,
    Elsewhere,
    Failed,
    NotTaken,
    Query,
    ReadModel,
    Saga,
    Service,
    Subscriber,
    UnknownActor,
)
from persistence.codec import PLAIN, Codec
from runtime.cells import Cell, Phase
from runtime.kinds import Kind, kind_of
from runtime.pool_cell import worker_address
from runtime.reminder_mail import ReminderMail
from runtime.takers import Takers, check_key

MakeCell = Callable[[Address[Any], Kind], Cell]


class Directory(Takers):
    """Finds the cell of an address; makes it where there is none."""

    def __init__(
        self, actors: Sequence[type], makers: dict[type, MakeCell], make_pool: MakeCell, codec: Codec = PLAIN
    ) -> None:
        self._kinds: dict[str, Kind] = {}
        self._makers: dict[str, MakeCell] = {}
        self._cells: dict[Address[Any], Cell] = {}
        self.find = self._cells.get
        """Return the cell of an address, if it is in memory."""
        self.clustered = False
        """Whether there are other nodes, where classes may live that are not known here."""
        self.on_new: Callable[[Kind], None] = lambda _: None
        """Called with the kind of each cell that is made."""
        self._codec = codec
        for cls in actors:
            kind = self._add(cls)
            for base, make in makers.items():
                if issubclass(cls, base):
                    self._makers[kind.name] = make
            if kind.pool is not None:
                worker = kind_of(cls, codec)
                worker.pool, worker.counts = None, kind.counts
                for number in range(kind.pool.size):
                    name = worker_address(Address(kind.name), number).actor
                    self._kinds[name] = worker
                    self._makers[name] = self._makers[kind.name]
                self._makers[kind.name] = make_pool

    def _add(self, cls: type) -> Kind:
        kind = kind_of(cls, self._codec)
        if kind.name in self._kinds:
            raise DefinitionError(f"actors= names two classes {kind.name}; an address could mean either")
        self._kinds[kind.name] = kind
        return kind

    def add_remote(self, cls: type, make: MakeCell) -> Kind:
        """Take in a class whose actors live on other nodes; ``make`` makes what stands for one here."""
        kind = self._add(cls)
        kind.remote = True
        self._makers[kind.name] = make
        return kind

    def kind(self, name: str) -> Kind:
        """Return the kind of a class of actors, here or on another node.

        Raises:
            UnknownActor: the runtime was not given this class.
        """
        kind = self._kinds.get(name)
        if kind is None:
            known = sorted(name for name, kind in self._kinds.items() if name == kind.name and "." not in name)
            others = f", only {', '.join(known)}" if known else ""
            raise UnknownActor(f"there is no actor {name!r} here{others}; add its class to actors=[...]")
        return kind

    def own_kind(self, address: Address[Any]) -> Kind:
        """Return the kind of an actor that lives on this node.

        Raises:
            Elsewhere: it lives on another one.
            UnknownActor: the runtime was not given this class.
        """
        kind = self.kind_at(address)
        if kind.remote:
            raise Elsewhere(
                f"{address} lives on another node, where this must be done; from here it can be asked and told"
            )
        return kind

    def may_tell(self, address: Address[Any]) -> bool:
        """Whether the journal of this node tells what becomes of an actor, as far as anybody knows."""
        kind = self._kinds.get(address.actor)
        return not self.clustered if kind is None else not kind.remote

    @property
    def all_kinds(self) -> list[Kind]:
        """What is known of each class of actors of this node, without the workers of pools."""
        return [kind for name, kind in self._kinds.items() if name == kind.name and not kind.remote]

    @property
    def remote_kinds(self) -> list[Kind]:
        """What is known of each class whose actors live on other nodes."""
        return [kind for kind in self._kinds.values() if kind.remote]

    def kinds(self, base: type[Service[Any, Any, Any] | Saga[Any, Any] | ReadModel | Subscriber | Actor]) -> list[Kind]:
        """Return the kinds of all classes made from this base."""
        return [kind for kind in self.all_kinds if issubclass(kind.cls, base)]

    def cell(self, address: Address[Any]) -> Cell:
        """Return the cell of an address; it need not be awake.

        Raises:
            UnknownActor: there is no such class of actors.
        """
        cell = self._cells.get(address)
        if cell is None:
            kind = self.kind_at(address)
            make = self._makers.get(address.actor)
            if make is None:
                if issubclass(kind.cls, Subscriber):
                    raise NotTaken(f"{kind.name} takes no messages; it follows the journal")
                raise NotTaken(f"{kind.name} takes queries only, from outside: await runtime.ask({address}, ...)")
            check_key(address)
            cell = self._cells[address] = make(address, kind)
            kind.counts.active += 1
            self.on_new(kind)
        return cell

    def taker(self, address: Address[Any], message: object) -> Cell:
        """Return the cell of an address, having made sure that its actor takes the message.

        Raises:
            UnknownActor, NotTaken: it doesn't.
        """
        self.check(address, message)
        return self.cell(address)

    def answerer(self, address: Address[Any], request: object) -> Cell:
        """Return the cell of an address, having made sure that its actor takes the command, or answers the query.

        Raises:
            UnknownActor, NotTaken: it doesn't.
        """
        if isinstance(request, Query):
            self.check_answers(address, request)  # pyright: ignore[reportUnknownArgumentType]
            return self.cell(address)
        return self.taker(address, request)

    def release(self, cell: Cell) -> None:
        """Let go of a cell that nothing keeps in memory; mail brings it back."""
        if cell.unfinished or cell.phase not in (Phase.RUNNING, Phase.STOPPED):
            return
        if cell.phase is Phase.RUNNING:
            if cell.queued:
                return  # one that is stopped may well end in the middle of its own turn
            cell.stop(None)  # an async actor comes here again when that is over
        if not cell.unfinished and self._cells.get(cell.address) is cell:
            del self._cells[cell.address]
            cell.kind.counts.active -= 1
        elif cell.phase is Phase.STOPPED and (cell.mail or cell.control):
            cell.revive()  # at its end it has sent itself something

    def clear(self, keep: type[Cell], error: BaseException) -> None:
        """Drop all cells but those of one sort; their mail goes with them."""
        for address, cell in list(self._cells.items()):
            if not isinstance(cell, keep) and self._cells.pop(address, None) is not None:
                # (one that is not there any more went with its parent)
                cell.kind.counts.active -= 1
                cell.stop("killed", error)  # first, for it puts back what it has put aside
                self.lose_mail(cell, "the journal could not be written")
                cell.let_all_in()  # to the mailbox of the cell that comes next

    def lose_mail(self, cell: Cell, why: str) -> None:
        """Drop all mail of a cell; what nobody waits for, and nobody will send again, becomes dead letters."""
        cell.let_go()
        for envelope in cell.mail:
            if envelope.reply is None and not isinstance(envelope.message, ReminderMail):
                cell.give_back(envelope, Failed(f"{cell.address} was not given it: {why}"))
        cell.mail.clear()

    def __iter__(self) -> Iterator[Cell]:
        return iter(list(self._cells.values()))

    def __len__(self) -> int:
        return len(self._cells)
