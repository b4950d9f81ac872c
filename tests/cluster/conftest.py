from collections.abc import Iterator

import pytest

from tests.runtime import cast


@pytest.fixture(autouse=True)
def empty_stage() -> Iterator[None]:
    cast.clear_the_stage()
    yield
    cast.clear_the_stage()
