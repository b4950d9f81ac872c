"""The tables that list what there is leave nothing out, and name nothing that isn't there."""

import builtins
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import actors
import persistence
import runtime
from actors import Mailbox, Passivation, RestartPolicy, Service

DOCS = Path(__file__).parents[2] / "docs"
PUBLIC = (actors, persistence, runtime, builtins)
NO_SETTINGS = {"initial", "state_type", "commands", "events", "queries", "locked_by"}
"""What a service's class has that its author writes as code, or that is read from it."""


def rows(guide: str, heading: str) -> list[list[str]]:
    """Return the cells of a guide's first table below a heading."""
    below = (DOCS / guide).read_text().partition(f"## {heading}\n")[2]
    table = re.search(r"^\|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", below, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in table[1].splitlines()]


def test_the_settings_of_a_service_with_their_defaults() -> None:
    told = {name.strip("`"): default.strip("`") for name, default, _ in rows("services.md", "What a class may set")}
    settings: dict[str, Any] = {name: getattr(Service, name) for name in Service.__annotations__.keys() - NO_SETTINGS}
    known = {"Mailbox": Mailbox, "Passivation": Passivation, "RestartPolicy": RestartPolicy, "timedelta": timedelta}
    assert {name: eval(default, known) for name, default in told.items()} == settings


def test_the_errors_with_what_they_are() -> None:
    page = (DOCS / "errors.md").read_text()
    told = re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|", page, re.MULTILINE)
    public = [getattr(module, name) for module in (actors, persistence) for name in module.__all__]
    errors = [one for one in public if isinstance(one, type) and issubclass(one, Exception)]
    bases = {one: ", ".join(f"`{base.__name__}`" for base in one.__bases__) for one in errors}
    assert sorted(told) == sorted((one.__name__, base) for one, base in bases.items())


def test_the_errors_page_names_nothing_that_is_not_there() -> None:
    page = (DOCS / "errors.md").read_text()
    named = set(re.findall(r"`([A-Z]\w+)", page))
    assert "Refused" in named
    assert not [name for name in named if not any(hasattr(module, name) for module in PUBLIC)]
