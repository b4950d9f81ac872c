"""Load, change, save an aggregate with eventsourcing; prints commands a second. Run by the peer's own interpreter.

PYTHON -m benchmarks.peers.eventsourcing_commands sqlite|postgres COUNT THREADS PLACE
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from benchmarks.peers.eventsourcing_place import go_to

engine, count, threads, place = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
go_to(engine, place, threads)

from eventsourcing.application import Application  # type: ignore[import-not-found] # noqa: E402
from eventsourcing.domain import Aggregate, event  # type: ignore[import-not-found] # noqa: E402


class Places(Aggregate):
    @event("Began")
    def __init__(self) -> None:
        self.held = 0

    @event("PlaceHeld")
    def hold(self, trip: str) -> None:  # noqa: ARG002 (the event keeps it)
        self.held += 1


class Booking(Application):
    def begin(self) -> object:
        places = Places()
        self.save(places)
        return places.id

    def hold(self, key: object, trip: str) -> int:
        places = self.repository.get(key)
        places.hold(trip)
        self.save(places)
        return int(places.held)


application = Booking()
keys = [application.begin() for _ in range(max(threads, count // 10))]


def work(first: int) -> None:
    # Each thread has aggregates of its own: nobody meets a conflict.
    mine = keys[first::threads]
    for n in range(first, count, threads):
        application.hold(mine[(n // threads) % len(mine)], f"trip-{uuid4()}")


begun = time.perf_counter()
with ThreadPoolExecutor(threads) as pool:
    list(pool.map(work, range(threads)))
print(count / (time.perf_counter() - begun))
application.close()
