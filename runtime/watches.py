"""Who is told when an actor ends."""

from collections.abc import Callable, Iterator
from typing import Any

from actors import Address, Stopped
from actors.actor import Reason


class Watches:
    """The watches of one node. One is over when its watcher has been told, or has ended itself."""

    def __init__(self, tell: Callable[[Address[Any], Stopped], None]) -> None:
        self._tell = tell
        self._watchers: dict[Address[Any], dict[Address[Any], int]] = {}
        """Of each actor that is watched, who watches it and since which incarnation, in the order of coming."""

    def __contains__(self, address: Address[Any]) -> bool:
        return address in self._watchers

    def __iter__(self) -> Iterator[Address[Any]]:
        """All that are watched."""
        return iter(list(self._watchers))

    def add(self, watcher: Address[Any], address: Address[Any], incarnation: int = 0) -> None:
        """Let an actor be told when another one ends, in this incarnation or a later one; twice is once."""
        self._watchers.setdefault(address, {}).setdefault(watcher, incarnation)

    def remove(self, watcher: Address[Any], address: Address[Any]) -> None:
        """Take a watch back; does nothing where there is none."""
        watchers = self._watchers.get(address)
        if watchers is not None:
            watchers.pop(watcher, None)
            if not watchers:
                del self._watchers[address]

    def ended(
        self, address: Address[Any], reason: Reason, error: BaseException | None = None, incarnation: int | None = None
    ) -> None:
        """Tell all who watch that an actor has ended, in this incarnation; None: in whatever it was."""
        watchers = self._watchers.get(address, {})
        for watcher in [one for one, since in watchers.items() if incarnation is None or since <= incarnation]:
            self.remove(watcher, address)
            self._tell(watcher, Stopped(address, reason, "" if error is None else repr(error)))
