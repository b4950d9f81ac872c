"""Timelines of sagas that ran: steps, retries, undos and times, as the journal holds them."""

from collections.abc import AsyncIterator
from typing import Any, Literal

import msgspec

from actors import Address
from persistence import Journal, NotDecodable
from persistence.codec import WRAPPING, Decoder
from runtime import saga_events as events
from runtime.drawing import label
from runtime.kinds import out_of_place
from runtime.replay import stream
from runtime.saga_reading import take_in
from runtime.saga_story import Story, has

Mark = Literal["sent", "done", "refused", "failed", "note", "end"]


class Moment(msgspec.Struct, frozen=True):
    """One thing that happened in a saga's story, ``after`` so many microseconds from its beginning."""

    time: int
    """Microseconds since 1970."""
    after: int
    mark: Mark
    step: str
    """The step that it is about; "" for the saga as a whole."""
    text: str
    """What happened; never what the messages hold."""
    to: Address[Any] | None = None
    """Who does the step, or its undo."""


async def timeline(journal: Journal, address: Address[Any]) -> AsyncIterator[Moment]:
    """Yield what happened in a saga's story, in order; nothing, where it was never started.

    Raises:
        JournalMismatch: an event can't be read, or can't follow those before it.
    """
    begun = 0
    story = Story()
    asked: dict[str, events.Asked] = {}
    async for record in stream(journal, address):
        event = take_in(story, record)
        if event is None:
            continue
        begun = begun or record.time
        if isinstance(event, events.Asked):
            asked[event.step] = event
        name: str = getattr(event, "step", "")
        to = asked[name].to if name in asked else None
        try:
            mark, text = _told(event, to)
        except NotDecodable as error:
            raise out_of_place(record, str(error)) from error
        if text:
            yield Moment(record.time, record.time - begun, mark, name, text, to)


def _told(event: events.SagaEvent, to: Address[Any] | None) -> tuple[Mark, str]:
    match event:
        case events.Queued():
            return "note", f"queued by {_name(event.command)}"
        case events.Started():
            return "note", f"started by {_name(event.command)}" if has(event.command) else "begins"
        case events.Asked(kind="sleep"):
            return "note", "sleeps"
        case events.Asked(kind="receive", awaits=awaits):
            return "note", f"waits for {awaits}"
        case events.Asked(command=command):
            return "sent", _name(command)
        case events.Answered():
            return ("done", "done") if to is not None else ("note", "goes on")
        case events.Refused(reason=reason):
            return "refused", f"refused: {reason}"
        case events.Failed(error=error, undo=undo):
            return "failed", f"{'undo ' if undo else ''}failed, to be tried again: {error}"
        case events.Received():
            return "note", f"received {_name(event.message)}"
        case events.UndoRevised(undo=undo):
            return "note", f"would be undone by {_name(undo)} now"
        case events.Dropped():
            return "note", "given up"
        case events.Undone():
            return "done", "undone"
        case events.Released():
            return "note", "its locks are given back"
        case events.Retried(by=by, reason=reason):
            return "note", f"tried again by {by}: {reason}"
        case events.Skipped(by=by, reason=reason, undo=undo):
            return "note", f"{'undo ' if undo else ''}skipped by {by}: {reason}"
        case events.Resumed(crashes=crashes):
            return "note", f"goes on after a crash of the process ({crashes} in a row)" if crashes else ""
        case _:
            return "end", _ending(event)


def _ending(event: events.SagaEvent) -> str:
    match event:
        case events.Compensating(reason=reason, by=by):
            return f"goes back{f', for {by}' if by else ''}: {reason}"
        case events.Completed():
            return "completed"
        case events.Compensated():
            return "compensated"
        case events.Parked(error=error):
            return f"parked: {error}"
        case events.Killed(by=by, reason=reason):
            return f"killed by {by}: {reason}"
        case _:
            raise AssertionError(f"a saga has no event {event!r}")


class _Named(msgspec.Struct):
    type: str = ""


_named = Decoder(_Named, WRAPPING)


def _name(message: msgspec.Raw) -> str:
    named: _Named = _named.decode(message)
    return named.type


async def diagram(journal: Journal, address: Address[Any]) -> str:
    """Return the timeline of a saga as the text of a Mermaid sequence diagram."""
    lines = ["sequenceDiagram", f"    participant saga as {label(address)}"]
    names: dict[Address[Any], str] = {}
    async for moment in timeline(journal, address):
        if moment.to is not None and moment.to not in names:
            names[moment.to] = f"actor{len(names) + 1}"
            lines.insert(1 + len(names), f"    participant {names[moment.to]} as {label(moment.to)}")
        other = names[moment.to] if moment.to is not None else "saga"
        what = label(f"{moment.step}: {moment.text}" if moment.step else moment.text)
        line = f"{what} (+{duration(moment.after)})"
        match moment.mark:
            case "sent":
                lines.append(f"    saga->>{other}: {line}")
            case "done":
                lines.append(f"    {other}-->>saga: {line}")
            case "refused" | "failed":
                lines.append(f"    {other}--xsaga: {line}")
            case _:
                lines.append(f"    Note over saga: {line}")
    return "\n".join(lines) + "\n"


def duration(micros: int) -> str:
    """Return a duration for people: ``1.2 ms``, ``3.4 s``, ``2 h 5 min``."""
    if micros < 1_000_000:
        return f"{micros / 1e3:.1f} ms"
    if micros < 60_000_000:
        return f"{micros / 1e6:.1f} s"
    minutes, hours = micros // 60_000_000, micros // 3_600_000_000
    days = micros // 86_400_000_000
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min {micros // 1_000_000 % 60} s"
