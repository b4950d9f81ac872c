"""Where subscribers began, and how far they had come at the least: a service that every runtime has writes it down.

A subscriber's checkpoint stands in a database of its own, which may get lost. What the journal knows of it is a little
older, and never ahead: events that were handled come again then, and none is left out.
"""

from collections.abc import Sequence
from typing import assert_never

from actors import Address, Command, Decision, Event, Saga, Service, State
from persistence import Journal
from persistence.journal import PAGE
from persistence.postgres_url import DEFAULT_OWNER, Place
from runtime.history import state_of
from runtime.kinds import Kind


class SubscriberBegan(Event, tag="runtime.subscriber-began"):
    """A subscriber was started for the first time, behind a position."""

    position: int


class SubscriberCame(Event, tag="runtime.subscriber-came"):
    """A subscriber has handled everything up to a position."""

    position: int


class SubscriberTries(Event, tag="runtime.subscriber-tries"):
    """After a crash of the process, a subscriber is about to handle the event at a position."""

    position: int


class NoteTry(Command["Subscribers", int], tag="runtime.note-try"):
    """Write down which event is about to be handled; the reply is how often in a row it was before."""

    position: int


class NoteBegin(Command["Subscribers", None], tag="runtime.note-begin"):
    """Write down where a subscriber begins."""

    position: int


class NotePosition(Command["Subscribers", None], tag="runtime.note-position"):
    """Write down how far a subscriber has come."""

    position: int


class Known(State):
    """What is known of a subscriber."""

    began: int | None = None
    came: int | None = None
    tried: int = 0
    """The event that was tried last after a crash."""
    tries: int = 0
    """How often, in a row."""


class Subscribers(
    Service[Known, NoteBegin | NotePosition | NoteTry, SubscriberBegan | SubscriberCame | SubscriberTries]
):
    """What is known of one subscriber, as its key says; with several owners of a journal, by one of them."""

    initial = Known()
    snapshot_every = 100

    def decide(self, state: Known, command: NoteBegin | NotePosition | NoteTry) -> Decision:
        """Write it down, where it is news."""
        match command:
            case NoteBegin(position):
                return command.reply(None, *([SubscriberBegan(position)] if state.began is None else []))
            case NotePosition(position):
                return command.reply(None, *([SubscriberCame(position)] if position > (state.came or 0) else []))
            case NoteTry(position):
                return command.reply(state.tries if state.tried == position else 0, SubscriberTries(position))
            case _:
                assert_never(command)

    def evolve(self, state: Known, event: SubscriberBegan | SubscriberCame | SubscriberTries) -> Known:
        """Keep the last one of each sort."""
        match event:
            case SubscriberBegan(position):
                return Known(position, state.came, state.tried, state.tries)
            case SubscriberCame(position):
                return Known(state.began, position, state.tried, state.tries)
            case SubscriberTries(position):
                tries = state.tries + 1 if state.tried == position else 1
                return Known(state.began, state.came, position, tries)
            case _:
                assert_never(event)


# A name with a dot is the runtime's own: no class of a user's can have it.
Subscribers.__name__ = "runtime.subscribers"


def producers_among(kinds: Sequence[Kind]) -> list[Kind]:
    """Return the kinds of those whose events can be followed: not what is known of the followers themselves."""
    services = [kind for kind in kinds if issubclass(kind.cls, Service) and kind.name != Subscribers.__name__]
    return [*services, *(kind for kind in kinds if issubclass(kind.cls, Saga))]


def known_of(name: str, journal: Journal) -> Address[Subscribers]:
    """Return who writes down what is known of a subscriber: each owner of a journal has streams of its own."""
    place = getattr(journal, "place", None)
    owner = place.owner if isinstance(place, Place) else DEFAULT_OWNER
    return Subscribers.at(name if owner == DEFAULT_OWNER else f"{name}@{owner}")


async def known(journal: Journal, kind: Kind, name: str) -> Known:
    """Return what the journal knows of a subscriber, whoever wrote it down; ``kind`` is that of the service.

    Raises:
        JournalError: it can't be read.
    """
    began: list[int] = []
    came: list[int] = []
    number = 0
    while page := await journal.streams(number, PAGE, kind.name):
        number = page[-1].number
        for state in page:
            if state.stream[1].partition("@")[0] == name:
                one: Known = await state_of(journal, Address(*state.stream), kind)
                began += [] if one.began is None else [one.began]
                came += [] if one.came is None else [one.came]
    return Known(min(began, default=None), max(came, default=None))
