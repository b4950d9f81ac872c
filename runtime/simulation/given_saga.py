"""Given, when, then for sagas: the test answers each step, moves the clock, and looks at what the saga sends."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, Self, TypeVar

import msgspec

from actors import Address, Command, Query, Refused, Request, Saga, UnderstudyError
from actors.verbs import Compensate
from persistence import JournalError
from runtime.failures import failure
from runtime.kinds import Kind
from runtime.mailbox import Envelope
from runtime.saga_mail import StepReturn
from runtime.saga_story import COMPENSATE, StepStory, has
from runtime.simulation.asked import Asked
from runtime.simulation.bench import Answer, Bench, Mail
from runtime.simulation.company import Company
from runtime.simulation.telling import told, unexpected
from runtime.simulation.watched_saga import WatchedSaga

A = TypeVar("A", bound=Saga[Any, Any])
B = TypeVar("B")
R = TypeVar("R")


class SagaGiven(Generic[A]):
    """A saga that hasn't begun."""

    def __init__(self, saga: type[A], key: str, now: datetime | None, actors: Sequence[type]) -> None:
        self._company = Company(saga, actors)
        self._kind: Kind = self._company.kind(saga.__name__)
        self._address: Address[Any] = saga.at(key)
        self._now = now

    def when(self, command: Command[A, R]) -> "SagaPlay[A, R]":
        """Start it.

        Raises:
            NotTaken: it isn't started by this command.
            AssertionError: it was not started, or comes out differently when its code is run again.
        """
        self._company.check(self._address, command)
        bench = Bench(self._company, self._kind, self._now)
        cell = WatchedSaga(bench, self._address, self._kind)
        bench.own = cell
        return SagaPlay[A, R](bench, cell, command)


class SentStep(Generic[B]):
    """A step that was sent as expected, for more to be said about it."""

    def __init__(self, play: "SagaPlay[Any, Any]", name: str, step: StepStory) -> None:
        self._play = play
        self._name = name
        self._step = step

    def undo(self, command: Command[B, Any] | None) -> None:
        """Expect the step to be undone by this command, should the saga go back now; None: by nothing.

        A saga that was asked is compensated; say so with :meth:`undo_compensates`.

        Raises:
            AssertionError: it would be undone otherwise.
        """
        __tracebackhide__ = True
        expected, found = f"undo({told(command)})", self._play.undo_told(self._step)
        if expected != found:
            raise unexpected(f"step {self._name!r} should be undone in another way", expected, found)

    def undo_compensates(self) -> None:
        """Expect the step to be undone by compensating the saga that it asked.

        Raises:
            AssertionError: it would be undone otherwise.
        """
        __tracebackhide__ = True
        expected, found = "undo_compensates()", self._play.undo_told(self._step)
        if expected != found:
            raise unexpected(f"step {self._name!r} should be undone in another way", expected, found)


class SagaPlay(Generic[A, R]):
    """A saga under way. What the test says happens to it happens at once; what it expects is looked at.

    Raises:
        AssertionError: of each method: an expectation is not met, nothing waits for what the test says, or the saga's
            code comes out differently when it is run again.
    """

    def __init__(self, bench: Bench, cell: WatchedSaga, command: Command[A, R]) -> None:
        __tracebackhide__ = True
        self._bench = bench
        self._cell = cell
        self._answer = Answer()
        self._compensating = Answer()
        cell.put(Envelope(command, "given", self._answer))
        if cell.story.start is None:
            raise AssertionError(f"{cell.address} was not started: {self._answer.error}")
        self._look_again()

    # -- what happens -------------------------------------------------------------------------------------------

    def replies(self, step: str, reply: object = None) -> Self:
        """Answer a step that is under way.

        Raises:
            TypeError: the step's command is answered by something else.
        """
        __tracebackhide__ = True
        mail = self._waiting(step)
        self._cell.reply_fits(self._cell.story.steps[step], reply)
        return self._happened(mail, reply)

    def refuses(self, step: str, reason: str) -> Self:
        """Refuse a step that is under way."""
        __tracebackhide__ = True
        return self._failed(self._waiting(step), Refused(reason))

    def fails(self, step: str, error: Exception) -> Self:
        """Let an attempt at a step fail; see :meth:`retries`."""
        __tracebackhide__ = True
        return self._failed(self._waiting(step), error)

    def times_out(self, step: str) -> Self:
        """Move time on until the attempt at a step, or at its undo, has taken too long: its outcome is unknown."""
        __tracebackhide__ = True
        due = self._cell.due(step)
        if due is None or not due[1]:
            raise AssertionError(
                f"step {step!r} has no attempt with a timeout; give it one: self.ask(..., timeout=timedelta(...))\n"
                f"{self._standing()}"
            )
        return self.advance(timedelta(microseconds=due[0]))

    def retries(self, step: str) -> Self:
        """Move time on until a step that failed, or its undo, is sent again, and expect that."""
        __tracebackhide__ = True
        due = self._cell.due(step)
        if due is None or due[1]:
            raise AssertionError(f"step {step!r} waits for no next attempt\n{self._standing()}")
        self.advance(timedelta(microseconds=due[0]))
        mail = next((one for one in reversed(self._bench.mail) if _is(one, step) and not one.answered), None)
        if mail is None:
            raise AssertionError(f"step {step!r} was not sent again\n{self._standing()}")
        mail.seen = True
        return self

    def receives(self, message: Command[A, Any], *, message_id: str | None = None) -> Self:
        """Send it a message, of a class that its ``receives`` names.

        Raises:
            NotTaken: it takes no such message.
        """
        __tracebackhide__ = True
        self._bench.check(self._cell.address, message)
        answer = Answer()
        self._cell.put(Envelope(message, message_id, answer))
        self._look_again()
        if answer.error is not None:
            raise AssertionError(f"{told(message)} was not taken: {answer.error}\n{self._standing()}")
        return self

    def advance(self, duration: timedelta) -> Self:
        """Move time on; sleeps end, attempts are repeated, and the deadline passes, each at its time."""
        __tracebackhide__ = True
        self._bench.advance(duration)
        self._look_again()
        return self

    def compensate(self, reason: str, *, by: str = "a test") -> Self:
        """Have somebody tell it to go back."""
        __tracebackhide__ = True
        answer = Answer()
        self._cell.post(Envelope(Compensate(by, reason), None, answer))
        if answer.error is not None:
            raise AssertionError(f"{self._cell.address} does not go back: {answer.error}\n{self._standing()}")
        self._look_again()
        return self

    def undo_fails(self, step: str, error: Exception) -> Self:
        """Let an attempt at a step's undo fail; see :meth:`retries`."""
        __tracebackhide__ = True
        return self._failed(self._waiting(step, undo=True), error)

    def undo_refuses(self, step: str, reason: str) -> Self:
        """Refuse a step's undo, which parks the saga."""
        __tracebackhide__ = True
        return self._failed(self._waiting(step, undo=True), Refused(reason))

    # -- expectations -------------------------------------------------------------------------------------------

    def sends(self, step: str, to: Address[B], command: Request[B, Any]) -> SentStep[B]:
        """Expect this step to be the next that was sent, of those that the test has not come to yet; undos apart."""
        __tracebackhide__ = True
        mail = self._next(undo=False)
        expected = f"sends({step!r}, {told(to)}, {told(command)})"
        found = self._mail_told(mail)
        if mail is None or expected != found:
            raise unexpected(self._headline("another step should be sent"), expected, found, self._standing())
        mail.seen = True
        return SentStep(self, step, self._cell.story.steps[step])

    def sends_nothing(self) -> Self:
        """Expect nothing to have been sent that the test has not come to."""
        __tracebackhide__ = True
        mail = self._next()
        if mail is not None:
            headline = self._headline("nothing more should be sent")
            raise unexpected(headline, self._mail_told(None), self._mail_told(mail), self._standing())
        return self

    def undoes(self, *steps: str) -> Self:
        """Expect these steps to be undone, in this order, one after the other, and let each undo be done."""
        __tracebackhide__ = True
        for step in steps:
            self._undoes(f"undoes({step!r})", whole=False)
        return self

    def undoes_by(self, step: str, to: Address[B], command: Command[B, Any]) -> Self:
        """Expect a step to be undone next, by this command, and let it be done."""
        __tracebackhide__ = True
        return self._undoes(f"undoes_by({step!r}, {told(to)}, {told(command)})", whole=True)

    def waits_for(self, *steps: str | type[Command[A, Any]]) -> Self:
        """Expect it to wait for these steps, in any order, and no others: those sent, sleeps and messages alike."""
        __tracebackhide__ = True
        expected = sorted(one if isinstance(one, str) else one.__name__ for one in steps)
        if expected != self._open():
            headline = self._headline("it should wait for other steps")
            raise unexpected(headline, _waiting_told(expected), _waiting_told(self._open()), self._standing())
        return self

    def asks(self, query: Query[A, B]) -> Asked[Self, B]:
        """Ask it something where it stands; write what it says as ``.asks(query).answers(reply)``."""
        __tracebackhide__ = True
        self._bench.check_answers(self._cell.address, query)
        answer = Answer()
        self._cell.put(Envelope(query, None, answer))
        if answer.error is not None:
            raise AssertionError(f"{self._cell.address} can't answer {told(query)}: {answer.error}")
        return Asked(self, str(self._cell.address), query, answer.value)

    def ends_with(self, result: R) -> None:
        """Expect it to have completed, with this result."""
        __tracebackhide__ = True
        self._end(f"ends_with({told(result)})")

    def is_compensated(self, reason: str = "") -> None:
        """Expect it to have gone back, all of it, for a reason that holds this text."""
        __tracebackhide__ = True
        story = self._cell.story
        if not story.compensated or reason not in (story.reason or ""):
            self._end(f"is_compensated({reason!r})")

    def is_parked(self, error: str = "") -> None:
        """Expect it to be parked, by an error whose text holds this."""
        __tracebackhide__ = True
        story = self._cell.story
        if story.status != "parked" or error not in (story.error or ""):
            self._end(f"is_parked({error!r})")

    # -- behind them --------------------------------------------------------------------------------------------

    def _end(self, expected: str) -> None:
        __tracebackhide__ = True
        found = self._end_told()
        if expected != found:
            raise unexpected(self._headline("another end"), expected, found, self._standing())

    def _end_told(self) -> str:
        story = self._cell.story
        match story.status:
            case "completed":
                return f"ends_with({told(self._cell.kind.result.decode(story.result or msgspec.Raw(b'null')))})"
            case "compensated":
                return f"is_compensated({story.reason!r})"
            case "parked":
                return f"is_parked({story.error!r})"
            case _:
                return _waiting_told(self._open()) if story.reason is None else f"goes back: {story.reason!r}"

    def _undoes(self, expected: str, *, whole: bool) -> Self:
        __tracebackhide__ = True
        mail = self._next(undo=True)
        found = self._mail_told(mail, whole=whole)
        if mail is None or expected != found:
            raise unexpected(self._headline("another undo"), expected, found, self._standing())
        return self._happened(mail, None)

    def _headline(self, what: str) -> str:
        return f"{self._cell.address}: {what}"

    def _next(self, *, undo: bool | None = None) -> Mail | None:
        return next((one for one in self._bench.mail if not one.seen and _is(one, undo=undo)), None)

    def _waiting(self, step: str, *, undo: bool = False) -> Mail:
        __tracebackhide__ = True
        found = [one for one in self._bench.mail if _is(one, step, undo=undo) and not one.answered]
        if not found:
            what = "undo of step" if undo else "step"
            raise AssertionError(f"no {what} {step!r} waits for an answer\n{self._standing()}")
        return found[-1]

    def _happened(self, mail: Mail, reply: object) -> Self:
        __tracebackhide__ = True
        mail.seen = mail.answered = True
        assert mail.envelope.reply is not None
        mail.envelope.reply.done(reply)
        self._look_again()
        return self

    def _failed(self, mail: Mail, error: Exception) -> Self:
        __tracebackhide__ = True
        mail.seen = mail.answered = True
        assert mail.envelope.reply is not None
        ours = isinstance(error, (UnderstudyError, JournalError))
        mail.envelope.reply.failed(error if ours else failure(mail.to, mail.envelope.message, error))
        self._look_again()
        return self

    def _look_again(self) -> None:
        __tracebackhide__ = True
        wrong = self._cell.run_again(self._bench)
        if wrong is not None:
            raise AssertionError(
                f"{self._cell.address} comes out differently when its code is run again, as it is after a crash: "
                f"{wrong}\nlet nothing but its command and the outcomes of its steps decide; use self.now(), "
                "self.random() and self.uuid()"
            )

    # -- how it is told -----------------------------------------------------------------------------------------

    def undo_told(self, step: StepStory) -> str:
        """Return how a step would be undone now."""
        if not has(step.undo) or step.asked.to is None:
            return "undo(None)"
        if bytes(step.undo) == bytes(COMPENSATE):
            return "undo_compensates()"
        return f"undo({told(self._bench.kind(step.asked.to.actor).command(step.undo))})"

    def _mail_told(self, mail: Mail | None, *, whole: bool = True) -> str:
        if mail is None:
            return "sends_nothing()"
        back = mail.envelope.reply
        assert isinstance(back, StepReturn)
        message: Any = mail.envelope.message
        what = "compensate" if isinstance(message, Compensate) else told(message)
        if back.undo:
            return f"undoes_by({back.step!r}, {told(mail.to)}, {what})" if whole else f"undoes({back.step!r})"
        return f"sends({back.step!r}, {told(mail.to)}, {what})"

    def _open(self) -> list[str]:
        return sorted(name for name, step in self._cell.story.steps.items() if step.open)

    def _standing(self) -> str:
        """Return where the saga stands, for whoever wonders why."""
        unseen = [self._mail_told(one) for one in self._bench.mail if not one.seen]
        sent = f"\nsent, and not expected yet:\n{chr(10).join(unseen)}" if unseen else ""
        return f"it is {self._cell.story.status}: {self._end_told()}{sent}"


def _is(mail: Mail, step: str | None = None, *, undo: bool | None = None) -> bool:
    back = mail.envelope.reply
    return isinstance(back, StepReturn) and step in (None, back.step) and undo in (None, back.undo)


def _waiting_told(steps: Sequence[str]) -> str:
    return f"waits_for({', '.join(map(repr, steps))})"
