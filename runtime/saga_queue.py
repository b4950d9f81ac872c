"""A saga that waits for its place before it begins, where its class has only so many (``at_once``).

It is queued, durably, and leaves the memory unless somebody waits for it. Its line (:mod:`runtime.saga_line`) brings it
back when it has a place. The place is its own from then on, whatever happens to the cell, until the story has ended or
is parked.
"""

from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from actors import Address, Command, CommandIdReused
from persistence import NotEncodable
from persistence.intake import check_text
from persistence.limits import ID_LENGTH
from runtime import saga_events as events
from runtime.cells import World
from runtime.failures import failure
from runtime.kinds import Kind
from runtime.mailbox import Envelope, ReplyTo
from runtime.origin import Origin
from runtime.priorities import priority_in
from runtime.saga_fit import check_same
from runtime.saga_intent import later
from runtime.saga_mail import Begin
from runtime.saga_verbs import SagaVerbs


class SagaQueue(SagaVerbs):
    """A saga at its beginning."""

    __slots__ = ("_queued_as",)

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self._queued_as: int | None = None
        """The priority by which it waits for its place, as far as its line was told."""

    def recovered(self) -> None:
        """Go on where the journal ends."""
        super().recovered()
        if self.world.flow.lines:
            story = self.story
            self._queued_as = story.priority if story.status == "queued" else None
            self._keep_place()

    def park(self, error: BaseException) -> None:
        """Set the saga aside because its stream can't be read; its place is the next one's."""
        super().park(error)
        line = self.world.flow.lines.get(self.kind.name)
        if line is not None:
            line.leave(self.address.key)

    def _keep_place(self) -> None:
        """Tell the line where the saga is: it waits, or has a place, or needs none any more."""
        line = self.world.flow.lines.get(self.kind.name)
        if line is None:
            return
        key, status = self.address.key, self.story.status
        waits, before = self.story.priority if status == "queued" else None, self._queued_as
        if waits != before:
            self._queued_as = waits
            if before is None:
                line.coming()
            self.world.writer.hold(partial(line.moved, key, before, waits))
        if status in ("running", "compensating"):
            if self.kind.places is not None:
                line.take(key)
            else:
                line.leave(key)  # of a class that has no limit any more
        elif waits is None:
            line.leave(key)

    # -- beginning ----------------------------------------------------------------------------------------------

    def _start(self, envelope: Envelope) -> None:
        command, start = envelope.message, self.story.start
        try:
            check_text("a command's id", self._cause, ID_LENGTH)
            data = self.kind.codec.encode(command, "the command")
            if start is not None:
                check_same(self.address, self.kind, command, start.command)
        except (NotEncodable, CommandIdReused) as error:
            self.give_back(envelope, error)
            return
        if start is not None or self.story.ended:
            self._join(envelope.reply)
            if self.story.status == "queued" and not self._may_wait(envelope.path):
                self._begin_now()
            return
        try:
            priority = priority_in(self.kind.cls, command) if self.kind.places is not None else 0
        except Exception as error:  # noqa: BLE001 (the author's code may raise anything; it goes to the asker)
            self.give_back(envelope, failure(self.address, command, error))
            return
        if envelope.origin is not None:
            self._go_on_for(Origin(envelope.origin.correlation or self.name, envelope.origin.context))
        if self._must_wait(envelope.path):
            self.emit(events.Queued(msgspec.Raw(data), priority, envelope.path))
            self._join(envelope.reply)
        else:
            self.emit(self._started(msgspec.Raw(data), envelope.path))
            self._join(envelope.reply)
            self._open(command)

    def _must_wait(self, path: tuple[Address[Any], ...]) -> bool:
        if self.kind.places is None:
            return False
        return not self.world.flow.lines[self.kind.name].free and self._may_wait(path)

    def _may_wait(self, path: tuple[Address[Any], ...]) -> bool:
        return self.kind.places is not None and self.world.flow.lines.may_wait(self.kind.name, path)

    def _started(self, command: msgspec.Raw, path: tuple[Address[Any], ...]) -> events.Started:
        cls = self.kind.cls
        deadline: timedelta | None = cls.deadline
        due = 0 if deadline is None else later(self.now, deadline)
        return events.Started(command, due, path, cls.version, placed=self.kind.places is not None)

    def _open(self, command: Command[Any, Any]) -> None:
        self._arm_deadline(self.story.deadline)
        self._begin_run(command)

    def _begin(self, _: Begin) -> None:
        """Begin: a place is there. What was killed or compensated meanwhile has given it back already."""
        if self.story.status == "queued":
            self._begin_now()

    def _join(self, reply: ReplyTo | None) -> None:
        raise NotImplementedError

    def _begin_now(self) -> None:
        start = self.story.start
        assert start is not None
        self.emit(self._started(events.NOTHING, ()))
        self._open(self.kind.command(start.command))
