"""The same three steps as DBOS workflows on SQLite; prints workflows a second. Run by the peer's own interpreter."""

import sys
import tempfile
import time
from collections import deque

from dbos import DBOS  # type: ignore[import-not-found]

in_flight, count = int(sys.argv[1]), int(sys.argv[2])

with tempfile.TemporaryDirectory() as folder:
    DBOS(
        config={
            "name": "benchmark",
            "system_database_url": f"sqlite:///{folder}/dbos.sqlite",
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )

    @DBOS.step()
    def hold(what: str, trip: str) -> int:
        return len(what) + len(trip)

    @DBOS.workflow()
    def book(trip: str) -> int:
        return hold("flight", trip) + hold("hotel", trip) + hold("cab", trip)

    DBOS.launch()
    for n in range(10):
        book(f"warm-up-{n}")
    begun = time.perf_counter()
    under_way = deque()
    for n in range(count):
        if len(under_way) == in_flight:
            under_way.popleft().get_result()
        under_way.append(DBOS.start_workflow(book, f"trip-{n}"))
    while under_way:
        under_way.popleft().get_result()
    seconds = time.perf_counter() - begun
    DBOS.destroy()
print(count / seconds)
