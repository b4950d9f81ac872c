from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from actors.request_context import FIRST_USE
from tests.postgres import a_schema, needs_server, url_of
from tests.runtime import asking, cast, company, crew, people


@pytest.fixture(autouse=True)
def empty_stage() -> Iterator[None]:
    asking.clear_the_stage()
    cast.clear_the_stage()
    company.clear_the_stage()
    crew.send_home()
    people.leave()
    FIRST_USE.begun = False  # so that what an earlier test has done doesn't send this one by the longer ways
    yield
    asking.clear_the_stage()
    cast.clear_the_stage()
    company.clear_the_stage()
    crew.send_home()
    people.leave()


@pytest.fixture
def for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a play take its time."""
    monkeypatch.setattr(cast.Play, "deadline", timedelta(hours=2))


@pytest.fixture
def no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a play take for ever."""
    monkeypatch.setattr(cast.Play, "deadline", None)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_server)])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[str]:
    """Yield where there is room for a journal, on each engine that keeps one."""
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path / 'journal.db'}"
        return
    async with a_schema() as schema:
        yield url_of(schema)
