"""Who is told when an actor ends."""

from collections.abc import Callable
from typing import Any

from actors import Address, Stopped
from actors.actor import Reason


class Watches:
    """The watches of one node. One is over when its watcher has been told, or has ended itself."""

    def __init__(self, tell: Callable[[Address[Any], Stopped], None]) -> None:
        self._tell = tell
        self._watchers: dict[Address[Any], dict[Address[Any], None]] = {}
        """Of each actor that is watched, who watches it, in the order in which they began."""

    def __contains__(self, address: Address[Any]) -> bool:
        return address in self._watchers

    def add(self, watcher: Address[Any], address: Address[Any]) -> None:
        """Let an actor be told when another one ends; twice is once."""
        self._watchers.setdefault(address, {})[watcher] = None

    def remove(self, watcher: Address[Any], address: Address[Any]) -> None:
        """Take a watch back; does nothing where there is none."""
        watchers = self._watchers.get(address)
        if watchers is not None:
            watchers.pop(watcher, None)
            if not watchers:
                del self._watchers[address]

    def ended(self, address: Address[Any], reason: Reason, error: BaseException | None = None) -> None:
        """Tell all who watch that an actor has ended."""
        for watcher in self._watchers.pop(address, ()):
            self._tell(watcher, Stopped(address, reason, "" if error is None else repr(error)))
