"""Who is on stage: services that write no event, and plain actors whose ``receive`` is synchronous."""

from actors import Actor, Address, Command, Decision, Event, Service, State
from benchmarks.measuring import RING, Latch, Tally


class Nothing(State):
    """All that these services know."""


class Never(Event):
    """A service must be able to write something; these never do."""


# -- services ---------------------------------------------------------------------------------------------------


class Note(Command["Listener", None]):
    pass


class Listener(Service[Nothing, Note, Never]):
    initial = Nothing()

    def decide(self, state: Nothing, command: Note) -> Decision:  # noqa: ARG002
        return command.reply(None)

    def evolve(self, state: Nothing, event: Never) -> Nothing:  # noqa: ARG002
        return state


class Check(Command["Guest", None]):
    pass


class Guest(Service[Nothing, Check, Never]):
    """Checks in."""

    initial = Nothing()
    latch: Latch

    def decide(self, state: Nothing, command: Check) -> Decision:  # noqa: ARG002
        self.latch.down()
        return command.reply(None)

    def evolve(self, state: Nothing, event: Never) -> Nothing:  # noqa: ARG002
        return state


class Pour(Command["Barrel", None]):
    pass


class Barrel(Service[Nothing, Pour, Never]):
    """Is flooded."""

    initial = Nothing()
    handled = Tally()

    def decide(self, state: Nothing, command: Pour) -> Decision:  # noqa: ARG002
        self.handled.count += 1
        return command.reply(None)

    def evolve(self, state: Nothing, event: Never) -> Nothing:  # noqa: ARG002
        return state


# -- plain actors -----------------------------------------------------------------------------------------------


class Say(Command["Silent", None]):
    pass


class Silent(Actor):
    def receive(self, message: Say) -> None:
        pass


class Arrive(Command["Arrival", None]):
    pass


class Arrival(Actor):
    latch: Latch

    def receive(self, message: Arrive) -> None:  # noqa: ARG002
        self.latch.down()


class Flood(Command["Flooded", None]):
    pass


class Flooded(Actor):
    handled = Tally()

    def receive(self, message: Flood) -> None:  # noqa: ARG002
        self.handled.count += 1


class Next(Command["Hop", None]):
    left: int


class Hop(Actor):
    """A member of a ring; its key is its number in it."""

    latch: Latch
    size: int = RING

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.next = Hop.at(str((int(key) + 1) % self.size))

    def receive(self, message: Next) -> None:
        if message.left:
            self.tell(self.next, Next(message.left - 1))
        else:
            self.latch.down()


class Item(Command["Collector", None]):
    number: int


class Collector(Actor):
    latch: Latch

    def receive(self, message: Item) -> None:  # noqa: ARG002
        self.latch.down()


class Go(Command["Member", None]):
    times: int


class Member(Actor):
    """One of a crowd that tells the collector."""

    collector: Address[Collector] = Collector.at()

    def receive(self, message: Go) -> None:
        for n in range(message.times):
            self.tell(self.collector, Item(n))


SERVICES: list[type] = [Listener, Guest, Barrel]
PLAIN: list[type] = [Silent, Arrival, Flooded, Hop, Collector, Member]
