"""Services: event-sourced actors. Rules in ``decide``, state in ``evolve``, both pure."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Self, TypeVar, get_args, get_origin

from actors.address import Address
from actors.definition import (
    by_name,
    check_at_once,
    check_init,
    check_locks,
    check_settings,
    check_snapshots,
    check_state,
    check_takes_commands,
    queries_of,
)
from actors.evolution import Upcast, steps_of
from actors.interceptors import Interceptor, check_interceptors
from actors.locks import WhenLocked
from actors.messages import Command, Decision, Event, Query, State
from actors.policies import Mailbox, Passivation, Rate, RestartPolicy

S = TypeVar("S", bound=State)
C = TypeVar("C", bound=Command[Any, Any])
E = TypeVar("E", bound=Event)

NOBODY: Mapping[str, tuple[Address[Any], ...]] = MappingProxyType({})
"""Who holds the locks of a service that has none."""


class Service(Generic[S, C, E]):
    """An actor whose state is the fold of its own stream of events.

    Subclasses name their state, commands and events, give the ``initial`` state, and write two pure methods::

        class Flight(Service[Seats, HoldSeat | ReleaseSeat, SeatHeld | SeatReleased]):
            initial = Seats()

            def decide(self, state, command) -> Decision: ...
            def evolve(self, state, event) -> Seats: ...

    ``decide`` returns ``command.reply(reply, *events)`` or raises :class:`Refused`. It may run more than once
    for one command, so it must do no I/O and look at nothing but its arguments and ``self.key``.
    Any other exception is a failure: nothing is written, and the asker may try again.

    An ``answer(self, state, query)`` answers queries from the state, in a turn of the service's own.

    Now and then the state is kept in a snapshot, so that not all events need to be read to bring the service back. A
    snapshot is keyed by the form of the state and by ``snapshot_version``: when what ``evolve`` makes of events changes
    and the form of the state doesn't, write another number there, and the events are read again.
    """

    initial: S
    restart: ClassVar[RestartPolicy] = RestartPolicy()
    mailbox: ClassVar[Mailbox] = Mailbox()
    passivation: ClassVar[Passivation] = Passivation()
    rate: ClassVar[Rate | None] = None
    """How fast sagas may send steps to services of this class, all together; None: as they come."""
    snapshot_every: ClassVar[int | None] = 500
    """How many events come between two snapshots, at the least; more where the state is large. None: only those that
    are asked for, by ``runtime.snapshot``, ``truncate`` and ``delete``."""
    snapshot_version: ClassVar[int] = 1
    """To be changed when ``evolve`` changes, so that snapshots made by the old one are not used any more."""
    when_locked: ClassVar[WhenLocked] = "refuse"
    """What becomes of a command whose lock a saga holds that it is no part of: ``"refuse"`` raises :class:`Locked` at
    the asker, ``"queue"`` lets it wait for its turn, ``"tell"`` lets ``decide`` see ``locked_by`` and decide itself."""
    state_type: ClassVar[type[State]] = State
    """The class of the state; read from the class's own annotations."""
    commands: ClassVar[Mapping[str, type[Command[Any, Any]]]] = {}
    """The command classes that it takes, by stable name; read from the class's own annotations."""
    events: ClassVar[Mapping[str, type[Event]]] = {}
    """The event classes of its stream, by stable name; read from the class's own annotations."""
    queries: ClassVar[Mapping[str, type[Query[Any, Any]]]] = {}
    """The queries that it answers, by stable name; read from the annotation of ``answer``."""
    upcasts: ClassVar[Sequence[Upcast]] = ()
    """What becomes of events that were stored in another form; see :mod:`actors.evolution`."""
    interceptors: ClassVar[Sequence[Interceptor]] = ()
    """What stands around requests to actors of this class, inside the runtime's own; see :mod:`actors.interceptors`."""

    locked_by: Mapping[str, tuple[Address[Any], ...]] = NOBODY
    """The locks that sagas hold, by name, without those that the command is a part of; for ``decide`` to look at, and
    for ``answer``."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        check_interceptors(cls.__name__, cls.interceptors)
        for base in getattr(cls, "__orig_bases__", ()):
            if get_origin(base) is Service:
                state, commands, events = get_args(base)
                cls.commands = by_name(cls, commands, Command)
                cls.events = by_name(cls, events, Event)
                check_state(cls, state)
                cls.state_type = state
        check_init(cls)
        for name in ("decide", "evolve"):
            check_at_once(cls, name)
        if "answer" in cls.__dict__:
            cls.queries = queries_of(cls, f"state: {cls.state_type.__name__}, query: A | B", 2)
        check_snapshots(cls)
        check_settings(cls)
        check_locks(cls)
        check_takes_commands(cls, cls.commands, f"class {cls.__name__}(Service[YourState, Commands, Events])")
        steps_of(cls)

    @classmethod
    def at(cls, key: str = "") -> Address[Self]:
        """Return the address of the service of this class with this key."""
        return Address(cls.__name__, key)

    def decide(self, state: S, command: C) -> Decision:
        """Apply the rules: return the reply and the events, or raise :class:`Refused`."""
        raise NotImplementedError(f"{type(self).__name__} needs a decide(self, state, command)")

    def answer(self, state: S, query: Any) -> Any:
        """Answer a query from the state as it is; pure, and not async. Raising :class:`Refused` is a 'no' to the asker.

        It sees all commands that were handled before it, also where a saga holds a lock, and changes nothing.
        """
        raise NotImplementedError(f"{type(self).__name__} needs an answer(self, state, query)")

    def lock_of(self, command: C) -> str | None:  # noqa: ARG002 (it is for subclasses)
        """Return the name of the lock that a command needs, in the service's own words; None: it needs none. Pure.

        A step of a saga with ``lock=True`` takes it, and the saga holds it until it has ended. Meanwhile the commands
        of others that need the same one are refused, wait or are told, as ``when_locked`` says. By default the whole
        service has one lock; ``f"seat {command.seat}"`` gives each seat its own, say.
        """
        return ""

    def tags(self, event: E) -> Iterable[str]:  # noqa: ARG002 (it is for subclasses)
        """Return the tags by which an event is found in the whole journal: by conditions, and by who follows it.

        Any text will do, ``f"customer:{event.customer}"`` say. Called once, when the event is written; pure.
        """
        return ()

    def evolve(self, state: S, event: E) -> S:
        """Return the next state; never change the one that was given."""
        raise NotImplementedError(f"{type(self).__name__} needs an evolve(self, state, event)")
