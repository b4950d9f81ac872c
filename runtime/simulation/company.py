"""Who is there: finds the classes of actors that a test's actor talks to by their names."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from actors import Actor, DefinitionError, ReadModel, Saga, Service, UnknownActor
from runtime.kinds import Kind, kind_of
from runtime.takers import Takers

_BASES: tuple[type, ...] = (Service, Saga, ReadModel, Actor)


class Company(Takers):
    """The classes of actors, by name: the actor's own, those that were named, and those that its module can see.

    Where none of these has the name, it is the class that was defined under it in the nearest package.
    """

    def __init__(self, own: type, also: Sequence[type] = ()) -> None:
        self._own = own
        self._kinds: dict[str, Kind] = {}
        for cls in (own, *also):
            kind = kind_of(cls)
            if kind.name in self._kinds and self._kinds[kind.name].cls is not cls:
                raise DefinitionError(f"actors= names two classes {kind.name}; an address could mean either")
            self._kinds[kind.name] = kind

    def kind(self, name: str) -> Kind:
        """Return the kind of a class of actors.

        Raises:
            UnknownActor: there is none of this name, or there are several.
        """
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kinds[name] = kind_of(self._find(name))
        return kind

    def writers_of(self, kind: Kind) -> list[Kind]:
        """Return who writes what a read model follows: those that are known, and others that were defined."""
        followed = set(kind.cls.follows.values())
        found = {one.name: one for one in self._kinds.values() if one.cls is not kind.cls}
        for cls in _defined():
            events = set(getattr(cls, "events", {}).values())
            if cls.__name__ not in found and events & followed:
                found[cls.__name__] = kind_of(cls)
        return list(found.values())

    def _find(self, name: str) -> type:
        seen = vars(sys.modules[self._own.__module__]).get(name)
        if isinstance(seen, type) and issubclass(seen, _BASES):
            return seen
        found = [cls for cls in _defined() if cls.__name__ == name]
        nearest = max([self._nearness(cls) for cls in found], default=0)
        near = [cls for cls in found if self._nearness(cls) == nearest]
        if len(near) == 1:
            return near[0]
        why = f"there are {len(found)} classes {name!r}" if found else f"there is no class of actors {name!r}"
        raise UnknownActor(f"{why}; name the one that is meant: given({self._own.__name__}, ..., actors=[{name}])")

    def _nearness(self, cls: type) -> int:
        """Return how many packages a class and the actor's own have in common."""
        ours, theirs = self._own.__module__.split("."), cls.__module__.split(".")
        return next((n for n, (our, their) in enumerate(zip(ours, theirs, strict=False)) if our != their), len(ours))


def _defined() -> Iterator[type]:
    """Yield all classes of actors that were ever defined, and are still there."""
    todo: list[type[Any]] = list(_BASES)
    seen: set[type[Any]] = set()
    while todo:
        classes: list[type[Any]] = todo.pop().__subclasses__()
        for cls in classes:
            if cls not in seen:
                seen.add(cls)
                todo.append(cls)
                yield cls
