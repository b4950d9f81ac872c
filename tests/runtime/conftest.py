from collections.abc import Iterator
from datetime import timedelta

import pytest

from actors.request_context import FIRST_USE
from tests.runtime import asking, cast, company, crew


@pytest.fixture(autouse=True)
def empty_stage() -> Iterator[None]:
    asking.clear_the_stage()
    cast.clear_the_stage()
    company.clear_the_stage()
    crew.send_home()
    FIRST_USE.begun = False  # so that what an earlier test has done doesn't send this one by the longer ways
    yield
    asking.clear_the_stage()
    cast.clear_the_stage()
    company.clear_the_stage()
    crew.send_home()


@pytest.fixture
def for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a play take its time."""
    monkeypatch.setattr(cast.Play, "deadline", timedelta(hours=2))
