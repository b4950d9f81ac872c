"""Read one long aggregate back with eventsourcing; prints a JSON object. Run by the peer's own interpreter.

PYTHON eventsourcing_reading.py EVENTS FILE
"""

import json
import os
import sys
import time

events, place = int(sys.argv[1]), sys.argv[2]
os.environ.update(PERSISTENCE_MODULE="eventsourcing.sqlite", SQLITE_DBNAME=place, IS_SNAPSHOTTING_ENABLED="y")

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
    pass


def seconds(application: Application, key: object) -> float:
    begun = time.perf_counter()
    assert application.repository.get(key).held == events
    return time.perf_counter() - begun


application = Booking()
places = Places()
for n in range(events):
    places.hold(f"trip-{n}")
application.save(places)

# One aggregate that many change, one change after the other.
busy = Places()
application.save(busy)
begun = time.perf_counter()
for n in range(events // 20):
    busy = application.repository.get(busy.id)
    busy.hold(f"trip-{n}")
    application.save(busy)
hot = (events // 20) / (time.perf_counter() - begun)

told = {"hot_per_second": hot, "read_s": min(seconds(application, places.id) for _ in range(3))}
application.take_snapshot(places.id)
told["snapshot_s"] = min(seconds(application, places.id) for _ in range(3))
print(json.dumps(told))
application.close()
