"""Given, when, then: a test of one actor, without an event loop, a thread or a disk."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar, overload

from actors import DefinitionError, Fold, ReadModel, Saga, Service
from runtime.simulation.given_read_model import ReadModelGiven
from runtime.simulation.given_saga import SagaGiven
from runtime.simulation.given_service import ServiceGiven
from runtime.simulation.past import Past

A = TypeVar("A", bound=Service[Any, Any, Any])
B = TypeVar("B", bound=Saga[Any, Any])
C = TypeVar("C", bound=ReadModel)


@overload
def given(
    actor: type[A], /, *events: Past, key: str = ..., now: datetime | None = ..., actors: Sequence[type] = ...
) -> ServiceGiven[A]: ...
@overload
def given(
    actor: type[B], key: str = ..., /, *, now: datetime | None = ..., actors: Sequence[type] = ...
) -> SagaGiven[B]: ...
@overload
def given(actor: type[C], /, *, now: datetime | None = ..., actors: Sequence[type] = ...) -> ReadModelGiven[C]: ...


def given(actor: Any, /, *past: Any, key: str = "", now: datetime | None = None, actors: Sequence[type] = ()) -> Any:
    """Begin a test of a service, with events that it has written; of a saga, with its key; or of a read model.

    The runtime's own code runs, with a journal in memory and a clock that stands at ``now`` until the test moves it.
    Other actors are found by their names: in the module that defines the class, or in ``actors``, or anywhere.

    Raises:
        DefinitionError: it is none of these, or ``actors`` can't be used.
        NotEncodable: an event can't be stored.
    """
    bases = actor.__mro__[1:] if isinstance(actor, type) else ()
    cls: Any = actor
    if Service in bases:
        return ServiceGiven[Any](cls, past, key, now, actors)
    if Saga in bases:
        (saga_key,) = past or (key,)
        return SagaGiven[Any](cls, saga_key, now, actors)
    if Fold in bases:
        raise DefinitionError(f"{cls.__name__} is a fold, and pure: call {cls.__name__}().evolve(...) and .answer(...)")
    if ReadModel in bases and cls is not Fold:
        return ReadModelGiven[Any](cls, now, actors)
    raise DefinitionError(f"given() takes a class of services, sagas or read models, not {actor!r}")
