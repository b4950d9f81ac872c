"""The story that ``python -m demos.trip`` tells: trips and what befalls them, then a look back at it all.

Nothing in it is staged. What it says of a trip is read from the journal after it has happened.
"""

import os
import shlex
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

from demos.killing import can_be_killed, killed_half_way
from demos.page import Page
from demos.report import Report, Tally
from demos.trip import carrying_on, looking_back
from demos.trip.carrying_on import ENDINGS
from demos.trip.mailer import Confirm, Mailer
from demos.trip.services import CloseDesk, OpenCab, OpenDesk, OpenFlight, OpenHotel
from demos.trip.stage import Stage
from demos.watching import seen
from demos.words import folder_beside, how_many
from persistence.postgres_url import SCHEMES, parse_url, quoted, without_password
from runtime import Runtime


async def tell(open_runtime: Callable[[], Runtime], journal: str, page: Page) -> Report:
    """Tell the story on a journal, from its first scene to the books."""
    begun = time.perf_counter()
    async with AsyncExitStack() as running:
        runtime = await running.enter_async_context(open_runtime())
        introduce(page, journal)
        begin, tally = runtime.position, Tally()
        resumed = await carrying_on.finish(runtime, tally, page)
        stage = Stage(runtime, page, tally, str(folder_beside(journal, "outbox")))
        await open_sellers(stage)
        await a_trip_that_works(stage)
        await trips_that_are_refused(stage)
        await a_company_that_is_down(stage)
        await a_flight_that_is_killed(stage)
        page.scene("5  A process that is killed in the middle of a trip")
        if can_be_killed(page, journal, "trips.db"):
            await stage.runtime.ask(stage.cab("Rossio"), CloseDesk())
            await running.aclose()  # a journal belongs to one process at a time
            await half_a_trip_elsewhere(stage, journal)
            stage.runtime = await running.enter_async_context(open_runtime())
            await the_other_half(stage)
        await looking_back.state_by_replay(stage)
        await looking_back.time_travel(stage)
        await looking_back.reading(stage)
        await looking_back.audit_trail(stage)
        books = await looking_back.check_books(stage)
        events = stage.runtime.position - begin
        leave(page, journal)
    return Report(ENDINGS, tally, resumed, events, tally.ended / (time.perf_counter() - begun), books)


def introduce(page: Page, journal: str) -> None:
    """Say what it is all about."""
    page.title("A trip is booked, whatever breaks")
    page.say(
        "Who travels needs a seat on a flight, a room in a hotel and a cab. Three companies sell them, and each may "
        "say no. A saga asks them one after the other. If one says no, it gives back what the others have promised, "
        "last first. So a trip is booked whole or not at all."
    )
    page.say(
        "Each company and each trip is an actor. All that happens to an actor is written to a journal. When it dies, "
        "its understudy walks on, and knows every line: it has read the journal."
    )
    page.note(f"The journal of this story: {without_password(journal)}")


async def open_sellers(stage: Stage) -> None:
    """Open what the scenes need."""
    runtime = stage.runtime
    await runtime.ask(stage.flight, OpenFlight(7))
    await runtime.ask(stage.hotel("Miramar"), OpenHotel(1))
    await runtime.ask(stage.hotel("Aurora"), OpenHotel(9))
    await runtime.ask(stage.cab("Tuktuk"), OpenCab(1))
    await runtime.ask(stage.cab("Rossio"), OpenCab(9))


async def a_trip_that_works(stage: Stage) -> None:
    """Ana's trip, and the mail that says so."""
    page, runtime = stage.page, stage.runtime
    page.scene("1  A trip that works")
    page.say(
        "Ana wants to fly on LH441, to stay at the Miramar, who have one room, and to be driven by Tuktuk, who have "
        "one car."
    )
    groups, position = runtime.groups, runtime.position
    await stage.book("Ana", hotel="Miramar", cab="Tuktuk")
    groups, events = runtime.groups - groups, runtime.position - position
    page.say(
        f"The trip left {events} events in the journal. They were made durable together, with "
        f"{how_many(groups, 'write')} to disk, and only then was Ana told."
    )
    mailer, confirm = Mailer.at(stage.outbox), Confirm("Ana", stage.trip("Ana").key)
    sent = [await runtime.ask(mailer, confirm, id=f"confirm {confirm.trip}") for _ in range(2)]
    page.say(
        "Then the mailer is asked to confirm it, twice, as it may happen after a crash. Both times the request has the "
        f"same id, so {how_many(sum(sent), 'mail')} went out."
    )


async def trips_that_are_refused(stage: Stage) -> None:
    """Ben's trip and Bea's, which are compensated."""
    page = stage.page
    page.scene("2  A hotel that is full, and a cab company without cars")
    page.say("Ben wants to stay at the Miramar too, but Ana has the room. So his flight is cancelled.")
    await stage.book("Ben", hotel="Miramar")
    page.say("Bea wants to be driven by Tuktuk, who have no car left. Room and flight are cancelled, in reverse order.")
    await stage.book("Bea", cab="Tuktuk")


async def a_company_that_is_down(stage: Stage) -> None:
    """Cleo's trip, which waits for a desk to open."""
    page, runtime = stage.page, stage.runtime
    page.scene("3  A cab company that is down for a while")
    page.say(
        "Rossio's desk doesn't answer when Cleo's trip comes to it. That is not a no, so nothing is cancelled: the "
        "trip asks again and again, always with the same id, so that it can't end up with two cars. Then the desk "
        "opens."
    )
    await runtime.ask(stage.cab("Rossio"), CloseDesk())
    await stage.begin("Cleo")
    await seen(runtime, stage.trip("Cleo"), "saga.failed")
    await runtime.ask(stage.cab("Rossio"), OpenDesk())
    await stage.end("Cleo")


async def a_flight_that_is_killed(stage: Stage) -> None:
    """Dora's trip, in the middle of which the flight dies, and Emil's, who finds its understudy."""
    page, runtime = stage.page, stage.runtime
    page.scene("4  A flight that is killed in the middle of a trip")
    await runtime.ask(stage.cab("Rossio"), CloseDesk())
    await stage.begin("Dora")
    await seen(runtime, stage.trip("Dora"), "saga.failed")
    await runtime.kill(stage.flight)
    events = len(await stage.history(stage.flight))
    page.say(
        "Dora's trip has its seat and its room and waits for the cab desk. Now the actor of flight LH441 is killed: "
        f"all that it had in memory is gone. When Emil wants a seat, its understudy walks on, reads {events} events "
        "in the journal, and knows which seats are taken. Then the cab desk opens."
    )
    await stage.begin("Emil")
    await seen(runtime, stage.trip("Emil"), "saga.failed")
    await runtime.ask(stage.cab("Rossio"), OpenDesk())
    page.say("Dora:")
    await stage.end("Dora")
    page.say("Emil:")
    await stage.end("Emil")


async def half_a_trip_elsewhere(stage: Stage, journal: str) -> None:
    """Begin Finn's trip in a process of its own, and kill that when the trip is half way."""
    page, wish = stage.page, stage.wish("Finn")
    page.say(
        "Finn's trip is begun by another process. When its seat and its room are on disk, that process is killed with "
        "SIGKILL, which nobody can catch: from one moment to the next it is gone."
    )
    arguments = [journal, stage.trip("Finn").key, wish.customer, wish.flight, wish.hotel, wish.cab]
    killed = await killed_half_way("demos.trip.doomed", *arguments)
    page.step("✓", "", f"process {killed.process} has a seat and a room for Finn, and asks for a car")
    page.step("✗", "", f"process {killed.process} is killed by signal {killed.signal}")


async def the_other_half(stage: Stage) -> None:
    """Finish Finn's trip, which the runtime has found in the journal and gone on with."""
    stage.page.step("→", "", f"process {os.getpid()} opens the journal, finds the unfinished trip, and goes on")
    await stage.runtime.ask(stage.cab("Rossio"), OpenDesk())
    stage.page.say("Then the cab desk opens.")
    await stage.end("Finn")


def leave(page: Page, journal: str) -> None:
    """Say where to look next."""
    page.say("Next: book two thousand trips at the same time while actors are dying, or look into this journal.")
    page.command("python -m demos.trip --trips 2000 --kill 0.01")
    scheme, _, path = journal.partition(":")
    if scheme == "sqlite":
        look = "select * from log"
        page.command(f"sqlite3 {shlex.quote(path)} '{look}'")
    elif scheme in SCHEMES:
        place = parse_url(journal)
        look = f"select * from {quoted(place.schema)}.log"  # noqa: S608 (for a person to type)
        page.command(f"psql {shlex.quote(without_password(place.dsn))} -c {shlex.quote(look)}")
