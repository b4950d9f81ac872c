"""The second half of the story: what can be learnt from a journal afterwards."""

from demos.report import tell_books
from demos.trip import books
from demos.trip.books import Books
from demos.trip.read_models import SalesOf, Trips, TripsOf
from demos.trip.retelling import because, cause, in_words
from demos.trip.services import Flight, OpenFlight
from demos.trip.stage import Stage
from demos.words import how_many


async def state_by_replay(stage: Stage) -> None:
    """Why so many seats are left."""
    history = await stage.history(stage.flight)
    state = await stage.runtime.state_of(stage.flight)
    left = how_many(state.left, "seat")
    stage.page.scene(f"6  Why flight {stage.flight.key} has {left} left")
    stage.page.say(
        "Nobody keeps a count of seats. What a flight knows is what has happened to it, told from the beginning, "
        "and the journal has it all:"
    )
    stage.page.table(("event", "what happened", "so there are"), list(because(history)))


async def time_travel(stage: Stage) -> None:
    """The flight as it was."""
    versions = len(await stage.history(stage.flight))
    then = await stage.runtime.state_of(stage.flight, version=versions - 2)
    now = await stage.runtime.state_of(stage.flight)
    stage.page.scene("7  A journey back in time")
    stage.page.say(
        f"Told only up to event {versions - 2}, the journal gives the flight as it was two events ago. It had "
        f"{how_many(then.left, 'seat')} left then; now there {'is' if now.left == 1 else 'are'} "
        f"{how_many(now.left, 'seat')}."
    )
    rows = [
        (str(seat), _holder(then.held, seat), _holder(now.held, seat)) for seat in range(1, max(now.held.values()) + 1)
    ]
    stage.page.table(("seat", "two events ago", "now"), rows)


def _holder(held: dict[str, int], seat: int) -> str:
    return next((trip for trip, number in held.items() if number == seat), "free")


async def reading(stage: Stage) -> None:
    """The read model's answers, eventual and consistent."""
    page, runtime = stage.page, stage.runtime
    page.scene("8  Two ways to ask")
    page.say(
        "Tables for asking, like the trips of a customer, are filled from the journal, a moment after the event. Ana "
        "books a second trip, and is in a hurry to see it."
    )
    await runtime.ask(Flight.at(stage.named("LH440")), OpenFlight(3))
    wish = stage.wish("Ana", flight="LH440")
    await stage.tally.count(runtime.ask(stage.trip("Ana-again"), wish))
    customer = stage.named("Ana")
    eventual = await runtime.ask(Trips.at(), TripsOf(customer))
    consistent = await runtime.ask(Trips.at(), TripsOf(customer), consistent=True)
    page.say(f"Asked for what is in the table at this moment, it may not know yet: {how_many(len(eventual), 'trip')}.")
    page.say(
        "Asked consistently, it first takes in all that was written before the question, and then it can't be "
        f"wrong: {how_many(len(consistent), 'trip')}."
    )
    rows = [(str(n), row.trip, row.flight, str(row.seat), row.hotel, row.cab) for n, row in enumerate(consistent, 1)]
    page.table(("", "trip", "flight", "seat", "hotel", "cab"), rows)
    sales = await runtime.ask(Trips.at(), SalesOf(stage.flight.key), consistent=True)
    if sales is not None:
        page.say(f"Another table knows how flights sell: {sales.sold} of the {sales.seats} seats of {sales.flight}.")


async def audit_trail(stage: Stage) -> None:
    """Every event of one trip."""
    trip = stage.trip("Ben")
    stage.page.scene("9  All that ever happened to Ben's trip")
    stage.page.say(
        "Every event of every actor that took part, in order, each with what caused it. The number behind the @ "
        "counts the events of that actor. A step and its undo are written down together, before the step is tried."
    )
    rows = [
        (str(entry.meta.position), entry.meta.event_id, in_words(entry), cause(entry, trip))
        for entry in await stage.runtime.trail(trip)
    ]
    stage.page.table(("no.", "event", "what happened", "because of"), rows)


async def check_books(stage: Stage) -> Books:
    """The books, computed anew from the journal."""
    stage.page.scene("10  Do the books balance?")
    audited = await books.audit(stage.runtime)
    tell_books(audited, stage.page)
    return audited
