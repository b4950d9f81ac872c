"""Statistics: what a runtime is doing, in numbers. Made when asked for; nothing is counted for each message."""

from collections.abc import Iterable, Mapping

import msgspec

from actors import ReadModel, Subscriber
from persistence import Journal
from persistence.writer import Writer
from runtime.cells import Cell, Phase
from runtime.deliverer import Deliverer
from runtime.directory import Directory
from runtime.flow import QueueStats
from runtime.histogram import Histogram, HistogramStats
from runtime.kinds import Counts
from runtime.projector import Projector
from runtime.saga_cell import SagaCell


class ActorStats(msgspec.Struct, frozen=True):
    """The actors of one class, a pool's workers among them. Counters run since the runtime was entered."""

    active: int
    """How many are in memory."""
    parked: int
    """How many of them are set aside, sagas that parked themselves included."""
    mail: int
    """Messages in all mailboxes that wait for their turn."""
    deepest: int
    """Messages in the fullest mailbox."""
    oldest: float
    """Seconds for which the oldest of these messages has waited, at the most; 0.0: there are none.

    It is an upper bound: no message's arrival is noted, only that of the first in an empty mailbox, and when all that
    was there at some moment has been handled. So it is exact for a mailbox that stands still, and too old by the time
    that it takes to handle one mailbox full of messages for one that moves; where messages have priorities, by the time
    since the mailbox was last empty. A message that was put back (stashed, or cut off by a crash) counts from then.
    """
    turns: int
    """Messages handled, those of the runtime's own included."""
    failures: int
    """Crashes: what was raised, and was no refusal."""
    restarts: int
    """Starts after a crash."""
    expired: int
    """Messages that were not begun, because nobody waited for the reply any more."""


class JournalStats(msgspec.Struct, frozen=True):
    """The journal and its writer."""

    position: int
    """The position of the last durable event."""
    queued: int
    """Events enqueued and not yet durable."""
    groups: int
    """Groups written since the runtime was entered."""
    group_events: HistogramStats
    """Events in each group."""
    group_seconds: HistogramStats
    """Seconds that each group took to write and sync."""
    error: str | None
    """Why the last group could not be written: a full disk, say, or damage; None again when one has been written."""
    log_bytes: int
    """The size of SQLite's write-ahead log beside the journal's file; it grows while somebody reads an old state."""
    damage: str | None
    """What the check of a large file has found since it was opened; None: nothing so far."""


class ReadModelStats(msgspec.Struct, frozen=True):
    """One read model."""

    position: int
    """Everything up to this position is in its tables."""
    lag: int
    """Durable events that it has not come to yet."""
    failures: int
    """Attempts to project that failed, since the runtime was entered."""
    parked: bool
    log_bytes: int
    """The size of SQLite's write-ahead log beside its file."""
    set_aside: int
    """Events that are not in its tables, because they, or earlier ones of their key, can't be projected."""
    set_aside_keys: int
    """How many keys these are of."""
    built: int | None
    """How far new tables are that are being built to take over; None: there are none."""
    lag_seconds: float
    """The age of the oldest durable event that it has not come to yet; 0.0: there is none. Until it has read on, the
    age of the last one that it has come to, which is no younger."""
    rate: float
    """Events a second that it has come to, over the last minute."""
    last_error: str | None
    """What last went wrong, since the runtime was entered; None: nothing."""


class SubscriberStats(msgspec.Struct, frozen=True):
    """One subscriber."""

    position: int
    """Everything up to this position is handled, or set aside."""
    lag: int
    """Durable events behind that position."""
    under_way: int
    """Events that are being handled now."""
    failures: int
    """Attempts to handle an event that failed, since the runtime was entered."""
    parked: bool
    set_aside: int
    """Events that are not handled, because they, or earlier ones of their key, can't be."""
    set_aside_keys: int
    """How many keys these are of."""
    lag_seconds: float
    """The age of the oldest durable event that is neither handled nor set aside; 0.0: there is none. Until it has read
    on, the age of the last one that it has come to, which is no younger."""
    rate: float
    """Events a second that it has come to, over the last minute, those that it doesn't follow among them."""
    last_error: str | None
    """What last went wrong, since the runtime was entered; None: nothing."""


class NetworkStats(msgspec.Struct, frozen=True):
    """A node among others."""

    asking: int
    """Requests to other nodes under way."""
    serving: int
    """Requests of other nodes under way here."""


class Stats(msgspec.Struct, frozen=True):
    """What a runtime is doing, class by class; can be encoded as JSON."""

    actors: Mapping[str, ActorStats]
    """By the name of the class."""
    journal: JournalStats
    read_models: Mapping[str, ReadModelStats]
    """By the name of the class."""
    active: int
    """Actors in memory, of all classes."""
    dead_letters: int
    """Messages that nobody waited for and that could not be handled, since the runtime was entered."""
    timers: int
    """Timers that run: sagas' sleeps and deadlines, actors' timers, timeouts, pauses before another try."""
    queues: Mapping[str, QueueStats] = {}
    """By the name of each class of sagas with a limit (``at_once``)."""
    subscribers: Mapping[str, SubscriberStats] = {}
    """By the name of the class."""
    rates: Mapping[str, int] = {}
    """How many steps of sagas wait because of a ``rate``, by the name of each class that has one."""
    network: NetworkStats | None = None
    """None: it has no network."""


class Groups:
    """What is known of the groups that the writer has written."""

    def __init__(self) -> None:
        self._events = Histogram(0, 14)
        self._seconds = Histogram(-13, 4)

    def add(self, events: int, seconds: float) -> None:
        """Count one group."""
        self._events.add(events)
        self._seconds.add(seconds)

    def stats(self, journal: Journal, writer: Writer, damage: str | None) -> JournalStats:
        """Return the numbers of the journal as they are now."""
        error = None if writer.error is None else str(writer.error)
        return JournalStats(
            journal.position,
            writer.pending,
            writer.groups,
            self._events.stats(),
            self._seconds.stats(),
            error,
            journal.log_bytes,
            damage,
        )


def actor_stats(directory: Directory, now: int) -> dict[str, ActorStats]:
    """Return the numbers of all classes of actors; ``now`` is steady time, in microseconds."""
    kinds = {kind.name: kind for kind in directory.all_kinds if not issubclass(kind.cls, ReadModel | Subscriber)}
    cells: dict[str, list[Cell]] = {name: [] for name in kinds}
    for cell in directory:
        if cell.kind.pool is None and not cell.kind.remote:  # a pool's own cell is only the way to its workers'
            cells[cell.kind.name].append(cell)
    return {name: _of_class(kinds[name].counts, found, now) for name, found in cells.items()}


def _of_class(counts: Counts, cells: list[Cell], now: int) -> ActorStats:
    mail = deepest = parked = 0
    since = now
    for cell in cells:
        if depth := len(cell.mail):
            mail += depth
            deepest = max(deepest, depth)
            since = min(since, cell.since)
        parked += cell.phase is Phase.PARKED or (isinstance(cell, SagaCell) and cell.story.status == "parked")
    return ActorStats(
        active=len(cells),
        parked=parked,
        mail=mail,
        deepest=deepest,
        oldest=(now - since) / 1e6,
        turns=counts.turns,
        failures=counts.failures,
        restarts=counts.restarts,
        expired=counts.expired,
    )


def read_model_stats(
    projectors: Iterable[Projector], builders: Mapping[str, Projector], journal: Journal
) -> dict[str, ReadModelStats]:
    """Return the numbers of all read models."""
    return {
        projector.kind.name: ReadModelStats(
            position=projector.position,
            lag=max(0, journal.position - projector.position),
            failures=projector.kind.counts.failures,
            parked=projector.error is not None,
            log_bytes=projector.view.log_bytes,
            set_aside=projector.aside.count,
            set_aside_keys=len(projector.aside),
            built=builders[projector.kind.name].position if projector.kind.name in builders else None,
            lag_seconds=projector.lag(),
            rate=projector.progress.rate(),
            last_error=projector.progress.last_error,
        )
        for projector in projectors
    }


def subscriber_stats(deliverers: Iterable[Deliverer], journal: Journal) -> dict[str, SubscriberStats]:
    """Return the numbers of all subscribers."""
    return {
        deliverer.kind.name: SubscriberStats(
            position=deliverer.position,
            lag=max(0, journal.position - deliverer.position),
            under_way=deliverer.under_way,
            failures=deliverer.kind.counts.failures,
            parked=deliverer.error is not None,
            set_aside=deliverer.aside.count,
            set_aside_keys=len(deliverer.aside),
            lag_seconds=deliverer.lag(),
            rate=deliverer.progress.rate(),
            last_error=deliverer.progress.last_error,
        )
        for deliverer in deliverers
    }
