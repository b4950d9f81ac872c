from collections.abc import Iterator

import pytest

from tests.runtime import cast, company, crew


@pytest.fixture(autouse=True)
def empty_stage() -> Iterator[None]:
    cast.clear_the_stage()
    company.clear_the_stage()
    crew.send_home()
    yield
    cast.clear_the_stage()
    company.clear_the_stage()
    crew.send_home()
