"""The projector of a node that is observed: what the other one does, and tells of it."""

from typing import Any

from actors import Address, Fold
from persistence import Record
from runtime.fold_projector import FoldProjector
from runtime.kinds import Kind, meta_of
from runtime.mailbox import Envelope
from runtime.observer import Observer
from runtime.partitions import Page
from runtime.projection import Poison
from runtime.projector import Projector
from runtime.tracing import NO_TRACING

FRESH = 600_000_000
"""Microseconds for which an event's trace is gone on with; a read model that is rebuilt traces nothing of long ago."""


class ObservedProjector(Projector):
    """A projector that is observed."""

    observer: Observer
    _began = 0.0
    """When the partitions were given what they are at, by the observer's stopwatch; and by the clock."""
    _at = 0

    @property
    def _address(self) -> Address[Any]:
        return Address(self.kind.name)

    async def _project(self, records: list[Record]) -> None:
        observer, before = self.observer, self.position
        began, at, error = observer.stopwatch(), observer.clock.now(), None
        try:
            await super()._project(records)
        except Exception as raised:
            error = raised
            if isinstance(raised, Poison) and isinstance(raised.__cause__, Exception):
                error = raised.__cause__
            observer.crashed(self._address, error)
            raise
        finally:
            if self.position > before:
                observer.projected(self.kind.name, self.position - before, observer.stopwatch() - began)
            if observer.tracing is not NO_TRACING:
                self._trace([record for record in records if record.position <= self.position], at, None)
                if error is not None:
                    self._trace([record for record in records if record.position == self.position + 1], at, error)

    async def _take_in_partitions(self, records: list[Record]) -> None:
        observer = self.observer
        self._began, self._at = observer.stopwatch(), observer.clock.now()
        try:
            await super()._take_in_partitions(records)
        except Exception as error:
            observer.crashed(self._address, error)
            raise

    def _page_done(self, page: Page) -> None:
        super()._page_done(page)
        observer, began, at = self.observer, self._began, self._at
        self._began, self._at = observer.stopwatch(), observer.clock.now()
        observer.projected(self.kind.name, len(page.records), self._began - began)
        if observer.tracing is not NO_TRACING:
            self._trace(list(page.records), at, None)

    def _trace(self, records: list[Record], at: int, error: Exception | None) -> None:
        now = self.observer.clock.now()
        for record in records:
            if self._projection.follows(record) and now - record.time <= FRESH and (trace := meta_of(record).trace):
                attributes = {
                    "understudy.actor": self.kind.name,
                    "understudy.event": record.type,
                    "understudy.stream": "/".join(record.stream),
                    "understudy.position": str(record.position),
                }
                name = f"{self.kind.name} {record.type}"
                span = self.observer.tracing.begin(name, trace, at, attributes, current=False)
                span.end(now, "done" if error is None else "failed", error)

    async def ask(self, query: Any, position: int, timeout: float | None) -> Any:
        """Answer a query, when the tables have reached ``position``."""
        observer = self.observer
        envelope = Envelope(query, trace=observer.tracing.here())
        work = observer.begin(self.kind.name, self._address, envelope, traced=True)
        try:
            return await super().ask(query, position, timeout)
        except BaseException as error:
            work.error = error
            raise
        finally:
            observer.end(work)

    def _park(self, error: BaseException) -> None:
        super()._park(error)
        self.observer.parked(self._address, error)


class ObservedFoldProjector(ObservedProjector, FoldProjector):
    """The projector of a fold, observed."""


def projector_for(kind: Kind, *, observed: bool) -> type[Projector]:
    """Return the class of projectors that a read model needs."""
    if issubclass(kind.cls, Fold):
        return ObservedFoldProjector if observed else FoldProjector
    return ObservedProjector if observed else Projector
