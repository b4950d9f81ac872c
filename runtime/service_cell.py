"""The cell of a service: decide, evolve, enqueue, reply, all in one synchronous turn."""

from typing import Any

import msgspec

from actors import (
    Address,
    Command,
    CommandIdReused,
    Decision,
    Failed,
    OutcomeUnknown,
    Refused,
    Service,
)
from persistence import Append, JournalError, NewEvent, NotDecodable, Record
from persistence.codec import encode
from runtime.cells import Cell, World
from runtime.failures import failure
from runtime.fingerprint import fingerprint_of
from runtime.kinds import FENCED, HANDLED, EventMeta, Kind, meta_of
from runtime.mailbox import Envelope, ReplyTo
from runtime.transaction import Outcome, Part


class Fenced(msgspec.Struct):
    """An undo overtook its step: the step, should it still come, is refused."""

    step: str


class ServiceCell(Cell):
    """A service at work.

    ``seen`` maps the ids of commands that took effect to the version of their first event (P3), and the ids of
    steps that were undone before they came to minus that of the fence (P9). It is rebuilt from the stream, so it
    has an entry for each command with an id that the stream holds.
    """

    __slots__ = ("_part", "seen", "service", "state", "version")

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self.service: Service[Any, Any, Any] | None = None
        self.state: Any = None
        self.version = 0
        self.seen: dict[str, int] = {}
        self._part: Envelope | None = None
        """The part of a transaction that it waits in."""

    # -- life ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start from the initial state."""
        self.forget()
        self.service = self.kind.cls(self.address.key)
        self.state = self.kind.cls.initial

    def replay(self, record: Record) -> None:
        """Take in one event of the stream."""
        if record.type == FENCED:
            self.seen[_step(record)] = -record.version
        elif record.type != HANDLED:
            assert self.service is not None
            self.state = self.service.evolve(self.state, self.kind.event(record))
        if record.command is not None:
            self.seen[record.command] = record.version
        self.version = record.version

    def forget(self) -> None:
        """Drop state and ids. A transaction that waits here comes again, before all other mail."""
        self.service = None
        self.state = None
        self.version = 0
        self.seen = {}
        if self._part is not None:
            self.put_back((self._part,), self.world.clock.steady())
            self._part.message.left(self)
            self._part = None

    @property
    def resting(self) -> bool:
        """Whether it could leave the memory, and nobody would notice."""
        return self._part is None and super().resting

    # -- turns --------------------------------------------------------------------------------------------------

    def turn(self, envelope: Envelope) -> None:
        """Handle one command to its end."""
        message, command_id = envelope.message, envelope.id
        try:
            if command_id is None:
                if type(message) is Part:
                    self._arrive(envelope, message)
                    return
            elif command_id in self.seen:
                self._repeat(envelope, self.seen[command_id])
                return
            if envelope.undoes is not None and self.seen.get(envelope.undoes, -1) < 0:
                outcome = self._fence(envelope, envelope.undoes)
            else:
                outcome = self.consider(message, command_id, envelope.correlation, envelope.data)
        except Exception as error:  # noqa: BLE001 (the author's code may raise anything; it goes to the asker)
            self._refuse(envelope, error)
            return
        if outcome.append is not None:
            self.world.writer.enqueue((outcome.append,))
            self.apply(outcome)
        if envelope.reply is not None:
            envelope.reply.done(outcome.reply)

    def consider(
        self, command: Command[Any, Any], command_id: str | None, correlation: str | None, data: bytes | None = None
    ) -> Outcome:
        """Work out what a command does to the state as it is, without doing it.

        An event that can't be applied, or can't be stored, is never written: it raises here.
        """
        service = self.service
        assert service is not None
        decision = service.decide(self.state, command)
        if type(decision) is not Decision:
            raise TypeError(f"{self.kind.name}.decide must return command.reply(...), not {decision!r}")
        events = decision.events
        if command_id is None:
            self.kind.check_reply(type(command), decision.reply)
        if not events and command_id is None:
            return Outcome(self.state, decision.reply, None)
        state = self.state
        for event in events:
            state = service.evolve(state, event)
        cause = command_id or self.world.new_id()
        correlation = correlation or cause
        if command_id is None:
            meta = encode(EventMeta(cause, correlation))
        else:
            raw = msgspec.Raw(self.kind.reply(type(command)).encode(decision.reply, "the reply"))
            meta = encode(EventMeta(cause, correlation, fingerprint_of(command, data), raw))
        if events:
            new = self.kind.new_events(events, meta)
            if len(new) > 1:
                rest = encode(EventMeta(cause, correlation))
                for other in new[1:]:
                    other.meta = rest
        else:
            new = [NewEvent(HANDLED, b"{}", meta)]
        return Outcome(state, decision.reply, self._append(new, command_id))

    def _append(self, events: list[NewEvent], command_id: str | None) -> Append:
        return Append(self.stream, self.version, events, self.world.clock.now(), command_id)

    def apply(self, outcome: Outcome) -> None:
        """Make the outcome's state the service's own; its events have been enqueued."""
        append = outcome.append
        if append is not None:
            self.state = outcome.state
            if append.command is not None:
                self.seen[append.command] = self.version + 1
            self.version += len(append.events)
            self.written = True

    def roll_back(self, state: Any, version: int) -> None:
        """Take back what :meth:`apply` did since the service was there; none of it was enqueued."""
        if self.version != version:
            self.seen = {command: at for command, at in self.seen.items() if abs(at) <= version}
        self.state = state
        self.version = version

    def _fence(self, envelope: Envelope, step: str) -> Outcome:
        """Undo a step that has not come: nothing to undo, but it must not come later. P9."""
        command_id = envelope.id or self.world.new_id()
        fingerprint = fingerprint_of(envelope.message, envelope.data)
        meta = EventMeta(command_id, envelope.correlation or command_id, fingerprint)
        append = self._append([NewEvent(FENCED, encode(Fenced(step)), encode(meta))], command_id)
        self.seen[step] = -(self.version + 1)
        return Outcome(self.state, None, append)

    def _refuse(self, envelope: Envelope, error: Exception) -> None:
        self.give_back(envelope, failure(self.address, envelope.message, error))

    # -- repeats ------------------------------------------------------------------------------------------------

    def _repeat(self, envelope: Envelope, version: int) -> None:
        if envelope.reply is None:
            return
        if version < 0:
            self.give_back(envelope, Refused(f"step {envelope.id} was undone before it arrived at {self.address}"))
        else:
            self.world.spawn(self._answer_again(envelope, version, envelope.reply))

    async def _answer_again(self, envelope: Envelope, version: int, reply: ReplyTo) -> None:
        """Answer a repeated command with its first reply, from the journal."""
        try:
            value = await self.first_reply(envelope.message, version, envelope.data)
        except Exception as error:  # noqa: BLE001 (goes to the asker, who may ask again)
            reply.failed(error)
        else:
            reply.done(value)

    async def first_reply(self, command: Command[Any, Any], version: int, data: bytes | None = None) -> Any:
        """Return the reply that a command got when it took effect.

        Raises:
            CommandIdReused: it was another command.
            OutcomeUnknown: the journal can't be read now.
        """
        try:
            durable = await self.world.writer.barrier()
            page = await self.world.journal.read(self.stream, version - 1, 1) if durable else []
        except JournalError as error:
            raise OutcomeUnknown(f"the first reply of {self.address} can't be read: {error}") from error
        if not page:
            raise OutcomeUnknown(f"the first reply of {self.address} may be lost: the journal could not be written")
        record = page[0]
        meta = meta_of(record)
        if meta.fingerprint != fingerprint_of(command, data):
            raise CommandIdReused(
                f"{self.address} has already handled another command with the id {record.command!r}; "
                f"give this {type(command).__name__} an id of its own"
            )
        if record.type == FENCED:
            return None  # an undo that found nothing to undo got no reply of the author's
        try:
            return self.kind.reply(type(command)).decode(meta.reply)
        except NotDecodable as error:
            raise Failed(f"the first reply to {record.command!r} can't be read: {error}") from error

    # -- transactions -------------------------------------------------------------------------------------------

    def _arrive(self, envelope: Envelope, part: Part) -> None:
        self._part = envelope
        self.runnable = False
        part.arrived(self)

    def leave(self) -> None:
        """Go on with other mail: the transaction is over."""
        self._part = None
        self.runnable = True
        if self.mail and not self.queued:
            self.world.ready(self, self.since)


def _step(record: Record) -> str:
    return msgspec.json.decode(record.data, type=Fenced).step
