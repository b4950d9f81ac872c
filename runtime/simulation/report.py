"""The report of a broken invariant: what failed, the smallest story that shows it, and how to see it again."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from persistence import Record
from runtime.drawing import label
from runtime.simulation.built_in import HINTS
from runtime.simulation.labels import CLIENT
from runtime.simulation.machine import Moment
from runtime.simulation.run import RunResult
from runtime.timeline import duration

LONGEST = 200
"""How many moments, and events, are shown; of more, the last ones."""


MOST_POINTS = 30
"""How many sorts of points are named, of those that were reached and of those that were not."""


class Reached(msgspec.Struct):
    """What all runs so far have come to."""

    points: Counter[str]
    """How often each sort of point was reached."""
    missing: list[str]
    """Messages and events that came in none."""


def report(result: RunResult, runs: int, again: str, reached: Reached) -> str:
    """Return the report of a run; ``again`` runs it again."""
    assert result.broken is not None
    return "\n".join(
        [
            f"broken: {result.broken.name}",
            f"  {result.broken.what}",
            *([f"what helps: {HINTS[result.broken.name]}"] if result.broken.name in HINTS else []),
            f"found by run {runs:,}; the smallest that shows it has {_size(result)}",
            "",
            "what happened:",
            *_moments(result),
            "",
            *_journals(result),
            "run it again:",
            f"  {again}",
            "",
            "as a Mermaid diagram:",
            diagram(result),
            *_reached(reached),
        ]
    )


def _reached(reached: Reached) -> Iterator[str]:
    came = Counter({sort: count for sort, count in reached.points.items() if ": " in sort})  # messages
    yield f"reached so far: {', '.join(f'{count} x {sort}' for sort, count in came.most_common(MOST_POINTS))}"
    if reached.missing:
        more = len(reached.missing) - MOST_POINTS
        left = f", and {more} more" if more > 0 else ""
        yield f"not reached so far: {', '.join(reached.missing[:MOST_POINTS])}{left}"


def _size(result: RunResult) -> str:
    return f"{_many(len(result.fired), 'fault')} and {_many(len(result.plan.given), 'choice')} of the schedule"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _moments(result: RunResult) -> Iterator[str]:
    moments = result.moments
    if len(moments) > LONGEST:
        yield f"  ({len(moments) - LONGEST} moments before are left out)"
    for moment in moments[-LONGEST:]:
        yield f"  {duration(moment.time):>10}  {_line(moment)}"


def _line(moment: Moment) -> str:
    match moment.kind:
        case "message":
            return f"{moment.sender or '(runtime)'} -> {moment.to}: {moment.text}"
        case "reply":
            return f"{moment.sender} -> {moment.to}: {moment.text}"
        case "write":
            return f"durable: {moment.text}"
        case "fault":
            return f">>> {moment.text}"
        case "log":
            return f"log: {moment.text}"
        case _:
            return f"--- {moment.text}"


def _journals(result: RunResult) -> Iterator[str]:
    for fault in result.fired:
        before = result.durable_before[str(fault)]
        yield f"the journal when {fault} happened ({_many(before, 'event')}):"
        yield from _events(result.records[:before])
        yield ""
    yield f"the journal at the end ({_many(len(result.records), 'event')}):"
    yield from _events(result.records)
    yield ""


def _events(records: list[Record]) -> Iterator[str]:
    if len(records) > LONGEST:
        yield f"  ({len(records) - LONGEST} events before are left out)"
    for record in records[-LONGEST:]:
        data = record.data.decode("utf-8", "replace")
        data = data if len(data) <= 100 else f"{data[:97]}..."
        yield f"  {record.position:>5} {record.stream[0]}/{record.stream[1]} {record.version}: {record.type} {data}"


def diagram(result: RunResult) -> str:
    """Return the run as the text of a Mermaid sequence diagram (https://mermaid.js.org)."""
    names: dict[str, str] = {}
    lines: list[str] = []

    def name(who: str) -> str:
        who = who or "runtime"
        if who not in names:
            names[who] = f"actor{len(names) + 1}"
        return names[who]

    for moment in result.moments[-LONGEST:]:
        match moment.kind:
            case "message":
                lines.append(f"    {name(moment.sender)}->>{name(moment.to)}: {label(moment.text)}")
            case "reply":
                lines.append(f"    {name(moment.sender)}-->>{name(CLIENT)}: {label(moment.text)}")
            case "write":
                lines.append(f"    Note over {name('journal')}: durable: {label(moment.text)}")
            case "log":
                continue
            case _:
                mark = "#9889; " if moment.kind == "fault" else ""
                lines.append(f"    Note over {name('journal')}: {mark}{label(moment.text)}")
    participants = [f"    participant {short} as {label(who)}" for who, short in names.items()]
    return "\n".join(["sequenceDiagram", *participants, *lines]) + "\n"
