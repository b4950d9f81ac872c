"""The commands of ``python -m persistence`` that look at sagas; found by their entry points."""

from argparse import ArgumentParser
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from actors import Address, JournalMismatch
from persistence import JournalError
from persistence.command_line_job import OK, BadUsage, Command, Job, existing
from persistence.journal import PAGE, Stream
from runtime.saga_events import NAMES, Compensating, Queued, Started
from runtime.saga_progress import STATUSES, SagaProgress, told
from runtime.timeline import diagram, duration, timeline

# -- sagas ------------------------------------------------------------------------------------------------------


def _sagas_options(parser: ArgumentParser) -> None:
    parser.add_argument("--status", choices=STATUSES, help="only those of this status")
    parser.add_argument("--type", metavar="CLASS", help="only those of this class, which is quicker to find")


async def _sagas(job: Job) -> int:
    options, page = job.options, job.page
    page.heading("saga", "status", "started", " steps", "why")
    rows: list[tuple[str, ...]] = []
    async for stream in _streams(job, options.type):
        progress = await _progress(job, stream)
        if progress is None or options.status not in (None, progress.status):
            continue
        if page.as_json:
            page.object(_facts(progress))
        else:
            since = progress.started or progress.queued
            started = since.astimezone().isoformat(sep=" ", timespec="seconds") if since else ""
            why = progress.error or progress.reason or ""
            rows.append((str(progress.saga), progress.status, started, str(len(progress.steps)), why))
            if len(rows) == PAGE:  # so many are laid out together, and no more are kept
                page.rows(rows)
                rows.clear()
    page.rows(rows)
    return OK


async def _streams(job: Job, category: str | None) -> AsyncIterator[Stream]:
    after = 0
    while page := await job.journal.streams(after, PAGE, category):
        for state in page:
            yield state.stream
        after = page[-1].number


async def _progress(job: Job, stream: Stream) -> SagaProgress | None:
    """Return where a saga has come to; None: the stream is none of a saga."""
    first = await job.journal.read(stream, 0, 1)
    if not first or first[0].type not in _BEGINNINGS:
        return None
    return await _told(job, Address(*stream))


_BEGINNINGS = {NAMES[cls] for cls in (Started, Queued, Compensating)}


async def _told(job: Job, address: Address[Any]) -> SagaProgress:
    try:
        return (await told(job.journal, address)).progress()
    except JournalMismatch as error:
        raise BadUsage(f"{address} can't be read: {error}") from error


def _facts(progress: SagaProgress) -> dict[str, Any]:
    return {
        "category": progress.saga.actor,
        "key": progress.saga.key,
        "status": progress.status,
        "queued": _iso(progress.queued),
        "started": _iso(progress.started),
        "changed": _iso(progress.changed),
        "deadline": _iso(progress.deadline),
        "reason": progress.reason,
        "error": progress.error,
        "steps": [
            {"name": step.name, "status": step.status, "to": step.to and str(step.to), "failures": step.failures}
            for step in progress.steps
        ],
    }


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat()


SAGAS = Command(
    "sagas",
    "list the sagas, and where each has come to",
    _sagas,
    add_options=_sagas_options,
    examples=("sqlite:trips.db --status parked", "sqlite:trips.db --type TripSaga --json"),
)


# -- timeline ---------------------------------------------------------------------------------------------------


def _timeline_options(parser: ArgumentParser) -> None:
    parser.add_argument("--mermaid", action="store_true", help="as a Mermaid sequence diagram")


async def _timeline(job: Job) -> int:
    options, page = job.options, job.page
    stream, _ = await existing(job.journal, options.operand)
    if await _progress(job, stream) is None:
        raise BadUsage(f"{options.operand} is no saga; the command sagas lists those that there are")
    address = Address[Any](*stream)
    try:
        if options.mermaid:
            page.text(await diagram(job.journal, address))
            return OK
        page.heading("time", " after", "step", "what", "who")
        rows: list[tuple[str, ...]] = []  # a story has so many steps and no more
        async for moment in timeline(job.journal, address):
            time = datetime.fromtimestamp(moment.time / 1e6, UTC)
            who = "" if moment.to is None else str(moment.to)
            if page.as_json:
                page.object(
                    {
                        "time": time.isoformat(),
                        "after": moment.after / 1e6,
                        "mark": moment.mark,
                        "step": moment.step,
                        "what": moment.text,
                        "who": who or None,
                    }
                )
            else:
                local = time.astimezone().isoformat(sep=" ", timespec="milliseconds")
                rows.append((local, duration(moment.after), moment.step, moment.text, who))
        page.rows(rows)
    except JournalError:
        raise
    except JournalMismatch as error:
        raise BadUsage(f"{options.operand} can't be read: {error}") from error
    return OK


TIMELINE = Command(
    "timeline",
    "show what happened in a saga: steps, retries, undos and times",
    _timeline,
    operand="SAGA",
    add_options=_timeline_options,
    examples=("sqlite:trips.db TripSaga/trip-7", "sqlite:trips.db TripSaga/trip-7 --mermaid"),
)
