"""A house in which Ana has lived, and what is left of her there."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from actors import Personal, SubjectForgotten
from runtime import Runtime
from runtime.subjects import SUBJECTS
from tests.runtime.people import ANA, SECRET, Customer, WelcomeSaga

DAY = timedelta(days=1)
CUSTOMER, SAGA = Customer.at("c"), WelcomeSaga.at("w")
GONE = "Forgotten: what was known of 'customer:7' is forgotten"


def ana(value: Any = SECRET) -> Any:
    return Personal(ANA, value)


async def told(runtime: Runtime) -> list[str]:
    """Return whose forgetting the journal tells of, in order."""
    events = [entry.event async for entry in runtime.history(SUBJECTS)]
    return [event.subject for event in events if isinstance(event, SubjectForgotten)]


def view_in(folder: Path) -> Path:
    (view,) = [path for path in folder.iterdir() if "People-" in path.name and path.name[-4:] not in ("-wal", "-shm")]
    return view
