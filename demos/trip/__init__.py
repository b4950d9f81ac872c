"""Booking trips: a seat on a flight, a hotel room and a cab, or none of them. Start with ``python -m demos.trip``.

Read it in this order: ``messages`` (what can happen), ``services`` (who sells what, and by which rules), ``sagas``
(a trip across all three), ``read_models`` (tables to ask) and ``mailer`` (a letter to the outside world). ``story``
and ``load`` put them to work, and ``books`` checks afterwards that nothing was lost or sold twice.
"""

from demos.trip.mailer import Mailer
from demos.trip.read_models import Trips
from demos.trip.sagas import TripSaga
from demos.trip.services import Cab, Flight, Hotel

ACTORS: list[type] = [Flight, Hotel, Cab, TripSaga, Trips, Mailer]
"""All actors of this application, for ``Runtime(..., actors=ACTORS)``."""
