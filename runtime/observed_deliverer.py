"""The deliverer of a node that is observed: what the other one does, and tells of it."""

from collections.abc import Sequence
from typing import Any

from actors import Subscriber
from persistence import Record
from runtime.deliverer import Deliverer
from runtime.kinds import meta_of
from runtime.observer import outcome_of


class ObservedDeliverer(Deliverer):
    """A deliverer that is observed."""

    async def _handle(self, author: Subscriber, record: Record, events: Sequence[Any]) -> None:
        observer = self._place.observer
        began, error = observer.stopwatch(), None
        attributes = {
            "understudy.actor": self.kind.name,
            "understudy.event": record.type,
            "understudy.stream": "/".join(record.stream),
            "understudy.position": str(record.position),
        }
        name, trace = f"{self.kind.name} {record.type}", meta_of(record).trace
        span = observer.tracing.begin(name, trace, observer.clock.now(), attributes, current=True)
        try:
            await super()._handle(author, record, events)
        except BaseException as raised:
            error = raised
            raise
        finally:
            outcome = outcome_of(error)
            span.end(observer.clock.now(), outcome, error)
            observer.handled(self._address, record.type, observer.stopwatch() - began, outcome)
            if isinstance(error, Exception):
                observer.crashed(self._address, error)

    def _park(self, error: BaseException) -> None:
        super()._park(error)
        self._place.observer.parked(self._address, error)
