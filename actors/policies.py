"""Policies: what an actor's class says of restarts, mail, memory, pools and groups. All are bounded."""

import math
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal, get_args

import msgspec

from actors.address import Address


class Backoff(msgspec.Struct, frozen=True):
    """Growing pauses between attempts: ``first``, then ``factor`` times more each, up to ``cap``.

    ``jitter`` takes away up to that share of each pause at random, so that many who failed at once don't come
    back at once ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """

    first: timedelta = timedelta(milliseconds=100)
    factor: float = 2.0
    cap: timedelta = timedelta(seconds=60)
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if self.first <= timedelta(0) or self.cap < self.first or not self.factor >= 1 or not 0 <= self.jitter < 1:
            raise ValueError(f"a backoff needs 0 < first <= cap, factor >= 1 and 0 <= jitter < 1, not {self!r}")

    def pause(self, attempt: int, rng: random.Random) -> float:
        """Return the seconds to wait after the ``attempt``-th failure (counted from 1)."""
        pause = self.cap.total_seconds()
        with suppress(OverflowError):  # so many attempts that no float holds the pause: the cap, then
            pause = min(self.first.total_seconds() * math.pow(self.factor, attempt - 1), pause)
        return pause * (1.0 - self.jitter * rng.random())


class RetryPolicy(msgspec.Struct, frozen=True):
    """How a saga repeats a step that failed; after ``budget`` since the first try the saga is parked.

    So it is at once when the step fails by an error of one of the ``final`` classes (or a subclass; by name, where it
    is given as text), as no retry can mend it. And so it is when the process has crashed more than ``crashes`` times in
    a row with the saga under way and without any progress: its step, or its code, seems to be what ends the process.
    """

    backoff: Backoff = Backoff()
    budget: timedelta = timedelta(minutes=10)
    crashes: int = 5
    final: tuple[type[BaseException] | str, ...] = ()

    def __post_init__(self) -> None:
        if self.budget < timedelta(0) or self.crashes < 0:
            raise ValueError(f"a retry needs a budget of 0 or more, and crashes >= 0, not {self!r}")

    @property
    def final_names(self) -> tuple[str, ...]:
        """The names of the classes of errors that are final."""
        return tuple(one if isinstance(one, str) else one.__name__ for one in self.final)

    def is_final(self, error: BaseException) -> bool:
        """Return whether an error, or what it was raised from, is final."""
        names = self.final_names
        return bool(names) and any(
            cls.__name__ in names for one in (error, error.__cause__) if one is not None for cls in type(one).__mro__
        )


UNDO_RETRY = RetryPolicy(budget=timedelta(hours=24))
"""The default for undo: money or seats hang on it, so it is tried for a day before a person is called."""


class RestartPolicy(msgspec.Struct, frozen=True):
    """How an actor that crashed is started again; more than ``restarts`` within ``within`` parks it.

    A parked actor refuses its mail. After ``parked_for`` it tries again by itself, with a new budget: an outage that
    ends needs nobody to come.
    """

    restarts: int = 5
    within: timedelta = timedelta(minutes=1)
    backoff: Backoff = Backoff(first=timedelta(milliseconds=50), cap=timedelta(seconds=5))
    parked_for: timedelta = timedelta(minutes=1)

    def __post_init__(self) -> None:
        if self.restarts < 0 or self.within <= timedelta(0) or self.parked_for <= timedelta(0):
            raise ValueError(f"a restart policy needs restarts >= 0, within > 0 and parked_for > 0, not {self!r}")


Overflow = Literal["wait", "refuse", "drop"]


class Mailbox(msgspec.Struct, frozen=True):
    """How much mail an actor may have waiting, what happens to more, and what is handled first.

    ``limit`` counts messages. At the limit, ``overflow="wait"`` lets senders outside wait until there is room or
    their deadline has come; ``"refuse"`` tells them :class:`MailboxFull` at once; ``"drop"`` drops the newest
    message as a dead letter (who asked is told :class:`MailboxFull`). Actors never wait for each other's mailboxes,
    or two full ones could wait for each other for ever: their ``tell`` raises :class:`MailboxFull`. ``priority`` gives
    message classes a number, 0 where none is given: higher ones are handled first, each in the order of its coming.
    """

    limit: int = 10_000
    overflow: Overflow = "wait"
    priority: Mapping[type[Any], int] = {}

    def __post_init__(self) -> None:
        if self.limit < 1 or self.overflow not in get_args(Overflow):
            raise ValueError(f"a mailbox needs limit >= 1 and overflow 'wait', 'refuse' or 'drop', not {self!r}")


class Passivation(msgspec.Struct, frozen=True):
    """When an actor that has nothing to do leaves the memory; its next message brings it back.

    ``idle`` is how long it may rest (None: for ever). When more than ``active`` of one class are in memory, those that
    have rested longest leave first. Only what is durable leaves; what a plain actor has in memory is lost with it, so
    one that keeps state there may want ``idle=None``.
    """

    idle: timedelta | None = timedelta(minutes=10)
    active: int = 100_000

    def __post_init__(self) -> None:
        if self.active < 1 or (self.idle is not None and self.idle <= timedelta(0)):
            raise ValueError(f"passivation needs active >= 1 and idle > 0 or None, not {self!r}")


class Pool(msgspec.Struct, frozen=True):
    """Several workers behind one address of a plain actor.

    Messages go round robin, or, where ``by`` returns a message's key, always to the same worker for the same key, so
    that each key's messages keep their order.
    """

    size: int = 4
    by: Callable[[Any], object] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.size <= 10_000:
            raise ValueError(f"a pool needs a size of 1 to 10,000 workers, not {self.size}")


MOST_AT_A_MOMENT = 100_000
"""How many steps a :class:`Rate` may let go at the same moment; it remembers when each of them went."""


class Rate(msgspec.Struct, frozen=True):
    """How fast sagas may send steps to the actors of a class: no more than ``limit`` in any span of ``per``.

    ``burst`` is how many of them may go at the same moment, by default all: no more than that go in any span of
    ``per * burst / limit``, so that the limit is spread over ``per``.
    """

    limit: int
    per: timedelta = timedelta(seconds=1)
    burst: int | None = None

    def __post_init__(self) -> None:
        if type(self.limit) is not int or self.limit < 1 or self.per <= timedelta(0):
            raise ValueError(
                f"a rate needs limit >= 1 and per > 0, as in Rate(100, per=timedelta(seconds=1)): {self!r}"
            )
        if self.burst is not None and (type(self.burst) is not int or self.burst < 1 or self.limit % self.burst):
            raise ValueError(f"a rate's burst must be a whole part of its limit, so that no span has more: {self!r}")
        if self.at_a_moment > MOST_AT_A_MOMENT:
            raise ValueError(
                f"a rate lets at most {MOST_AT_A_MOMENT:,} go at the same moment; give a smaller burst=: {self!r}"
            )

    @property
    def at_a_moment(self) -> int:
        """How many may go at the same moment."""
        return self.limit if self.burst is None else self.burst

    @property
    def span(self) -> int:
        """In how many microseconds no more than that may go."""
        return -(-(self.per // timedelta(microseconds=1)) * self.at_a_moment // self.limit)


Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]


class Group(msgspec.Struct, frozen=True):
    """Actors that are supervised together, in the order in which they are started.

    When a member crashes, ``"one_for_one"`` starts only it again, ``"one_for_all"`` all of them, ``"rest_for_one"`` it
    and those that come after it. ``restart`` is the budget of the whole group; spent, the failure goes to the group's
    owner: the group that it is a member of, the plain actor whose children it holds, or else the runtime, which parks
    all members. The strategies are those of Erlang/OTP's supervisors. The workers of a pool are members one by one.
    """

    members: tuple["Address[Any] | Group", ...] = ()
    strategy: Strategy = "one_for_one"
    restart: RestartPolicy = RestartPolicy()

    def __post_init__(self) -> None:
        if self.strategy not in get_args(Strategy):
            raise ValueError(f"a group's strategy is one of {', '.join(get_args(Strategy))}, not {self.strategy!r}")
