"""The same three steps as DBOS workflows; prints figures as JSON. Run by the peer's own interpreter.

    PYTHON dbos_sagas.py IN_FLIGHT COUNT [postgresql://user@host/database]

On SQLite, unless a PostgreSQL database of its own is given.
"""

import json
import sys
import tempfile
import time
from collections import deque

from dbos import DBOS  # type: ignore[import-not-found]

in_flight, count = int(sys.argv[1]), int(sys.argv[2])

with tempfile.TemporaryDirectory() as folder:
    url = sys.argv[3] if len(sys.argv) > 3 else f"sqlite:///{folder}/dbos.sqlite"
    DBOS(
        config={
            "name": "benchmark",
            "system_database_url": url,
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
    latencies: list[float] = []
    begun = time.perf_counter()
    under_way = deque()

    def end_one() -> None:
        at, handle = under_way.popleft()
        handle.get_result()
        latencies.append(time.perf_counter() - at)

    for n in range(count):
        if len(under_way) == in_flight:
            end_one()
        under_way.append((time.perf_counter(), DBOS.start_workflow(book, f"trip-{n}")))
    while under_way:
        end_one()
    seconds = time.perf_counter() - begun
    DBOS.destroy()
latencies.sort()
figures = {
    "per_second": count / seconds,
    "p50_ms": latencies[count // 2] * 1e3,
    "p99_ms": latencies[count * 99 // 100] * 1e3,
}
print(json.dumps(figures))
