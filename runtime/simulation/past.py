"""What has happened before: a test's events, in the journal, in the form in which they would be stored."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from actors import Address, Event, Service
from persistence import Append, NewEvent
from persistence.codec import encode
from persistence.intake import check
from runtime.conditions import tag
from runtime.kinds import EventMeta, Kind
from runtime.simulation.bench import Bench


class Stored(msgspec.Struct, frozen=True):
    """An event as an older release has stored it, to be read by today's aliases and upcasts.

    ``fields`` are those of its JSON, without the name, which is ``type``.
    """

    type: str
    fields: Mapping[str, Any] = {}
    revision: int = 1

    def new(self, meta: EventMeta) -> NewEvent:
        """Return it ready to be appended."""
        if self.revision != 1:
            meta = msgspec.structs.replace(meta, revision=self.revision)
        data = encode({"type": self.type, **self.fields}, f"the stored {self.type}")
        return NewEvent(self.type, data, encode(meta))


Past = Event | Stored


def write_past(bench: Bench, address: Address[Any], kind: Kind, events: Sequence[Past]) -> None:
    """Have events in the journal that the actor at an address has written before.

    Raises:
        NotEncodable: one can't be stored.
        DefinitionError: one is not among those that the class names.
    """
    meta = EventMeta("given", "given")
    new: list[NewEvent] = []
    for event in events:
        if isinstance(event, Stored):
            new.append(event.new(meta))
            continue
        made = kind.new_events([event], encode(meta))
        if kind.revised:
            kind.stamp(made)
        if kind.tagged:
            service: Service[Any, Any, Any] = kind.cls(address.key)
            tag(service, [event], made)
        new += made
    if new:
        stream = (address.actor, address.key)
        batch = (Append(stream, bench.head(address), new, bench.manual.now()),)
        check((batch,), bench.memory.max_payload)
        bench.write(batch)
