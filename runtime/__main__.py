"""``python -m runtime draw MODULE:SAGA``: prints a saga as a Mermaid diagram, from one dry run of its code."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from actors import Command, Saga
from runtime.drawing import draw

HELP = "a saga, as in demos.trip.sagas:TripSaga"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m runtime", description="Looks at sagas without running anything.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    drawing = commands.add_parser(
        "draw",
        help="print a saga as a Mermaid diagram",
        description="Prints a saga as a Mermaid flowchart: its steps in order, each with its undo. Its code is run "
        "once, with replies that are made up, as is the command where it isn't given; what the code doesn't come to "
        "isn't drawn.",
        epilog="""example: python -m runtime draw demos.trip.sagas:TripSaga --command '{"customer": "ana", ...}'""",
    )
    drawing.add_argument("saga", metavar="MODULE:SAGA", help=HELP)
    drawing.add_argument("--command", dest="json", metavar="JSON", help="the command that starts it")
    options = parser.parse_args(arguments)
    try:
        saga = _saga(options.saga)
        command = None if options.json is None else _command(saga, options.json)
        print(draw(saga, command), end="")
    except Exception as error:  # noqa: BLE001 (also what the saga's code raises)
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


def _saga(text: str) -> type[Saga[Any, Any]]:
    name, _, cls = text.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    found: Any = getattr(importlib.import_module(name), cls, None) if name and cls else None
    saga = found
    if not (isinstance(found, type) and issubclass(found, Saga)):
        raise ValueError(f"{text!r} names no saga; write {HELP}")
    return saga  # type: ignore[no-any-return]


def _command(saga: type[Saga[Any, Any]], text: str) -> Command[Any, Any]:
    starts = [cls for cls in saga.commands.values() if cls not in saga.messages.values()]
    command: Command[Any, Any] = msgspec.json.decode(text, type=starts[0])
    return command


if __name__ == "__main__":
    sys.exit(main())
