from collections.abc import Iterator

import pytest

from tests.runtime import asking, cast, company, crew


@pytest.fixture(autouse=True)
def empty_stage() -> Iterator[None]:
    asking.clear_the_stage()
    cast.clear_the_stage()
    company.clear_the_stage()
    crew.send_home()
    yield
    asking.clear_the_stage()
    cast.clear_the_stage()
    company.clear_the_stage()
    crew.send_home()
