"""Checks at definition time: a class that can't work fails where it is written, and says what to write."""

import ast
import inspect
import textwrap
from typing import Any, TypeVar, cast, get_args

import msgspec

from actors.errors import DefinitionError
from actors.messages import Message, State, name_of


def by_name(owner: type, annotation: Any, base: type, word: str) -> dict[str, Any]:
    """Return the classes of ``A | B`` by their stable names, having checked that each is a ``base``.

    Raises:
        DefinitionError: one is no such class, or two have the same name.
    """
    found: dict[str, Any] = {}
    for member in get_args(annotation) or (annotation,):
        if isinstance(member, TypeVar):
            continue
        if not (isinstance(member, type) and issubclass(member, base)):
            raise DefinitionError(
                f"{owner.__name__} lists {member!r} as a {word}, but it is none; write class Name({base.__name__}): ..."
            )
        name = name_of(cast(type[Message], member))
        if name in found:
            raise DefinitionError(
                f"{owner.__name__} has two {word}s named {name!r}, {found[name].__module__}."
                f"{found[name].__qualname__} and {member.__module__}.{member.__qualname__}; give one a tag "
                f'of its own: class {member.__name__}({base.__name__}, tag="...")'
            )
        found[name] = member
    return found


def check_state(owner: type, state: Any) -> None:
    """Check that a service's state is a frozen :class:`State` and that the first one is given."""
    if isinstance(state, TypeVar):
        return
    if not (isinstance(state, type) and issubclass(state, State) and state.__struct_config__.frozen):
        raise DefinitionError(
            f"the state of {owner.__name__} must be a frozen State, not {state!r}; write class Name(State): ..."
        )
    if not isinstance(getattr(owner, "initial", msgspec.UNSET), state):
        raise DefinitionError(
            f"{owner.__name__} needs its first state: write initial = {state.__name__}(...) in the class"
        )


def check_no_undo_after_pivot(owner: type) -> None:
    """Check the straight lines of ``run`` for a step with an undo behind the pivot.

    Only what stands directly in the body is seen; branches and loops are left to the runtime's own check.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner.__dict__["run"])))
    except (OSError, TypeError, SyntaxError):
        return  # no source at hand (a REPL, a frozen program): the runtime still checks
    pivot: str | None = None
    for statement in getattr(tree.body[0], "body", []):
        if isinstance(statement, (ast.If, ast.For, ast.While, ast.Try, ast.With, ast.Match, ast.FunctionDef)):
            continue
        calls = sorted(
            (node for node in ast.walk(statement) if isinstance(node, ast.Call)),
            key=lambda call: (call.lineno, call.col_offset),
        )
        for call in calls:
            name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if name == "pivot":
                pivot = ast.unparse(call.args[0]) if call.args else "pivot"
            elif name == "ask" and pivot is not None and any(k.arg == "undo" for k in call.keywords):
                step = ast.unparse(call.args[0]) if call.args else "ask"
                raise DefinitionError(
                    f"{owner.__name__}: step {step} has an undo but comes after the pivot {pivot}, and past the "
                    "pivot a saga only goes forward; leave out undo=, or move the step before the pivot"
                )
