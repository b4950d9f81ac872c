"""Folds: small read models whose whole state is one value in memory."""

from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from actors.definition import annotated, by_name, check_at_once, check_state
from actors.errors import DefinitionError
from actors.messages import Event, Meta, Query, State
from actors.read_model import ReadModel

S = TypeVar("S", bound=State)

HOW_TO_WRITE = "state: YourState, event: A | B, meta: Meta"
HOW_TO_ANSWER = "state: YourState, query: A | B"


class Fold(ReadModel, Generic[S]):
    """A read model that is one value in memory, folded from events and answered without SQL.

    ``evolve`` returns the state after one more event and ``answer`` answers queries from it; both are pure and not
    async. The events that it follows are those in the annotation of ``evolve``; all else is as for
    :class:`ReadModel`: ``version`` (to be changed when ``evolve`` changes), ``retry``, ``key``, ``about``,
    ``parked_limit``, ``categories``, ``tags``.

    The state is kept as JSON in a database of the read model's own, every so many events and when the runtime closes:
    a snapshot, from which it is folded on after a crash. A state of another form than today's class is folded anew.
    """

    initial: ClassVar[Any]
    """The state before the first event."""
    state_type: ClassVar[type[State]] = State
    """The class of the state; read from the class's own annotations."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for base in getattr(cls, "__orig_bases__", ()):
            if get_origin(base) is Fold:
                (state,) = get_args(base)
                check_state(cls, state)
                if isinstance(state, type):
                    cls.state_type = state
        if cls.state_type is State:
            raise DefinitionError(
                f"{cls.__name__} doesn't say what its state is; write class {cls.__name__}(Fold[YourState])"
            )
        if "initial" in cls.__dict__:
            check_state(cls, cls.state_type)
        for name in ("project", "schema"):
            if name in cls.__dict__:
                raise DefinitionError(
                    f"{cls.__name__} is a fold and has no tables; write def evolve(self, {HOW_TO_WRITE}) instead of "
                    f"{name}, or make it a ReadModel"
                )
        if cls.partitions != 1:
            raise DefinitionError(
                f"{cls.__name__} is a fold, one value in memory, and has no partitions; leave them out, or make it a "
                "ReadModel"
            )
        for name in ("evolve", "answer"):
            check_at_once(cls, name, "make it a ReadModel, whose answers come from tables")
        if "evolve" in cls.__dict__:
            cls.follows = by_name(cls, annotated(cls, "evolve", HOW_TO_WRITE, 2), Event)
        if "answer" in cls.__dict__:
            by_name(cls, annotated(cls, "answer", HOW_TO_ANSWER, 2), Query)

    def evolve(self, state: Any, event: Any, meta: Meta) -> Any:
        """Return the state after one more event; pure, and never a change to the one that was given."""
        raise NotImplementedError(f"{type(self).__name__} needs an evolve(self, {HOW_TO_WRITE})")

    def answer(self, state: Any, query: Any, /) -> Any:
        """Answer a query from the state; pure, and not async."""
        raise NotImplementedError(f"{type(self).__name__} needs an answer(self, {HOW_TO_ANSWER})")
