"""Checks of a saga's ``run`` at definition time, by its source: what it says, without running it."""

import ast
import inspect
import textwrap

from actors.definition import check_async
from actors.errors import DefinitionError

MAKERS = frozenset(
    f"self.{name}" for name in ("ask", "optional", "parallel", "pivot", "receive", "select", "sleep", "sleep_until")
)
"""The calls that make something to be awaited."""


def check_run(owner: type) -> None:
    """Check the code of a saga's ``run``, as far as it can be seen without running it.

    Raises:
        DefinitionError: it isn't async, has a step that nobody awaits, or an undo behind the pivot.
    """
    check_async(owner, "run", "command")
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner.__dict__["run"])))
    except (OSError, TypeError, SyntaxError):
        return  # no source at hand (a REPL, a frozen program): the runtime still checks what it can
    _check_awaited(owner, tree)
    _check_no_undo_after_pivot(owner, getattr(tree.body[0], "body", []))


def _check_awaited(owner: type, tree: ast.AST) -> None:
    """Check that no step is made and dropped: it would never be taken, and nothing at run time would tell."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = ast.unparse(node.value.func)
            if call in MAKERS:
                raise DefinitionError(
                    f"{owner.__name__}.run has a step that is never taken: {call}({_step_of(node.value)}, ...); write "
                    f"await {call}(...)"
                )


def _check_no_undo_after_pivot(owner: type, body: list[ast.stmt]) -> None:
    """Check the straight lines of ``run`` for a step with an undo behind the pivot.

    Only what stands directly in the body is seen; branches and loops are left to the runtime's own check.
    """
    pivot: str | None = None
    for statement in body:
        if not isinstance(statement, (ast.Expr, ast.Assign, ast.AnnAssign, ast.Return)):
            continue  # a branch, a loop, a definition: it may run never or later
        calls = sorted(
            (node for node in ast.walk(statement) if isinstance(node, ast.Call)),
            key=lambda call: (call.lineno, call.col_offset),
        )
        for call in calls:
            method = ast.unparse(call.func)
            if method == "self.pivot":
                pivot = _step_of(call)
            elif method == "self.ask" and pivot is not None and _has_undo(call):
                raise DefinitionError(
                    f"{owner.__name__}: step {_step_of(call)} has an undo but comes after the pivot {pivot}, and past "
                    "the pivot a saga only goes forward; leave out undo=, or move the step before the pivot"
                )


def _step_of(call: ast.Call) -> str:
    names = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "name")]
    return ast.unparse(names[0]) if names else "(unnamed)"


def _has_undo(call: ast.Call) -> bool:
    return any(keyword.arg == "undo" and ast.unparse(keyword.value) != "None" for keyword in call.keywords)
