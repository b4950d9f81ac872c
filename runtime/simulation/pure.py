"""A service's cell that watches its author's code: ``decide`` and ``evolve`` must be pure.

Each is called twice, and what it is given is looked at before and after.
"""

from typing import Any

from actors import Address, Command, Decision, Event, Refused
from persistence import Record
from runtime.kinds import INTERNAL, Kind
from runtime.service_cell import ServiceCell
from runtime.simulation.bench import Bench
from runtime.simulation.telling import NO_RULES, difference, refusal, told


class PureServiceCell(ServiceCell):
    """A service that is tested."""

    __slots__ = ("complaint", "decisions")

    def __init__(self, bench: Bench, address: Address[Any], kind: Kind) -> None:
        super().__init__(bench, address, kind)
        self.decisions: list[Decision] = []
        """What was decided, in order, also what was not written then."""
        self.complaint: str | None = None
        """What is wrong with the author's code: the first thing that was."""

    def replay(self, record: Record) -> None:
        """Take in one event of the stream."""
        if record.type not in INTERNAL and self.service is not None:
            state = self.state
            for event in self.kind.read(record):
                state = self._evolved(state, event)
        super().replay(record)

    def _decide(self, command: Command[Any, Any]) -> Decision:
        before = told(self.state)
        try:
            decision = super()._decide(command)
        except Exception as error:
            self._look_again(command, error)
            raise
        finally:
            self._unchanged("decide", before, self.state)
        self._look_again(command, decision)
        self.decisions.append(decision)
        state = self.state
        for event in decision.events:
            state = self._evolved(state, event)
        return decision

    def _look_again(self, command: Command[Any, Any], first: Decision | Exception) -> None:
        second: Decision | Exception
        try:
            second = super()._decide(command)
        except Exception as error:  # noqa: BLE001 (the author's code may raise anything)
            second = error
        if isinstance(first, Exception) and isinstance(second, Exception):
            same = type(first) is type(second)  # what it says may hold the name of an object, say
        else:
            same = first == second or told(first) == told(second)
        if not same:
            self._complain("decide", f"for the same {type(command).__name__} it decides", first, second)

    def _evolved(self, state: Any, event: Event) -> Any:
        """Return the next state, having looked whether that is all that ``evolve`` does."""
        service = self.service
        assert service is not None
        before = told(state)
        try:
            after, again = service.evolve(state, event), service.evolve(state, event)
        except Refused as refused:
            if self.complaint is None:
                self.complaint = f"{refusal(self.kind.name, event, refused)}\n{NO_RULES}"
            return state
        except Exception:  # noqa: BLE001 (it comes to it once more, and is told then)
            return state
        self._unchanged("evolve", before, state)
        if after != again and told(after) != told(again):
            self._complain("evolve", f"for the same {type(event).__name__} it returns", after, again)
        return after

    def _unchanged(self, what: str, before: str, state: Any) -> None:
        after = told(state)
        if before != after and self.complaint is None:
            self.complaint = (
                f"{self.kind.name}.{what} changes the state that it is given; return a new one: "
                f"msgspec.structs.replace(state, ...)\n(- before, + after)\n{difference(before, after)}"
            )

    def _complain(self, what: str, how: str, first: Any, second: Any) -> None:
        if self.complaint is None:
            self.complaint = (
                f"{self.kind.name}.{what} is not pure: {how} one thing and then another; let nothing but its arguments "
                f"and self.key decide\n(- first, + then)\n{difference(told(first), told(second))}"
            )
