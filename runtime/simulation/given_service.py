"""Given, when, then for services: events that have happened, a command, and what must come of it."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, Self, TypeVar

from actors import Address, Command, Event, Query, Refused, Service
from actors.messages import Condition
from actors.reminders import Forget, Remind
from persistence import Append
from persistence.codec import encode
from runtime.kinds import INTERNAL, EventMeta, Kind
from runtime.lock_events import Held, locked
from runtime.mailbox import Envelope
from runtime.reminder_events import wake_of
from runtime.simulation.asked import Asked
from runtime.simulation.bench import Answer, Bench
from runtime.simulation.company import Company
from runtime.simulation.past import Past, write_past
from runtime.simulation.pure import PureServiceCell
from runtime.simulation.telling import several, told, unexpected

A = TypeVar("A", bound=Service[Any, Any, Any])
B = TypeVar("B")
R = TypeVar("R")
R2 = TypeVar("R2")


class ServiceGiven(Generic[A]):
    """A service and what has happened so far; :meth:`when` sends it a command."""

    def __init__(
        self, service: type[A], events: Sequence[Past], key: str, now: datetime | None, actors: Sequence[type]
    ) -> None:
        self._company = Company(service, actors)
        self._kind: Kind = self._company.kind(service.__name__)
        self._address: Address[Any] = service.at(key)
        self._bench = Bench(self._company, self._kind, now)
        write_past(self._bench, self._address, self._kind, events)

    def others(self, address: Address[Any], *events: Past) -> Self:
        """Have another actor's events in the journal, for the conditions of decisions to find them."""
        write_past(self._bench, address, self._company.kind(address.actor), events)
        return self

    def locked_by(self, saga: Address[Any], lock: str = "") -> Self:
        """Have a saga hold a lock of the service, by the name that ``lock_of`` gives it."""
        bench, address = self._bench, self._address
        held = Held(lock, saga, "given", bench.manual.now())
        event = locked(held, encode(EventMeta(str(saga), str(saga))))
        stream = (address.actor, address.key)
        bench.write((Append(stream, bench.head(address), [event], bench.manual.now()),))
        return self

    def when(
        self,
        command: Command[A, R],
        *,
        command_id: str | None = None,
        step_of: Address[Any] | None = None,
        lock: bool = False,
    ) -> "ServiceTurn[A, R]":
        """Send a command. It has a ``command_id`` where it may come again, and where it is the step of a saga.

        ``lock``: the step takes the lock that the command needs, as ``self.ask(..., lock=True)`` does.

        Raises:
            NotTaken: the service doesn't take it.
            JournalMismatch: an event that was given can't be read by today's classes.
            AssertionError: ``decide`` or ``evolve`` is not pure.
        """
        return self._revived().when(command, command_id=command_id, step_of=step_of, lock=lock)

    def asks(self, query: Query[A, R]) -> Asked["ServiceTurn[A, None]", R]:
        """Ask it something; see :meth:`ServiceTurn.asks`."""
        __tracebackhide__ = True
        return self._revived().asks(query)

    def _revived(self) -> "ServiceTurn[A, None]":
        cell = PureServiceCell(self._bench, self._address, self._kind)
        self._bench.own = cell
        cell.revive()
        return ServiceTurn(self._company, self._bench, cell)


class ServiceTurn(Generic[A, R]):
    """What a service did with a command. Each expectation returns the turn, so that more can follow.

    Raises:
        AssertionError: of each expectation, where it is not met; it says what was expected and what came.
    """

    def __init__(self, company: Company, bench: Bench, cell: PureServiceCell) -> None:
        self._company = company
        self._bench = bench
        self._cell = cell
        self._answer = Answer()
        self._what = "given"
        self._before = 0
        self._told = True
        """Whether the test has said that it knows of the error, if there is one."""

    # -- going on -----------------------------------------------------------------------------------------------

    def when(
        self,
        command: Command[A, R2],
        *,
        command_id: str | None = None,
        step_of: Address[Any] | None = None,
        lock: bool = False,
    ) -> "ServiceTurn[A, R2]":
        """Send the next command; see :meth:`ServiceGiven.when`.

        Raises:
            AssertionError: the command before it was refused or has failed, and the test didn't expect that.
        """
        turn: ServiceTurn[A, R2] = self._next(f"{told(command)} at {self._cell.address}")
        turn._answer = answer = Answer()
        turn._told = False
        self._bench.check(self._cell.address, command)
        if lock and step_of is None:
            raise ValueError("only a saga's step takes a lock; write step_of=YourSaga.at(...) as well")
        path = () if step_of is None else (step_of,)
        if step_of is not None and command_id is None:
            command_id = f"{step_of}#step"
        self._cell.put(Envelope(command, command_id, answer, path=path, lock=lock))
        turn._look_at_author()
        return turn

    def asks(self, query: Query[A, R2]) -> Asked[Self, R2]:
        """Ask it something where it stands; write what it says as ``.asks(query).answers(reply)``.

        Raises:
            AssertionError: it can't answer; the text says why.
            NotTaken: the service doesn't answer it.
        """
        __tracebackhide__ = True
        self._bench.check_answers(self._cell.address, query)
        answer = Answer()
        before = told(self._cell.state)
        self._cell.put(Envelope(query, None, answer))
        if told(self._cell.state) != before:
            raise AssertionError(f"answer({told(query)}) has changed the state it was given; it must only look at it")
        if answer.error is not None:
            raise AssertionError(f"{self._cell.address} can't answer {told(query)}: {answer.error}")
        return Asked(self, str(self._cell.address), query, answer.value)

    def advance(self, duration: timedelta) -> "ServiceTurn[A, None]":
        """Let time pass; reminders that become due are sent, each at its time. Those to other actors arrive."""
        turn: ServiceTurn[A, None] = self._next(f"{self._cell.address} in {duration}")
        bench, cell = self._bench, self._cell
        left = duration
        while cell.pending:
            wait = timedelta(microseconds=max(0, wake_of(cell.pending) - bench.manual.now()))
            if wait > left:
                break
            bench.advance(wait)
            left -= wait
            cell.ring()
            for mail in bench.mail:
                if not mail.answered and mail.envelope.reply is not None:
                    mail.answered = True
                    mail.envelope.reply.done(None)
        bench.advance(left)
        turn._answer.done(None)
        turn._look_at_author()
        return turn

    def _next(self, what: str) -> "ServiceTurn[A, Any]":
        __tracebackhide__ = True
        if not self._told and self._answer.error is not None:
            raise AssertionError(f"{self._fate()}\nwrite .refuses(...) or .fails(...) before what comes then")
        turn = ServiceTurn[A, Any](self._company, self._bench, self._cell)
        turn._what, turn._before = what, self._cell.version
        self._cell.decisions.clear()
        return turn

    def _look_at_author(self) -> None:
        __tracebackhide__ = True
        if self._cell.complaint is not None:
            raise AssertionError(self._cell.complaint)

    # -- expectations -------------------------------------------------------------------------------------------

    def then(self, *events: Event) -> Self:
        """Expect these events of the service's own, in this order, and no others."""
        __tracebackhide__ = True
        self._done()
        if self._events() != list(events):
            raise self._other("these events should have happened", several(events), several(self._events()))
        return self

    def nothing_happens(self) -> Self:
        """Expect no events, and no change of reminders."""
        __tracebackhide__ = True
        self.then()
        reminders = [one for decision in self._decisions() for one in decision.reminders]
        if reminders:
            raise self._other("nothing should have happened", "(nothing)", several(reminders))
        return self

    def replies(self, reply: R) -> Self:
        """Expect this reply."""
        __tracebackhide__ = True
        self._done()
        if self._answer.value != reply:
            raise self._other("the reply should have been", told(reply), told(self._answer.value))
        return self

    def refuses(self, reason: str = "") -> Self:
        """Expect a refusal whose reason holds this text, and nothing to have happened."""
        __tracebackhide__ = True
        error = self._answer.error
        if not isinstance(error, Refused) or reason not in error.reason:
            raise unexpected(self._headline("it should have been refused"), f"refuses({reason!r})", self._fate())
        self._told = True
        return self

    def fails(self, error: type[BaseException], text: str = "") -> Self:
        """Expect a failure: this error, or one that was raised from it, whose message holds this text."""
        __tracebackhide__ = True
        raised: BaseException | None = self._answer.error
        while raised is not None and not (isinstance(raised, error) and text in str(raised)):
            raised = raised.__cause__
        if raised is None or isinstance(self._answer.error, Refused):
            expected = f"fails({error.__name__}, {text!r})" if text else f"fails({error.__name__})"
            raise unexpected(self._headline("it should have failed"), expected, self._fate())
        self._told = True
        return self

    def waits(self) -> Self:
        """Expect the command to wait until a lock that somebody holds is given back."""
        __tracebackhide__ = True
        if self._answer.known:
            raise unexpected(self._headline("it should wait for a lock"), "waits()", self._fate())
        return self

    def state(self, state: Any) -> Self:
        """Expect the service to be in this state now."""
        __tracebackhide__ = True
        if self._cell.state != state:
            raise self._other("the state should be", told(state), told(self._cell.state))
        return self

    def tags(self, *tags: str) -> Self:
        """Expect the new events to have these tags, all events taken together."""
        __tracebackhide__ = True
        self._done()
        found = sorted({name for record in self._records() for name in record.tags})
        if found != sorted(set(tags)):
            raise self._other("the events should have these tags", several(sorted(set(tags))), several(found))
        return self

    def reminds(
        self,
        name: str,
        command: Command[B, Any],
        *,
        after: timedelta | None = None,
        at: datetime | None = None,
        every: timedelta | None = None,
        to: Address[B] | None = None,
    ) -> Self:
        """Expect the decision to have set this reminder; see :meth:`actors.Decision.remind`."""
        __tracebackhide__ = True
        return self._decided(Remind(name, command, after, at, every, to))

    def forgets(self, name: str) -> Self:
        """Expect the decision to have dropped the reminder of this name."""
        __tracebackhide__ = True
        return self._decided(Forget(name))

    def unless(self, because: str, *events: type[Event], tags: Iterable[str], after: int = 0) -> Self:
        """Expect the decision to rest on this condition; see :meth:`actors.Decision.unless`."""
        __tracebackhide__ = True
        condition = Condition(because, events, tuple(tags), after)
        found = [one for decision in self._decisions() for one in decision.conditions]
        if condition not in found:
            raise self._other("the decision should rest on this condition", told(condition), several(found))
        return self

    def sends(self, to: Address[B], command: Command[B, Any]) -> Self:
        """Expect a reminder to have sent this command to another actor, next of those that were not expected yet."""
        __tracebackhide__ = True
        mail = next((one for one in self._bench.mail if not one.seen), None)
        sent = "(nothing)" if mail is None else _sending(mail.to, mail.envelope.message)
        if sent != _sending(to, command):
            raise self._other("this should have been sent", _sending(to, command), sent)
        if mail is not None:
            mail.seen = True
        return self

    def _decided(self, one: Remind | Forget) -> Self:
        __tracebackhide__ = True
        self._done()
        found = [each for decision in self._decisions() for each in decision.reminders]
        if one not in found:
            raise self._other("the decision should say this about reminders", told(one), several(found))
        return self

    # -- what there is ------------------------------------------------------------------------------------------

    def _decisions(self) -> Any:
        return self._cell.decisions

    def _records(self) -> list[Any]:
        return [one for one in self._bench.stored(self._cell.address, self._before) if one.type not in INTERNAL]

    def _events(self) -> list[Any]:
        return [event for record in self._records() for event in self._cell.kind.read(record)]

    def _done(self) -> None:
        """Make sure that it was not refused, and has not failed."""
        __tracebackhide__ = True
        if self._answer.error is not None or not self._answer.known:
            raise AssertionError(self._fate())

    def _fate(self) -> str:
        """Return what became of the command."""
        error = self._answer.error
        if not self._answer.known:
            return f"{self._what} waits for a lock"
        if error is None:
            return f"{self._what} was done\nthen({several(self._events())})\nreplies({told(self._answer.value)})"
        if isinstance(error, Refused):
            return f"{self._what} was refused: {error.reason}"
        cause = error.__cause__ or error
        return f"{self._what} failed: {type(cause).__name__}: {cause}"

    def _headline(self, expected: str) -> str:
        return f"{self._what}: {expected}"

    def _other(self, headline: str, expected: str, actual: str) -> AssertionError:
        return unexpected(self._headline(headline), expected, actual)


def _sending(to: Address[Any], command: Any) -> str:
    return f"sends({told(to)}, {told(command)})"
