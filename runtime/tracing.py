"""Tracing: what the runtime needs of a tracer to follow a request wherever it leads; and one that does nothing.

A trace context is text, a W3C ``traceparent``; it travels in envelopes and stands in the metadata of events.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Span(Protocol):
    """A part of a trace that has begun."""

    @property
    def trace(self) -> str:
        """The trace context of what this leads to."""
        ...

    def end(self, at: int, outcome: str, error: BaseException | None = None, /) -> None:
        """End it, at a time in microseconds since 1970."""
        ...


class Tracing(Protocol):
    """A tracer. None of its methods may raise."""

    def here(self) -> str:
        """Return the trace context of what is under way; "" where that isn't traced."""
        ...

    def begin(self, name: str, parent: str, at: int, attributes: Mapping[str, str], /, *, current: bool) -> Span:
        """Begin a part of the trace ``parent`` ("": of a new one), at a time in microseconds since 1970.

        Where it is ``current`` it is what is under way until it ends, which must be in the same task or callback.
        """
        ...

    def within(self, trace: str, /) -> AbstractContextManager[None]:
        """Let what is done meanwhile be part of a trace; of none, where that is ""."""
        ...


class _NoSpan:
    trace = ""

    def end(self, at: int, outcome: str, error: BaseException | None = None, /) -> None:
        """Do nothing."""


class NoTracing:
    """The tracer of a runtime that traces nothing."""

    def here(self) -> str:
        """Return that nothing is traced."""
        return ""

    def begin(self, name: str, parent: str, at: int, attributes: Mapping[str, str], /, *, current: bool) -> Span:  # noqa: ARG002
        """Do nothing."""
        return NO_SPAN

    def within(self, trace: str, /) -> AbstractContextManager[None]:  # noqa: ARG002
        """Do nothing."""
        return nullcontext()


NO_SPAN: Span = _NoSpan()
NO_TRACING: Tracing = NoTracing()
