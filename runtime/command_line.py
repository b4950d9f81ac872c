"""The commands of ``python -m persistence`` that need the actors' classes; found by their entry points."""

import importlib
import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import msgspec

from actors import Actor, Address, NotYet, ReadModel, Saga, Service, Subscriber, UnderstudyError
from persistence import JournalError
from persistence.command_line_job import FOUND, OK, BadUsage, Command, Job, at_least, existing
from persistence.limits import MOST_PAYLOAD
from runtime.clock import SystemClock
from runtime.history import state_of
from runtime.journal_check import check_journal
from runtime.kinds import kind_of
from runtime.personal import PersonalData
from runtime.replay import Past, check_come, to_past

BASES = (Service, Saga, ReadModel, Subscriber, Actor)


def actors_of(text: str) -> list[type]:
    """Return the classes that ``package.module`` holds, or that its list ``package.module:LIST`` names.

    Raises:
        BadUsage: there is no such module, or there are no actors in it.
    """
    name, colon, variable = text.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    if name.endswith(".py"):
        raise BadUsage(
            f"{name} is a file; give the module in it, without .py and with dots for slashes: --actors trips"
        )
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise BadUsage(f"can't import {name}: {type(error).__name__}: {error}") from error
    found: Any = getattr(module, variable, None) if colon else list(vars(module).values())
    if not isinstance(found, list | tuple):
        raise BadUsage(f"{name} has no list {variable}; write --actors {name}, or the name of a list of classes")
    listed = cast("Sequence[object]", found)
    classes = [one for one in listed if isinstance(one, type) and _is_actor(one)]
    if not classes or (colon and len(classes) < len(listed)):
        raise BadUsage(f"{text} is not a list of actors; give the module that has their classes, or a list of them")
    return list(dict.fromkeys(classes))


def _is_actor(cls: type) -> bool:
    return issubclass(cls, BASES) and cls.__module__.partition(".")[0] != "actors"


def actors_option(parser: ArgumentParser) -> None:
    """Add the option that names the actors' classes."""
    parser.add_argument(
        "--actors",
        required=True,
        metavar="MODULE[:LIST]",
        help="the Python module that has the actors' classes, or a list of them in it",
    )


# -- state ------------------------------------------------------------------------------------------------------


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone()  # without an offset it is taken for local
    except ValueError:
        raise ArgumentTypeError(
            f"it must be a time as in 2026-05-17T14:30 or 2026-05-17T12:30Z, not {text!r}"
        ) from None


def _state_options(parser: ArgumentParser) -> None:
    actors_option(parser)
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--version", type=at_least(0), metavar="N", help="as it was after version N of the stream")
    when.add_argument("--at", type=_time, metavar="TIME", help="as it was at this time, local or with an offset")
    when.add_argument("--position", type=at_least(0), metavar="N", help="as it was at this position of the journal")


async def _state(job: Job) -> int:
    options, page = job.options, job.page
    classes: dict[str, type] = {cls.__name__: cls for cls in actors_of(options.actors)}
    stream, _ = await existing(job.journal, options.operand)
    category, key = stream
    cls = classes.get(category)
    if cls is None:
        raise BadUsage(f"{options.actors} has no actor {category}, only {', '.join(sorted(classes))}")
    if not issubclass(cls, Service):
        raise BadUsage(f"{category} is no service; only services have a state that can be told from their events")
    address = Address[Any](category, key)
    moment = to_past(options.version, options.at, options.position)
    try:
        await check_come(job.journal, address, moment, SystemClock().now())
    except NotYet as error:
        raise BadUsage(str(error)) from error
    if any(record.version > 1 for record in await job.journal.read(stream, 0, 1)):
        page.note("the stream's first events are erased; this is what the others come to")
    state = await _replayed(job, address, classes[category], moment)
    if page.as_json:
        asked = {"version": options.version, "at": options.at and options.at.isoformat(), "position": options.position}
        said = {name: value for name, value in asked.items() if value is not None}
        page.object({"category": category, "key": key, **said, "state": state})
    else:
        for line in json.dumps(state, indent=2, ensure_ascii=False).split("\n"):
            page.line(line)
    return OK


async def _replayed(job: Job, address: Address[Any], cls: type, moment: Past) -> Any:
    try:
        # There are no keys here: what is sealed stays so.
        codec = PersonalData(blind=True, max_payload=MOST_PAYLOAD).codec
        kind = kind_of(cls, codec)
        state = await state_of(job.journal, address, kind, moment)
        return msgspec.to_builtins(state, str_keys=True, enc_hook=codec.enc_hook)
    except JournalError:
        raise
    except Exception as error:
        raise BadUsage(
            f"{address} can't be replayed with {job.options.actors}: {type(error).__name__}: {error}"
        ) from error


STATE = Command(
    "state",
    "show the state of a service, as it is or as it was",
    _state,
    operand="STREAM",
    add_options=_state_options,
    examples=(
        "sqlite:trips.db Flight/LH441 --actors demos.trip",
        "sqlite:trips.db Flight/LH441 --actors demos.trip:ACTORS --at 2026-05-17T14:30",
    ),
)


# -- check ------------------------------------------------------------------------------------------------------


async def _check(job: Job) -> int:
    try:
        report = await check_journal(job.journal, actors_of(job.options.actors), job.page.progress)
    except UnderstudyError as error:
        raise BadUsage(str(error)) from error
    if job.page.as_json:
        job.page.object(
            {
                "ok": report.ok,
                "events": report.events,
                "problems": msgspec.to_builtins(report.problems),
                "left_out": report.left_out,
            }
        )
    else:
        for line in str(report).split("\n"):
            job.page.line(line)
    return OK if report.ok else FOUND


CHECK = Command(
    "check",
    "say which events would not load with today's classes; best before a deployment",
    _check,
    add_options=actors_option,
    examples=("sqlite:trips.db --actors demos.trip",),
    more="It exits with 1 where it finds something.",
)
