"""Atomic changes of several services: all decide, then all or none are written, in one append.

A transaction puts a part into every participant's mailbox at one moment, so that any two transactions stand in
the same order in all mailboxes they share: they can't deadlock. A participant whose part has its turn waits, with
its other mail, until all have come; then everything happens in one synchronous turn.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from actors import Address, CommandIdReused, MailboxFull, Refused
from actors.messages import Condition
from actors.request_context import Texts
from persistence import Append
from runtime.actor_life import handling
from runtime.cells import World
from runtime.conditions import submit
from runtime.failures import failure
from runtime.fingerprint import canonical
from runtime.kinds import Kind
from runtime.lock_mail import MustWait
from runtime.mailbox import Envelope
from runtime.origin import Origin, origin_of
from runtime.promises import Promise
from runtime.seen import Seen


class Outcome(msgspec.Struct, gc=False):
    """What a command would do: not yet applied, not yet enqueued."""

    state: Any
    reply: Any
    append: Append | None
    pending: Any = None
    """The service's reminders from then on; None: as they are."""
    conditions: tuple[Condition, ...] = ()
    """What the journal must be asked before any of it may happen."""
    lock: Any = None
    """The lock that is taken with it; ``pending`` is not None then."""
    told: bytes | None = None
    """The reply as JSON, where it is kept with the events."""


class Participant(Protocol):
    """A service in a transaction."""

    address: Address[Any]
    kind: Kind
    state: Any
    version: int
    seen: Seen
    pending: Any
    written: bool
    """Whether its recovery must wait until its own events are durable."""

    def put(self, envelope: Envelope) -> None:
        """Put a message into the mailbox."""
        ...

    def leave(self) -> None:
        """Go on with other mail: the transaction is over."""
        ...

    def consider(
        self,
        command: Any,
        command_id: str | None,
        origin: Origin | None,
        data: bytes | None,
        *,
        path: tuple[Address[Any], ...],
    ) -> Outcome:
        """Work out what a command does to the state as it is, without doing it."""
        ...

    def wait(self, lock: str, envelope: Envelope) -> None:
        """Let a message wait for a lock."""
        ...

    def apply(self, outcome: Outcome) -> None:
        """Make the outcome's state the service's own."""
        ...

    def roll_back(self, state: Any, version: int, pending: Any) -> None:
        """Take back what was applied since the service was there."""
        ...

    def keep(self, append: Append) -> None:
        """Have a snapshot written with what was just enqueued, where it is time for one."""
        ...

    async def first_reply(self, command: Any, version: int, data: bytes | None) -> Any:
        """Return the reply that a command got when it took effect."""
        ...


class Part:
    """One participant's part of a transaction, as a message in its mailbox."""

    __slots__ = ("_transaction",)

    def __init__(self, transaction: "Transaction") -> None:
        self._transaction = transaction

    def arrived(self, cell: Participant) -> None:
        """The participant is there, and waits."""
        self._transaction.arrived(cell)

    def left(self, cell: Participant) -> None:
        """The participant crashed while it waited; it will come again."""
        self._transaction.left(cell)

    def ids(self, cell: Participant) -> list[str | None]:
        """Return the ids of the participant's commands."""
        return self._transaction.ids_of(cell)

    @property
    def gone(self) -> bool:
        """Whether the transaction is over."""
        return self._transaction.over

    def done(self, value: Any) -> None:
        """Do nothing: a part has no reply of its own."""

    def failed(self, error: Exception) -> None:
        """The participant can't come: it is parked."""
        self._transaction.end(error)


class Transaction:
    """Commands to several services, all or none."""

    def __init__(
        self,
        world: World,
        requests: Sequence[tuple[Participant, Any]],
        transaction_id: str | None,
        promise: Promise,
        context: Texts | None = None,
    ) -> None:
        self._world = world
        self._requests = requests
        self._id = transaction_id
        self._origin = origin_of(transaction_id or "", context)
        self._promise = promise
        self._cells = {id(cell): cell for cell, _ in requests}
        self._missing = set(self._cells)
        self._data = None if transaction_id is None else self._whole()
        """All that the id names: a repeat with other commands, or without one of them, is no repeat."""
        self.over = False
        self._submitted = False
        """Whether the journal has been asked: who comes again, for he crashed meanwhile, decides nothing anew."""
        self._stands_in_line = False
        """Whether it waits for a lock at one of them, and none of them for it."""
        now = handling()
        self._path = () if now is None else now.path

    def start(self) -> None:
        """Put the parts into all mailboxes, at one moment."""
        self._stands_in_line = False
        for cell in self._cells.values():
            part = Part(self)
            cell.put(Envelope(part, reply=part, path=self._path))

    def arrived(self, cell: Participant) -> None:
        """Note a participant; when all are there, decide."""
        if self._stands_in_line:
            cell.leave()
            self.start()
            return
        self._missing.discard(id(cell))
        if self.over:
            cell.leave()
        elif not self._missing and not self._submitted:
            self._decide()

    def left(self, cell: Participant) -> None:
        """Note that a participant has crashed; its part is in its mailbox again."""
        self._missing.add(id(cell))

    def end(self, error: Exception | None) -> None:
        """Let the participants go on, and the caller know."""
        if self.over:
            return
        self.over = True
        if error is not None:
            self._promise.failed(error)
        for key, cell in self._cells.items():
            if key not in self._missing:
                cell.leave()

    def _whole(self) -> bytes:
        parts = [
            f"{cell.address} {part} {canonical(command, codec=cell.kind.codec).decode()}"
            for (cell, command), part in zip(self._requests, self._ids(), strict=True)
        ]
        return "\n".join(sorted(parts)).encode()

    def _ids(self) -> list[str | None]:
        """Number the commands of each participant by itself, so that their order among them is no part of the id."""
        if self._id is None:
            return [None] * len(self._requests)
        counts: Counter[int] = Counter()
        ids: list[str | None] = []
        for cell, _ in self._requests:
            ids.append(f"{self._id}/{counts[id(cell)]}")
            counts[id(cell)] += 1
        return ids

    def ids_of(self, cell: Participant) -> list[str | None]:
        """Return the ids of one participant's commands."""
        return [i for (other, _), i in zip(self._requests, self._ids(), strict=True) if other is cell]

    def _decide(self) -> None:
        ids = self._ids()
        seen = [cell.seen.get(i, 0) for (cell, _), i in zip(self._requests, ids, strict=True) if i is not None]
        if any(seen):
            self._again(seen)
            return
        before = {key: (cell.state, cell.version, cell.pending) for key, cell in self._cells.items()}
        outcomes: list[Outcome] = []
        for (cell, command), command_id in zip(self._requests, ids, strict=True):
            try:
                outcome = cell.consider(command, command_id, self._origin, self._data, path=self._path)
            except BaseException as error:  # the author's code may raise anything; it goes to the asker
                for key, other in self._cells.items():
                    other.roll_back(*before[key])
                if isinstance(error, MustWait):
                    self._line_up(cell, error.lock)
                    return
                if isinstance(error, (SystemExit, KeyboardInterrupt)):
                    raise
                self.end(_told_by(cell, command, error))
                return
            cell.apply(outcome)
            outcomes.append(outcome)
        replies = tuple(outcome.reply for outcome in outcomes)
        if any(outcome.conditions for outcome in outcomes):
            for key, other in self._cells.items():
                other.roll_back(*before[key])
            self._submit(outcomes, replies)
            return
        batch = tuple(outcome.append for outcome in outcomes if outcome.append is not None)
        if batch:
            self._world.writer.enqueue(batch)
            for (cell, _), outcome in zip(self._requests, outcomes, strict=True):
                if outcome.append is not None:
                    cell.keep(outcome.append)
        self._promise.done(replies)
        self.end(None)

    def _line_up(self, at: Participant, lock: str) -> None:
        """Wait for a lock at one participant, in its line, and begin again then; the others go on meanwhile.

        They must: who holds the lock may need them to come to its end.
        """
        self._stands_in_line = True
        self._missing = set(self._cells)
        for cell in self._cells.values():
            cell.leave()
        part = Part(self)
        try:
            at.wait(lock, Envelope(part, reply=part, path=self._path))
        except (Refused, MailboxFull) as error:
            self.end(error)

    def _submit(self, outcomes: Sequence[Outcome], replies: tuple[Any, ...]) -> None:
        """Have the journal write it all if it may be; the participants wait until that is known."""
        self._submitted = True
        decided = [(cell, one) for (cell, _), one in zip(self._requests, outcomes, strict=True) if one.append]
        for cell, _ in decided:
            cell.written = True

        def told(error: Exception | None) -> None:
            if error is None:
                for cell, outcome in decided:
                    if id(cell) not in self._missing:  # who crashed meanwhile has read it from the journal
                        cell.apply(outcome)
                self._promise.done(replies)
            self.end(error)

        submit(self._world, [(cell.address, one) for cell, one in decided], told)

    def _again(self, seen: list[int]) -> None:
        """It is a repeat: answer with the first replies, unless the participants are others than then."""
        if any(version <= 0 for version in seen):
            self.end(
                CommandIdReused(
                    f"another transaction with the id {self._id!r} has taken effect; give this one an id of its own"
                )
            )
            return
        self._world.spawn(self._first_replies(seen))
        self.end(None)

    async def _first_replies(self, versions: list[int]) -> None:
        try:
            replies = [
                await cell.first_reply(command, version, self._data)
                for (cell, command), version in zip(self._requests, versions, strict=True)
            ]
        except Exception as error:  # noqa: BLE001 (goes to the asker, who may ask again)
            self._promise.failed(error)
        else:
            self._promise.done(tuple(replies))


def _told_by(cell: Participant, command: Any, error: BaseException) -> Exception:
    if not isinstance(error, Refused):
        return failure(cell.address, command, error)
    refused = Refused(f"{cell.address}: {error.reason}")
    refused.__cause__ = error
    return refused
