"""A trace follows a request through every actor, saga and read model, also when they are killed on the way."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from actors import Actor, Command, Mailbox, Parked, Refused
from runtime import ManualClock, Runtime
from runtime.observed_projector import FRESH
from tests.extras import need
from tests.runtime.cast import (
    ALL,
    DOWN,
    Account,
    Begin,
    Board,
    BookTrip,
    Deposit,
    Desk,
    Held,
    Hold,
    Lines,
    Look,
    Note,
    Play,
    Room,
    Trip,
    Withdraw,
)
from tests.runtime.tools import HeldJournal, comes, quiet, restart_of

need("opentelemetry.sdk")

from opentelemetry import trace as api  # noqa: E402
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF  # noqa: E402

from runtime.open_telemetry import OpenTelemetry  # noqa: E402

R = Room.at("r")


class Tracer:
    """Spans that end are kept here."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = OpenTelemetry(self.provider)
        self.tracer = self.provider.get_tracer("test")

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def tree(self, root: str) -> Any:
        """Return the spans below one as ``{name: {...}}``, in the order in which they began."""
        (top,) = [span for span in self.spans if span.name == root]
        return self._below(top)

    def _below(self, top: ReadableSpan) -> dict[str, Any]:
        children = [span for span in self.spans if span.parent is not None and span.parent.span_id == _id(top)]
        assert all(_trace(span) == _trace(top) for span in children)
        return {f"{span.name}{_outcome(span)}": self._below(span) for span in sorted(children, key=lambda s: s.name)}

    @property
    def roots(self) -> list[str]:
        return sorted(span.name for span in self.spans if span.parent is None)

    def assert_one_trace(self) -> None:
        """Check that all is one trace, and that no parent is missing."""
        assert len({_trace(span) for span in self.spans}) == 1
        known = {_id(span) for span in self.spans}
        assert [span.name for span in self.spans if span.parent is not None and span.parent.span_id not in known] == []


def _id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def _trace(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.trace_id)


def _outcome(span: ReadableSpan) -> str:
    assert span.attributes is not None
    outcome = span.attributes.get("understudy.outcome", "")
    return "" if outcome in ("done", "") else f": {outcome}"


@pytest.fixture
def tracer() -> Iterator[Tracer]:
    tracer = Tracer()
    yield tracer
    tracer.provider.shutdown()


async def test_a_saga_its_steps_and_what_they_lead_to_are_below_its_caller(tracer: Tracer) -> None:
    async with Runtime("memory:", ALL, tracing=tracer.tracing) as runtime:
        with tracer.tracer.start_as_current_span("web request"):
            await runtime.ask(Trip.at("t"), BookTrip(["a", "b"]))
            await runtime.ask(Board.at(), Lines(), consistent=True)
    tracer.assert_one_trace()
    assert tracer.tree("web request") == {
        "Trip BookTrip": {
            "Board TripBooked": {},
            "Trip completed: completed": {},
            "Trip step a": {"Room Hold": {"Board WasHeld": {}}},
            "Trip step b": {"Room Hold": {"Board WasHeld": {}}},
        },
        "Board Lines": {},
    }


async def test_undos_are_below_it_too_and_a_refusal_is_no_error(tracer: Tracer) -> None:
    async with Runtime("memory:", ALL, tracing=tracer.tracing) as runtime:
        with tracer.tracer.start_as_current_span("web request"), pytest.raises(Refused):
            await runtime.ask(Trip.at("t"), BookTrip(["a", "full"]))
        await runtime.ask(Board.at(), Lines(), consistent=True)
    assert tracer.tree("Trip BookTrip") == {
        "Trip compensated: compensated": {},
        "Trip step a": {"Room Hold": {"Board WasHeld": {}}},
        "Trip step full: refused": {"Room Hold: refused": {}},
        "Trip undo a": {"Room Release": {"Board WasReleased": {}}},
    }
    assert all(span.status.status_code is not api.StatusCode.ERROR for span in tracer.spans)


async def test_a_failure_is_an_error_and_the_step_is_tried_again_in_the_same_trace(tracer: Tracer) -> None:
    clock = ManualClock()
    DOWN.add("a")
    async with Runtime("memory:", ALL, clock=clock, tracing=tracer.tracing) as runtime:
        with tracer.tracer.start_as_current_span("web request"):
            asked = asyncio.ensure_future(runtime.ask(Trip.at("t"), BookTrip(["a"])))
            await quiet(runtime)
        DOWN.clear()
        clock.advance(2)
        await asked
    tracer.assert_one_trace()
    outcomes = [_outcome(span) for span in tracer.spans if span.name == "Trip step a"]
    assert outcomes == [": failed", ""]
    failed = next(span for span in tracer.spans if span.name == "Room Hold")
    assert failed.status.status_code is api.StatusCode.ERROR
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "ConnectionError"
    assert failed.attributes["understudy.key"] == "a"


async def test_a_killed_saga_goes_on_with_its_trace(tracer: Tracer) -> None:
    gate = asyncio.Event()

    async def waits(self: Desk, message: Note) -> str:
        await gate.wait()
        return ""

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("one", Desk.at("one"), Note("one"))
        await self.ask("two", Desk.at("two"), Note("two"))
        return Held(1)

    Desk.script, Play.script = waits, story
    async with Runtime("memory:", ALL, tracing=tracer.tracing) as runtime:
        with tracer.tracer.start_as_current_span("web request"):
            asked = asyncio.ensure_future(runtime.ask(Play.at("p"), Begin()))
            await comes(lambda: Desk.inbox)
        await runtime.kill(Play.at("p"))
        gate.set()
        await asked
    tracer.assert_one_trace()
    assert tracer.tree("web request") == {
        "Play Begin": {
            "Play completed: completed": {},
            "Play step one": {"Desk Note": {}},
            "Play step two": {"Desk Note": {}},
        }
    }


async def test_a_saga_that_another_runtime_brings_back_goes_on_with_its_trace(tracer: Tracer) -> None:
    journal, second = HeldJournal(), Tracer()
    async with Runtime(journal, ALL, tracing=tracer.tracing) as runtime:
        with tracer.tracer.start_as_current_span("web request"):
            await runtime.ask(Trip.at("t"), BookTrip(["a", "b"]))
    begun = next(span for span in tracer.spans if span.name == "Trip BookTrip")
    # Someone opens the second runtime in a trace of their own, which has nothing to do with it.
    with second.tracer.start_as_current_span("start-up"):
        async with Runtime(restart_of(journal.records[:3]), ALL, tracing=second.tracing) as runtime:
            await runtime.result(Trip.at("t"))
            await runtime.ask(Board.at(), Lines(), consistent=True)
    spans = {span.name: span for span in second.spans}
    for name in ("Trip step a", "Trip step b", "Trip completed", "Board TripBooked", "Room Hold", "Board WasHeld"):
        assert _trace(spans[name]) == _trace(begun), name
    parents = {name: span.parent.span_id for name, span in spans.items() if span.parent is not None}
    assert parents["Trip step b"] == parents["Trip completed"] == parents["Board TripBooked"] == _id(begun)
    assert parents["Room Hold"] == _id(spans["Trip step b"])
    second.provider.shutdown()


async def test_what_began_without_a_trace_is_in_none_of_who_opened_the_runtime(tracer: Tracer) -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(Trip.at("t"), BookTrip(["a", "b"]))
    assert not any(b"trace" in record.meta for record in journal.records)
    with tracer.tracer.start_as_current_span("start-up"):
        resumed = restart_of(journal.records[:1])
        async with Runtime(resumed, ALL, tracing=tracer.tracing) as runtime:
            await quiet(runtime)
    assert tracer.tree("start-up") == {}
    started = next(span for span in tracer.spans if span.name == "start-up")
    assert not any(f"{_trace(started):032x}".encode() in record.meta for record in resumed.records)
    assert {"Trip step a", "Trip step b", "Trip completed"} <= set(tracer.roots)
    assert "Trip Resume" not in tracer.roots  # that it goes on after a crash is the runtime's own affair


class Pass(Command["Relay", None]):
    left: int


class Relay(Actor):
    """Works in turns, and has room for one message."""

    mailbox = Mailbox(limit=1)

    def receive(self, message: Pass) -> None:
        if message.left:
            self.tell(Relay.at(str(message.left)), Pass(message.left - 1))


async def test_what_plain_actors_tell_and_ask_is_below_them_and_so_are_their_own_spans(tracer: Tracer) -> None:
    async def asks(self: Desk, message: Note) -> str:
        with tracer.tracer.start_as_current_span("a call to the world outside"):
            await self.ask(R, Hold("t"))
        self.tell(Relay.at(), Pass(2))
        return ""

    Desk.script = asks
    async with Runtime("memory:", [*ALL, Relay], tracing=tracer.tracing) as runtime:
        with tracer.tracer.start_as_current_span("web request"):
            await runtime.ask(Desk.at(), Note("a"))
        await quiet(runtime)
        await runtime.ask(Board.at(), Lines(), consistent=True)
    assert tracer.tree("web request") == {
        "Desk Note": {
            "a call to the world outside": {"Room Hold": {"Board WasHeld": {}}},
            "Relay Pass": {"Relay Pass": {"Relay Pass": {}}},
        }
    }
    assert tracer.roots == ["Board Lines", "web request"]


async def test_what_is_told_to_a_full_mailbox_keeps_its_trace(tracer: Tracer) -> None:
    async with Runtime("memory:", [Relay], tracing=tracer.tracing) as runtime:
        with tracer.tracer.start_as_current_span("web request"):
            sent = [runtime.tell(Relay.at(), Pass(0)) for _ in range(3)]
        await asyncio.gather(*map(asyncio.ensure_future, sent))
        await quiet(runtime)
    (top,) = [span for span in tracer.spans if span.name == "web request"]
    passed = [span for span in tracer.spans if span.name == "Relay Pass"]
    assert [span.parent.span_id for span in passed if span.parent is not None] == [_id(top)] * 3


async def test_a_transaction_is_traced_to_the_read_model(tracer: Tracer) -> None:
    async with Runtime("memory:", ALL, tracing=tracer.tracing) as runtime:
        with tracer.tracer.start_as_current_span("web request"):
            await runtime.transact((Account.at("a"), Withdraw(1)), (R, Hold("t")))
        await runtime.ask(Board.at(), Lines(), consistent=True)
    assert tracer.tree("web request") == {"Account Part": {}, "Room Part": {"Board WasHeld": {}}}


async def test_a_read_model_that_is_built_anew_leaves_old_traces_alone(tracer: Tracer) -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock, tracing=tracer.tracing) as runtime:
        await runtime.ask(R, Hold("old"))
        clock.advance(FRESH / 1e6 + 1)
        await runtime.ask(R, Hold("new"))
    tracer.exporter.clear()
    async with Runtime(restart_of(journal.records), ALL, clock=clock, tracing=tracer.tracing) as runtime:
        await runtime.ask(Board.at(), Lines(), consistent=True)
    (span,) = [span for span in tracer.spans if span.name == "Board WasHeld"]
    assert span.attributes is not None
    assert span.attributes["understudy.position"] == "2"


async def test_an_event_that_can_not_be_projected_is_an_error_in_its_trace(tracer: Tracer) -> None:
    async with Runtime("memory:", ALL, tracing=tracer.tracing) as runtime:
        await runtime.ask(R, Hold("unprintable"))
        with pytest.raises(Parked):
            await runtime.ask(Board.at(), Lines(), consistent=True)
    assert tracer.tree("Room Hold") == {"Board WasHeld: failed": {}}


async def test_a_saga_that_is_left_unfinished_says_so(tracer: Tracer) -> None:
    journal = HeldJournal()

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("one", Desk.at(), Note("one"))
        return Held(1)

    async def hangs(self: Desk, message: Note) -> str:
        await asyncio.Event().wait()
        return ""

    Desk.script, Play.script = hangs, story
    async with Runtime(journal, ALL, tracing=tracer.tracing, shutdown_timeout=0.01) as runtime:
        with tracer.tracer.start_as_current_span("web request"):
            await runtime.tell(Play.at("p"), Begin())
        await comes(lambda: Desk.inbox)
    tracer.assert_one_trace()
    assert tracer.tree("Play Begin") == {"Play step one: unfinished": {"Desk Note: cut off": {}}}


async def test_what_is_not_sampled_costs_no_spans_and_stays_unsampled(tracer: Tracer) -> None:
    journal, other = HeldJournal(), TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    async with Runtime(journal, ALL, tracing=tracer.tracing) as runtime:
        with other.get_tracer("test").start_as_current_span("not sampled"):
            await runtime.ask(Trip.at("t"), BookTrip(["a"]))
    assert tracer.spans == ()
    flags = {int(msgspec.json.decode(record.meta)["trace"].rpartition("-")[2]) for record in journal.records}
    assert not any(flag & api.TraceFlags.SAMPLED for flag in flags)


async def test_a_tracer_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(TracerProvider):
        def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
            return BrokenTracer()

    class BrokenTracer:
        def start_span(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("no room for spans")

    async with Runtime("memory:", ALL, tracing=OpenTelemetry(Broken(shutdown_on_exit=False))) as runtime:
        await runtime.ask(Trip.at("t"), BookTrip(["a", "b"]))
        await runtime.ask(Board.at(), Lines(), consistent=True)
        await runtime.ask(Desk.at(), Note("a"))
    assert [record.getMessage() for record in caplog.records] == [
        "event='tracing failed, and is off' error=\"RuntimeError('no room for spans')\""
    ]


async def test_what_a_span_takes_is_told_by_the_runtimes_clock(tracer: Tracer) -> None:
    clock = ManualClock()

    async def slowly(self: Desk, message: Note) -> str:
        clock.advance(3)
        return ""

    Desk.script = slowly
    async with Runtime("memory:", ALL, clock=clock, tracing=tracer.tracing) as runtime:
        await runtime.ask(Desk.at(), Note("a"))
    (span,) = tracer.spans
    assert span.start_time is not None
    assert span.end_time is not None
    assert timedelta(microseconds=(span.end_time - span.start_time) / 1_000) == timedelta(seconds=3)


async def test_untraced_events_carry_no_trace() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(Trip.at("t"), BookTrip(["a"]))
        await runtime.ask(Account.at("a"), Deposit(1), id="one")
        await runtime.ask(R, Look())
    assert journal.records
    assert not any(b"trace" in record.meta for record in journal.records)


def test_nothing_is_imported_unless_it_is_used() -> None:
    code = "import runtime, sys; print([m for m in ('opentelemetry', 'prometheus_client') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_what_is_told_behind_other_mail_is_part_of_its_own_trace(tracer: Tracer) -> None:
    async with Runtime("memory:", ALL, tracing=tracer.tracing) as runtime:
        await runtime.ask(Room.at("r"), Look())
        for request in ("one", "two", "three"):
            with tracer.tracer.start_as_current_span(request):
                runtime.tell(Room.at("r"), Hold(request))
        await quiet(runtime)
    assert [list(tracer.tree(request)) for request in ("one", "two", "three")] == [["Room Hold"]] * 3
