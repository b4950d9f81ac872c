"""The tables that list what there is leave nothing out, and name nothing that isn't there."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from actors import Mailbox, Passivation, RestartPolicy, Service

DOCS = Path(__file__).parents[2] / "docs"
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
