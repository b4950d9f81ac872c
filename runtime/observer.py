"""The observer of a node: tells instruments and the tracer what happens to its actors.

Cells, the projectors and the writer of a node that is observed are of other classes, which tell the observer; so a node
that isn't pays nothing.
"""

from collections.abc import Sequence
from typing import Any

from actors import Address, Refused
from runtime.clock import Clock, stopwatch
from runtime.instruments import Hooks, Instrument, Outcome
from runtime.mailbox import Envelope
from runtime.tracing import NO_SPAN, NO_TRACING, Span, Tracing


class Work:
    """The handling of one message."""

    __slots__ = ("address", "began", "envelope", "error", "message", "span")

    def __init__(
        self, address: Address[Any], message: str, envelope: Envelope | None, began: float, span: Span
    ) -> None:
        self.address = address
        self.message = message
        self.envelope = envelope
        self.began = began
        self.span = span
        self.error: BaseException | None = None


class Observer:
    """What one node tells of itself."""

    def __init__(self, clock: Clock, instruments: Sequence[Instrument] = (), tracing: Tracing | None = None) -> None:
        self.on = bool(instruments) or tracing is not None
        """Whether anybody listens."""
        self.tracing = tracing or NO_TRACING
        self.clock = clock
        self.stopwatch = stopwatch(clock)
        self.sent = Hooks([instrument.sent for instrument in instruments])
        self.handled = Hooks([instrument.handled for instrument in instruments])
        self.started = Hooks([instrument.started for instrument in instruments])
        self.stopped = Hooks([instrument.stopped for instrument in instruments])
        self.crashed = Hooks([instrument.crashed for instrument in instruments])
        self.restarted = Hooks([instrument.restarted for instrument in instruments])
        self.parked = Hooks([instrument.parked for instrument in instruments])
        self.saga_ended = Hooks([instrument.saga_ended for instrument in instruments])
        self.group_written = Hooks([instrument.group_written for instrument in instruments])
        self.projected = Hooks([instrument.projected for instrument in instruments])
        self.dead_letter = Hooks([instrument.dead_letter for instrument in instruments])
        self.mailbox_full = Hooks([instrument.mailbox_full for instrument in instruments])
        self._under_way: dict[int, Work] = {}
        """By the identity of its envelope."""

    # -- the handling of messages -------------------------------------------------------------------------------

    def begin(self, name: str, address: Address[Any], envelope: Envelope, *, traced: bool) -> Work:
        """Note that the handling of a message begins; ``name`` is that of the actor's class."""
        message = type(envelope.message).__name__
        span = NO_SPAN
        if traced and self.tracing is not NO_TRACING:
            attributes = {"understudy.actor": name, "understudy.key": address.key, "understudy.message": message}
            if envelope.id is not None:
                attributes["understudy.message_id"] = envelope.id
            span = self.tracing.begin(f"{name} {message}", envelope.trace, self.clock.now(), attributes, current=True)
        work = Work(address, message, envelope, self.stopwatch(), span)
        self._under_way[id(envelope)] = work
        return work

    def gave_back(self, envelope: Envelope, error: BaseException) -> None:
        """Note that a message could not be handled."""
        work = self._under_way.get(id(envelope))
        if work is not None:
            work.error = error

    def end(self, work: Work, *, cut_off: bool = False) -> None:
        """Note that the handling of a message ends; one that is ``cut_off`` will be handled again."""
        self._under_way.pop(id(work.envelope), None)
        outcome = outcome_of(work.error)
        if work.span is not NO_SPAN:
            work.span.end(self.clock.now(), "cut off" if cut_off else outcome, None if cut_off else work.error)
        if not cut_off:
            self.handled(work.address, work.message, self.stopwatch() - work.began, outcome)


def outcome_of(error: BaseException | None) -> Outcome:
    """Return how the handling of a message ended that raised this, or nothing."""
    return "done" if error is None else "refused" if isinstance(error, Refused) else "failed"
