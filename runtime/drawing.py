"""Drawings of sagas: the steps of one dry run of the code, as a Mermaid diagram (https://mermaid.js.org)."""

import itertools
import sys
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from actors import Chosen, Command, Parallel, Refused, Saga, SagaMisuse, Select, Step
from actors.messages import reply_type
from runtime.samples import sample

SAFE = frozenset(" .,:_-/()+'!?@=*&%$")
"""Characters that mean nothing to Mermaid inside of a label, beside letters and digits; others are written as codes."""
LONGEST = 1_000
"""How many steps a drawing has at most; a saga that loops has no end of them."""

Stretch = tuple[str, tuple[Step[Any], ...]]
"""Steps that are awaited together: ``""`` for one, ``"parallel"`` or ``"select"``."""


def draw(
    saga: type[Saga[Any, Any]],
    command: Command[Any, Any] | None = None,
    replies: Mapping[str, Any] | None = None,
    key: str = "key",
) -> str:
    """Return a saga as the text of a Mermaid flowchart: its steps in order, each with its undo.

    Its code is run once, with nothing behind it. The ``command``, and the ``replies`` to steps by name, are made up
    where they are not given; by them the code takes its turns, and what it doesn't come to isn't drawn. Of a select,
    the first step is done first, or the first to which there is a reply.

    Raises:
        DefinitionError: a value can't be made up; give it.
        SagaMisuse: the code awaits something else than steps, or its steps have no end.
        Exception: whatever the code raises; give it values that it can take.
    """
    return _Chart(saga, *dry_run(saga, command, replies or {}, key)).text()


def dry_run(
    saga: type[Saga[Any, Any]], command: Command[Any, Any] | None, replies: Mapping[str, Any], key: str
) -> tuple[Command[Any, Any], list[Stretch], bool]:
    """Run a saga's code once; return its command, its steps, and whether it came to its end without a refusal."""
    starts = [cls for cls in saga.commands.values() if cls not in saga.messages.values()]
    begin: Command[Any, Any] = sample(starts[0]) if command is None else command
    actor = saga(key)
    actor.play_as(saga.at(key), lambda step, undo: None)  # noqa: ARG005 (it changes nothing in the drawing)
    actor.at_time(0)
    story = actor.run(begin)
    stretches: list[Stretch] = []
    reply: Any = None
    try:
        while sum(len(steps) for _, steps in stretches) < LONGEST:
            awaited = story.send(reply)
            stretches.append(_stretch(saga, awaited))
            reply = _reply(awaited, replies)
    except StopIteration:
        return begin, stretches, True
    except Refused:
        return begin, stretches, False
    finally:
        story.close()
    raise SagaMisuse(f"{saga.__name__} has more than {LONGEST:,} steps; it seems to loop with the replies that it got")


def _stretch(saga: type[Saga[Any, Any]], awaited: Any) -> Stretch:
    whole = awaited
    match awaited:
        case Step():
            return "", (whole,)
        case Parallel():
            return "parallel", awaited.steps
        case Select():
            return "select", awaited.steps
        case _:
            raise SagaMisuse(f"{saga.__name__} awaited a {type(awaited).__name__}, which is no step")


def _reply(awaited: Any, replies: Mapping[str, Any]) -> Any:
    match awaited:
        case Parallel():
            return tuple(_answer(step, replies) for step in awaited.steps)
        case Select():
            first = next((step for step in awaited.steps if step.name in replies), awaited.steps[0])
            return Chosen(first.name, _answer(first, replies))
        case _:
            return _answer(awaited, replies)


def _answer(step: Step[Any], replies: Mapping[str, Any]) -> Any:
    if step.name in replies:
        return replies[step.name]
    if step.awaits is not None:
        return sample(step.awaits)
    return None if step.command is None else sample(reply_type(type(step.command)))


class _Chart:
    """The text of one flowchart."""

    def __init__(
        self, saga: type[Saga[Any, Any]], command: Command[Any, Any], stretches: list[Stretch], completed: bool
    ) -> None:
        self._saga = saga
        self._lines = ["flowchart TD", f'    begin(["{saga.__name__}: {label(type(command).__name__)}"])']
        self._count = 0
        self._past_pivot = False
        self._undos: list[str] = []
        last = ["begin"]
        for together, steps in stretches:
            last = self._add(together, steps, last)
        self._link(last, "completed" if completed else "refused")
        if completed:
            result = getattr(saga.result, "__name__", str(saga.result))
            self._lines.append(f'    completed(["completed: {label(result)}"])')
        else:
            self._lines.append('    refused(["refused"])')
        self._back()

    def text(self) -> str:
        """Return the chart."""
        return "\n".join(self._lines) + "\n"

    def _add(self, together: str, steps: tuple[Step[Any], ...], last: list[str]) -> list[str]:
        nodes: list[str] = []
        if together:
            self._lines.append(f"    subgraph {together}{self._count + 1} [{together}]")
        for step in steps:
            self._count += 1
            nodes.append(f"step{self._count}")
            self._lines.append(f"    {nodes[-1]}{_shape(step)}")
        if together:
            self._lines.append("    end")
        for step, node in zip(steps, nodes, strict=True):
            self._link(last, node)
            undo = self._undo(step)
            if undo:
                self._undos.append(f"un{node}")
                self._lines.append(f'    un{node}["undo {label(step.name)}<br/>{label(undo)}"]')
                self._lines.append(f"    {node} -.- un{node}")
        return nodes or last

    def _undo(self, step: Step[Any]) -> str:
        """Return what the drawing says of a step's undo."""
        if step.kind == "pivot":
            self._past_pivot = True
        if isinstance(step.undo, Command):
            return type(step.undo).__name__
        # Only where the class is at hand can it be told that the step asks another saga, which is compensated.
        other = None if step.target is None else vars(sys.modules[self._saga.__module__]).get(step.target.actor)
        if not (isinstance(other, type) and issubclass(other, Saga)) or step.undo is not UNSET or self._past_pivot:
            return ""
        return f"compensate {other.__name__}"

    def _link(self, sources: list[str], target: str) -> None:
        self._lines += [f"    {source} --> {target}" for source in sources]

    def _back(self) -> None:
        way = [*reversed(self._undos), "compensated"]
        self._lines += [f"    {one} -.-> {other}" for one, other in itertools.pairwise(way)]
        if self._undos:
            self._lines.append('    compensated(["compensated"])')


def _shape(step: Step[Any]) -> str:
    match step.kind:
        case "sleep":
            return f'[/"sleep {label(step.name)}<br/>{label(step.duration if step.until is None else step.until)}"/]'
        case "receive":
            within = "" if step.duration is None else f"<br/>within {label(step.duration)}"
            return f'[/"receive {label(step.name)}{within}"/]'
        case _:
            assert step.target is not None
            name = f"{step.name} (optional)" if step.optional else step.name
            text = f'"{label(name)}<br/>{label(type(step.command).__name__)} to {label(step.target.actor)}"'
            return f"{{{{{text}}}}}" if step.kind == "pivot" else f"[{text}]"


def label(value: Any) -> str:
    """Return text that a Mermaid label can hold, as one line."""
    text = " ".join(str(value).split())
    return "".join([one if one.isalnum() or one in SAFE else f"#{ord(one)};" for one in text])
