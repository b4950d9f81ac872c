"""OpenTelemetry: traces that follow a request through every actor, saga and read model. An extra, ``opentelemetry``.

    Runtime("sqlite:trips.db", actors=[...], tracing=OpenTelemetry())

A request that is sent while a span is current is part of its trace. The trace context goes with each message, and
stands in the metadata of each event, so a saga that was brought back goes on with its trace, by whomever and however
late.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import Token
from typing import TypeVar

from opentelemetry import context as contexts
from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from runtime.log import log
from runtime.tracing import NO_SPAN, Span

T = TypeVar("T")

FIELD = "traceparent"
"""The name that W3C gives to the trace context."""


class OpenTelemetry:
    """A tracer that makes OpenTelemetry spans; ``provider`` None is the one that the program has set.

    Spans carry addresses, names of classes and ids, never the content of messages or the text of errors. Should the
    provider raise, that is logged once, and nothing is traced any more.
    """

    def __init__(self, provider: api.TracerProvider | None = None) -> None:
        self._tracer = api.get_tracer("understudy", tracer_provider=provider)
        self._propagator = TraceContextTextMapPropagator()
        self._failed = False

    def here(self) -> str:
        """Return the trace context of the span that is current; "" where there is none."""
        return self.safely(lambda: context_of(api.get_current_span()), "")

    def begin(self, name: str, parent: str, at: int, attributes: Mapping[str, str], /, *, current: bool) -> Span:
        """Begin a span, at a time in microseconds since 1970."""

        def begin() -> Span:
            context = self._context(parent)
            span = self._tracer.start_span(name, context, attributes=dict(attributes), start_time=at * 1_000)
            token = contexts.attach(api.set_span_in_context(span, context)) if current else None
            return OpenSpan(self, span, token)

        return self.safely(begin, NO_SPAN)

    @contextmanager
    def within(self, trace: str, /) -> Generator[None, None, None]:
        """Let what is done meanwhile be part of a trace; of none, where that is ""."""
        token = self.safely(lambda: contexts.attach(self._context(trace)), None)
        try:
            yield
        finally:
            if token is not None:
                contexts.detach(token)

    def _context(self, trace: str) -> Context:
        # Never the current span: what is under way is told, and what a task has inherited means nothing.
        return self._propagator.extract({FIELD: trace}, contexts.get_current()) if trace else Context()

    def safely(self, work: Callable[[], T], otherwise: T) -> T:
        """Do what must harm nobody: it may be in the middle of a turn."""
        if self._failed:
            return otherwise
        try:
            return work()
        except Exception as error:  # noqa: BLE001 (an exporter's code, or a sampler's)
            self._failed = True
            log.error("tracing failed, and is off", error=repr(error))
            return otherwise


class OpenSpan:
    """A span that has begun."""

    __slots__ = ("_owner", "_span", "_token", "trace")

    def __init__(self, owner: OpenTelemetry, span: api.Span, token: Token[Context] | None) -> None:
        self._owner = owner
        self._span = span
        self._token = token
        self.trace = context_of(span)

    def end(self, at: int, outcome: str, error: BaseException | None = None, /) -> None:
        """End it, at a time in microseconds since 1970; a refusal is no error."""
        if self._token is not None:
            contexts.detach(self._token)

        def end() -> None:
            self._span.set_attribute("understudy.outcome", outcome)
            if error is not None:
                self._span.set_attribute("error.type", type(error.__cause__ or error).__name__)
                if outcome != "refused":
                    self._span.set_status(api.StatusCode.ERROR)
            self._span.end(at * 1_000)

        self._owner.safely(end, None)


def context_of(span: api.Span) -> str:
    """Return a span's trace context as a W3C ``traceparent``; "" for one that is none."""
    context = span.get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
