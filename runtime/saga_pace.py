"""A saga's steps go no faster than the rates of those whom they are for: what must wait is held back here.

A step that is held back has been asked, in the journal, but not sent; its timeout begins when it is. Like mail it
outlives the incarnation. After a crash of the process the saga comes to it again, and it waits again.
"""

from datetime import timedelta
from functools import partial
from typing import Any

from actors import Address
from runtime.mailbox import Envelope
from runtime.priorities import UNDO, priority_in
from runtime.saga_mail import Held, Pass
from runtime.saga_stage import SagaStage
from runtime.saga_story import StepStory
from runtime.throttle import Throttle


class SagaPace(SagaStage):
    """A saga that keeps to the rates of others."""

    __slots__ = ()

    def _hold_back(
        self,
        throttle: Throttle,
        request: str,
        to: Address[Any],
        envelope: Envelope,
        key: str,
        timeout: timedelta | None,
    ) -> None:
        priority = UNDO if envelope.undoes is not None else self._priority()
        waiting = throttle.add(priority, self.kind.name, partial(self._may_go, request))
        if not self._held:
            self._held = {}
        self._held[request] = Held(to, envelope, key, timeout, waiting)

    def _priority(self) -> int:
        start = self.story.start
        return 0 if start is None else priority_in(self.kind.cls, self.kind.command(start.command))

    def _may_go(self, request: str) -> None:
        self.post(Envelope(Pass(request)))

    def _pass(self, turn: Pass) -> None:
        """Send what was held back."""
        held = self._held.pop(turn.request, None) if self._held else None
        if held is not None:
            undo = held.envelope.undoes is not None
            held.waiting.sent()
            if held.timeout is not None:
                held.envelope.due = self._begin_timeout(held.timeout, held.step, undo=undo)
            self._mail(held.to, held.envelope)

    def park(self, error: BaseException) -> None:
        """Set the saga aside because its stream can't be read; others go in place of what it holds back."""
        super().park(error)
        for request, held in self._held.items():
            held.waiting.cancel()
            self._under_way.pop(request, None)
        self._held.clear()

    def _drop_held(self) -> None:
        """Hold nothing back that is not to be sent any more."""
        story = self.story
        if story.reason is None and story.error is None and not story.drops and not story.ended:
            return
        for request, held in list(self._held.items()):
            undo = held.envelope.undoes is not None
            step = self._held_step(request, held, undo=undo)
            wanted = step is not None and (step.needs_undo if undo else step.open and self.story.reason is None)
            if not wanted or self.story.error is not None or self.story.ended:
                held.waiting.cancel()
                del self._held[request]
                self._under_way.pop(request, None)

    def _held_step(self, request: str, held: Held, *, undo: bool) -> StepStory | None:
        step = self.story.steps.get(held.step)
        if step is not None and self.request(step, undo=undo) == request:
            return step
        # Its command was replaced meanwhile, and it has another key now.
        return next((one for one in self.story.steps.values() if self.request(one, undo=undo) == request), None)
