"""What eventsourcing takes for the works of :mod:`benchmarks.journal_works`; prints a JSON object.

Run by the peer's own interpreter:

    PYTHON -m benchmarks.peers.eventsourcing_reading sqlite|postgres WORK COUNT PLACE FOLDER
"""

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.peers.eventsourcing_place import go_to

engine, work, count, place, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
go_to(engine, place, threads=8, snapshots=True)

from eventsourcing.application import Application  # type: ignore[import-not-found] # noqa: E402
from eventsourcing.dcb.api import (  # type: ignore[import-not-found] # noqa: E402
    DCBAppendCondition,
    DCBEvent,
    DCBQuery,
    DCBQueryItem,
)
from eventsourcing.dispatch import singledispatchmethod  # type: ignore[import-not-found] # noqa: E402
from eventsourcing.domain import Aggregate, event  # type: ignore[import-not-found] # noqa: E402
from eventsourcing.persistence import InfrastructureFactory, Tracking  # type: ignore[import-not-found] # noqa: E402
from eventsourcing.projection import Projection, ProjectionRunner  # type: ignore[import-not-found] # noqa: E402
from eventsourcing.sqlite import SQLiteTrackingRecorder  # type: ignore[import-not-found] # noqa: E402
from eventsourcing.utils import Environment  # type: ignore[import-not-found] # noqa: E402

if engine == "postgres":
    from eventsourcing.dcb.postgres_tt import PostgresTTDCBFactory  # type: ignore[import-not-found]


class Places(Aggregate):
    @event("Began")
    def __init__(self) -> None:
        self.held = 0

    @event("PlaceHeld")
    def hold(self, trip: str) -> None:  # noqa: ARG002 (the event keeps it)
        self.held += 1


class Booking(Application):
    pass


class Trips(SQLiteTrackingRecorder):
    """A table with a row for each trip, like ours."""

    def construct_create_table_statements(self) -> list[str]:
        return [
            *super().construct_create_table_statements(),
            "create table if not exists trips (trip text, place text)",
        ]

    def note(self, trip: str, place: str, tracking: Any) -> None:
        with self.datastore.transaction(commit=True) as db:
            self._insert_tracking(db, tracking)
            db.execute("insert into trips values (?, ?)", (trip, place))


class TripsProjection(Projection):
    name = "trips"

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Any) -> None:
        if type(domain_event) is Places.PlaceHeld:
            self.view.note(domain_event.trip, str(domain_event.originator_id), tracking)
        else:
            self.view.insert_tracking(tracking)


def hot() -> dict[str, float]:
    """One aggregate that many change, one change after the other."""
    application = Booking()
    busy = Places()
    application.save(busy)
    begun = time.perf_counter()
    for n in range(count):
        busy = application.repository.get(busy.id)
        busy.hold(f"trip-{n}")
        application.save(busy)
    return {"hot_1_per_second": count / (time.perf_counter() - begun)}


def back() -> dict[str, float]:
    """One long aggregate, read back from its events, and from a snapshot."""
    application = Booking()
    places = Places()
    for n in range(count):
        places.hold(f"trip-{n}")
    application.save(places)

    def seconds() -> float:
        begun = time.perf_counter()
        assert application.repository.get(places.id).held == count
        return time.perf_counter() - begun

    events = min(seconds() for _ in range(3))
    application.take_snapshot(places.id)
    snapshot = min(seconds() for _ in range(3))
    return {"read_ms": events * 1e3, "read_per_second": count / events, "snapshot_ms": snapshot * 1e3}


def project() -> dict[str, float]:
    """A long journal into an SQLite read model."""
    application = Booking()
    for _ in range(max(1, count // 1_000)):
        places = Places()
        for n in range(min(count, 1_000) - 1):
            places.hold(f"trip-{n}")
        application.save(places)
    last = application.recorder.max_notification_id()
    os.environ.update(TRIPS_PERSISTENCE_MODULE="eventsourcing.sqlite", TRIPS_SQLITE_DBNAME=f"{folder}/trips.db")
    begun = time.perf_counter()
    if engine == "sqlite":
        _pull(application, last)
    else:
        runner = ProjectionRunner(application_class=Booking, projection_class=TripsProjection, view_class=Trips)
        with runner:
            runner.wait(last, timeout=600)
    return {"projected_per_second": last / (time.perf_counter() - begun)}


def _pull(application: Application, last: int) -> None:
    """Do what the runner does: its subscriptions are not there on SQLite."""
    environment = Environment(name="trips", env=os.environ)
    view = InfrastructureFactory.construct(env=environment).tracking_recorder(Trips)
    projection, position = TripsProjection(view=view), 0
    while position < last:
        for notification in application.recorder.select_notifications(
            start=position, limit=500, inclusive_of_start=False
        ):
            tracking = Tracking(application.name, notification.id)
            projection.process_event(application.mapper.to_domain_event(notification), tracking)
            position = notification.id


def conditions() -> dict[str, float]:
    """Appends that hold only if no event has their tag, with as many tagged events there; on PostgreSQL only."""
    factory = PostgresTTDCBFactory(Environment(env=os.environ))
    recorder = factory.dcb_recorder()
    there = 50 * count
    for first in range(0, there, 1_000):
        recorder.append([DCBEvent("Registered", b"{}", [f"mail:{n}"]) for n in range(first, first + 1_000)])

    def take(mail: str) -> None:
        condition = DCBAppendCondition(DCBQuery([DCBQueryItem(["Registered"], [mail])]))
        recorder.append([DCBEvent("Registered", b"{}", [mail])], condition)

    figures: dict[str, float] = {}
    for at_once in (1, 8):
        begun = time.perf_counter()
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(take, [f"mail:new-{at_once}-{n}" for n in range(count)]))
        figures[f"conditional_{1 if at_once == 1 else 10}_per_second"] = count / (time.perf_counter() - begun)
    factory.close()
    return figures


WORKS: dict[str, Callable[[], dict[str, float]]] = {
    "hot": hot,
    "back": back,
    "project": project,
    "conditions": conditions,
}
print(json.dumps(WORKS[work]()))
