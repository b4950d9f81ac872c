"""Evolution: how events that were stored long ago become events of today's classes.

What needs nothing: a field that is added with a default. What needs a word: a class that is renamed,
``class SeatHeld(Event, aliases=("SeatTaken",))``. For all else there is an upcast, a pure function from the fields as
they were stored to the fields of the next revision. The class says which revision is today's, and the service (or the
saga, for its result) has a list of the upcasts that lead there::

    class SeatHeld(Event, revision=2):
        trip: str
        seat: str

    @upcast("SeatHeld", 1)
    def seats_are_texts(stored: dict[str, Any]) -> dict[str, Any]:
        return {**stored, "seat": str(stored["seat"])}

    class Flight(Service[Seats, HoldSeat, SeatHeld | SeatReleased]):
        upcasts = (seats_are_texts,)

An upcast with ``into=`` makes other events out of one, several or none, and so does away with a class altogether::

    @upcast("SeatsSwapped", 1, into={"SeatReleased": 1, "SeatHeld": 2})
    def a_swap_is_two_events(stored: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "SeatReleased", {"trip": stored["trip"]}
        yield "SeatHeld", {"trip": stored["trip"], "seat": stored["seat"]}

What is stored is never changed. All of it is checked where the service is defined, and again when a runtime opens.
"""

from collections.abc import Callable, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Protocol, overload

import msgspec

from actors.errors import DefinitionError
from actors.messages import Event, Message, aliases_of, revision_of

Step = tuple[str, int]
"""The name and the revision under which an event is stored."""
Changes = Callable[[dict[str, Any]], Mapping[str, Any]]
"""From the fields of one revision to those of the next."""
Splits = Callable[[dict[str, Any]], Iterable[tuple[str, Mapping[str, Any]]]]
"""From the fields of one event to the names and fields of others."""


class Upcast(msgspec.Struct, frozen=True):
    """What becomes of events that were stored under this name with this revision; made by :func:`upcast`."""

    type: str
    revision: int
    change: Any
    """A :data:`Changes`, or a :data:`Splits` where ``into`` is given."""
    into: Mapping[str, int] | None = None
    """The names that it may lead to, and the revision in which it gives the fields of each."""

    def __str__(self) -> str:
        return f"upcast {getattr(self.change, '__name__', '?')} of {self.type} revision {self.revision}"


class _Changing(Protocol):
    def __call__(self, change: Changes, /) -> Upcast: ...


class _Splitting(Protocol):
    def __call__(self, change: Splits, /) -> Upcast: ...


@overload
def upcast(type: str, revision: int) -> _Changing: ...
@overload
def upcast(type: str, revision: int, *, into: Mapping[str, int]) -> _Splitting: ...


def upcast(type: str, revision: int, *, into: Mapping[str, int] | None = None) -> Callable[[Any], Upcast]:  # noqa: A002
    """Make a function the upcast of events of this name from this revision.

    The function is pure. It gets the fields as they were stored, in a dictionary of its own, and returns those of the
    next revision; with ``into`` it returns, or yields, the names and fields of the events that take its place, in
    their order. They go on from the revision that ``into`` says, through further upcasts, to today's.
    """
    return lambda change: Upcast(type, revision, change, into)


def names_by_alias(owner: Any, messages: Mapping[str, type[Message]]) -> dict[str, str]:
    """Return today's names of messages by the names that they had before.

    Raises:
        DefinitionError: a name could mean two of them.
    """
    found: dict[str, str] = {}
    for name, message in messages.items():
        for alias in aliases_of(message):
            if alias in messages or alias in found:
                other = messages[found.get(alias, alias)].__name__
                raise DefinitionError(
                    f"{owner.__name__}: the alias {alias!r} of {message.__name__} also means {other}; what is stored "
                    "under it could be either, so leave it out of one of them"
                )
            found[alias] = name
    return found


def steps_of(owner: Any) -> dict[Step, Upcast]:
    """Return an actor's upcasts by what they lead on from, having checked that all lead to today's classes.

    Only services and sagas have any.

    Raises:
        DefinitionError: they don't; the message says what to write.
    """
    events: Mapping[str, type[Event]] = getattr(owner, "events", {})
    names_by_alias(owner, getattr(owner, "commands", {}))
    aliases = names_by_alias(owner, events)
    steps: dict[Step, Upcast] = {}
    for one in getattr(owner, "upcasts", ()):
        if not isinstance(one, Upcast):
            raise DefinitionError(
                f'{owner.__name__}.upcasts holds {one!r}; make it one: @upcast("Name", 1) above the function'
            )
        step = (aliases.get(one.type, one.type), one.revision)
        if step in steps:
            raise DefinitionError(f"{owner.__name__} has a second {steps[step]}, by {one}; leave one out")
        steps[step] = Upcast(*step, one.change, one.into)
    for name, revision in [*steps, *((name, revision_of(event)) for name, event in events.items())]:
        _check_begun(owner, name, revision, steps)
    for one in steps.values():
        _check_end(owner, one, aliases, steps)
    _check_no_circle(owner, steps, aliases)
    return steps


def _check_begun(owner: Any, name: str, revision: int, steps: Mapping[Step, Upcast]) -> None:
    """Check that there is no gap below a revision: each older one leads on."""
    if type(revision) is not int or revision < 1:
        raise DefinitionError(f"{owner.__name__}: an upcast of {name} needs a revision from 1, not {revision!r}")
    for older in range(1, revision):
        if (name, older) not in steps:
            raise DefinitionError(
                f"{owner.__name__} has {name} at revision {revision}, but nothing leads on from revision {older}; "
                f'write an upcast and add it to {owner.__name__}.upcasts: @upcast("{name}", {older})'
            )


def _check_end(owner: Any, one: Upcast, aliases: Mapping[str, str], steps: Mapping[Step, Upcast]) -> None:
    """Check that what an upcast gives is taken by today's class, or by another upcast."""
    events: Mapping[str, type[Event]] = owner.events
    name, revision = one.type, one.revision
    if name in events and revision >= revision_of(events[name]):
        raise DefinitionError(
            f"{owner.__name__} has an {one}, but that is what its class writes today; if its fields have "
            f"changed, write class {events[name].__name__}(Event, revision={revision + 1})"
        )
    for target, at in _results_of(one, aliases):
        event = events.get(target)
        if (target, at) in steps or (event is not None and revision_of(event) == at):
            continue
        if event is not None:
            raise DefinitionError(
                f"{owner.__name__} has an {one}, which leads to {target} revision {at}, but today's class is at "
                f"revision {revision_of(event)}"
            )
        raise DefinitionError(
            f"{owner.__name__} has an {one}, which leads to {target} revision {at}, and no class takes that; add its "
            f"class to {owner.__name__}'s events, or say what becomes of it: "
            f'@upcast("{name}", {revision}, into={{"NameOfAClass": 1}})'
        )


def _results_of(one: Upcast, aliases: Mapping[str, str]) -> list[Step]:
    """Return what an upcast may lead to."""
    if one.into is None:
        return [(one.type, one.revision + 1)]
    return [(aliases.get(name, name), revision) for name, revision in one.into.items()]


def _check_no_circle(owner: Any, steps: Mapping[Step, Upcast], aliases: Mapping[str, str]) -> None:
    try:
        TopologicalSorter({step: _results_of(one, aliases) for step, one in steps.items()}).prepare()
    except CycleError as error:
        circle = " -> ".join(f"{name} revision {revision}" for name, revision in reversed(error.args[1]))
        raise DefinitionError(f"{owner.__name__} has upcasts that lead in a circle: {circle}") from error
