"""What clients were told: each reply must be durable when it is given (P1), and the same each time (P3)."""

from typing import Any

import msgspec

from actors import Address, Command, Request, Saga, Service
from persistence import Append
from runtime.node import Node


class Acks:
    """The replies of one run, by whom and what was asked under which id."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        """What was wrong with them."""
        self._first: dict[tuple[str, str], bytes] = {}
        self.count = 0
        """How many were compared with an earlier one."""

    def take(self, node: Node, address: Address[Any], request: Request[Any, Any], id_: str | None, reply: Any) -> None:
        """Take note of a reply that a client has just got."""
        cls = node.kind(address.actor).cls
        if not isinstance(request, Command) or not issubclass(cls, Service | Saga):
            return  # what a plain actor answers is the outside world's business
        saga = issubclass(cls, Saga)
        stream = (address.actor, address.key)
        for batch in node.writer.enqueued():
            for append in batch:
                if append.stream == stream and (_ends(append) if saga else id_ is not None and append.command == id_):
                    self.faults.append(
                        f"{address} answered {type(request).__name__} before what led to the reply was durable"
                    )
                    return
        if id_ is None and not saga:
            return
        key = (str(address), "" if saga else str(id_))
        data = _encoded(reply)
        first = self._first.setdefault(key, data)
        if first is data:
            return
        self.count += 1
        if first != data:
            self.faults.append(
                f"{address} answered {type(request).__name__} with the id {id_!r} by {data.decode(errors='replace')}, "
                f"and at first by {first.decode(errors='replace')}"
            )


def _ends(append: Append) -> bool:
    return any(event.type == "saga.completed" for event in append.events)


def _encoded(reply: Any) -> bytes:
    try:
        return msgspec.json.encode(reply, order="deterministic")
    except (TypeError, ValueError):
        return repr(reply).encode()
