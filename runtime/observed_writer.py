"""The writer of a node that is traced: each event says in which trace it happened, for those who go on with it."""

from collections.abc import Awaitable, Callable

import msgspec

from persistence import Batch, Journal
from persistence.codec import encode
from persistence.writer import Writer
from runtime.kinds import EventMeta
from runtime.observer import Observer
from runtime.tracing import NO_TRACING, Tracing


class TracedWriter(Writer):
    """A writer that notes the trace of each event in its metadata."""

    tracing: Tracing = NO_TRACING
    _decode = msgspec.json.Decoder(EventMeta).decode

    def enqueue(self, batch: Batch) -> None:
        """Put a batch at the end of the order, as part of the trace that is under way."""
        trace = self.tracing.here()
        if trace:
            for append in batch:
                before = after = b""
                for event in append.events:
                    if event.meta != before:  # most events of a batch share theirs
                        before, meta = event.meta, self._decode(event.meta)
                        meta.trace = trace
                        after = encode(meta)
                    event.meta = after
        super().enqueue(batch)


def new_writer(
    observer: Observer,
    journal: Journal,
    on_durable: Callable[[list[Batch], int], None],
    on_failure: Callable[[BaseException], Awaitable[None]],
    may_start: Callable[[], bool],
) -> Writer:
    """Return the writer of a node."""
    if observer.tracing is NO_TRACING:
        return Writer(journal, on_durable, on_failure, may_start)
    writer = TracedWriter(journal, on_durable, on_failure, may_start)
    writer.tracing = observer.tracing
    return writer
