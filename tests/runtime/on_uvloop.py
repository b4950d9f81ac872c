"""A pytest plugin: runs tests on uvloop. See test_uvloop."""

import asyncio

import pytest
import uvloop


def pytest_configure() -> None:
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # pyright: ignore[reportDeprecated]


@pytest.fixture(autouse=True)
async def it_is_uvloop() -> None:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
