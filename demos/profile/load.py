"""Changes many profiles at once, and measures how far the search copy is behind: ``--updates 2000``."""

import time
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from demos.measuring import Figures, insist, measured
from demos.page import Page
from demos.profile import books
from demos.profile.profile import Profile, SaveProfile
from demos.profile.search import CopyOf, Profiles, Search
from demos.report import Endings, Report, Tally, tell_books, tell_figures, tell_tally, tell_times
from runtime import Runtime

ENDINGS = Endings("updates", "saved", "refused")
IN_FLIGHT = 50
"""How many are under way at the same time."""
CROWD = 10
"""So many updates come to each profile, more or less."""
SEARCHES = 500
NAMES = ("Ana", "Ben", "Cleo", "Dora", "Emil", "Finn", "Gina", "Hugo", "Iris", "Jan", "Kim", "Lea", "Max", "Nora")
CITIES = ("Lisbon", "Porto", "Berlin", "Oslo", "Turin", "Lyon", "Ghent", "Vilnius", "Cork", "Basel")
LIKES = ("gardens", "chess", "the sea", "old maps", "bread", "bicycles", "owls", "jazz", "tea", "mountains")


class Wish(NamedTuple):
    """A change that somebody wants."""

    person: str
    number: int
    command: SaveProfile


class Lag(NamedTuple):
    """How long the copy took, from the answer to who has changed a profile until a reader of the copy saw that."""

    figures: Figures
    stale: int
    """How often it answered without the change that it was to have; must be 0."""


def wishes(updates: int, seed: int, run: str) -> Iterator[Wish]:
    """Yield changes; the same ones for the same seed. ``run`` keeps their people apart from other runs'."""
    chance = Random(seed)
    people = -(-updates // CROWD)
    for number in range(1, updates + 1):
        person = f"{run}-{chance.randint(1, people)}"
        likes = " and ".join(chance.sample(LIKES, k=2))
        name = "" if chance.random() < 0.01 else f"{chance.choice(NAMES)} {person}"
        yield Wish(person, number, SaveProfile(name, chance.choice(CITIES), f"likes {likes}, {number}"))


async def run(runtime: Runtime, updates: int, seed: int, page: Page) -> Report:
    """Change the profiles, search among them, and check the books."""
    tally, begin = Tally(), runtime.position
    page.say(
        f"{updates:,} updates are saved, up to {IN_FLIGHT} at a time, and each is looked for in the search copy as "
        "soon as it has been acknowledged."
    )
    figures, lag = await change(runtime, updates, list(wishes(updates, seed, f"run{begin}")), tally)
    searching = await search(runtime, seed)
    audited = await books.audit(runtime)
    if lag.stale:
        audited.problems.append(f"{lag.stale} reads that were to see an update have not seen it")
    more = {"visible_ms": milliseconds(lag.figures), "search_ms": milliseconds(searching)}
    report = Report(ENDINGS, tally, 0, runtime.position - begin, figures.per_second, audited, more)
    page.scene("What they came to")
    tell_tally(report, "a profile needs a name", page)
    page.figure("events", f"{report.events:,}")
    tell_figures(ENDINGS.things, figures, page)
    page.say("How long after that the search copy had it:")
    tell_times("half of the updates were seen by then", lag.figures, page)
    page.say(f"And {SEARCHES:,} full-text searches, {IN_FLIGHT} at a time:")
    tell_figures("searches", searching, page)
    tell_books(audited, page)
    return report


async def change(runtime: Runtime, updates: int, wanted: list[Wish], tally: Tally) -> tuple[Figures, Lag]:
    """Change profiles, and look for each change in the copy. An update's id makes sure that it is made once."""
    lags: list[float] = []
    stale = 0
    acknowledged: list[float] = []

    async def one(wish: Wish) -> None:
        nonlocal stale
        asked = time.perf_counter()
        profile, name = Profile.at(wish.person), f"update {wish.number}"
        change = await tally.count(insist(lambda: runtime.ask(profile, wish.command, id=name)))
        answered = time.perf_counter()
        if change is None:
            return
        copy = await runtime.ask(Profiles.at(), CopyOf(wish.person), after=runtime.position)
        lags.append(time.perf_counter() - answered)
        acknowledged.append(answered - asked)
        stale += copy is None or copy.change < change

    figures = await measured(wanted, updates, ENDINGS.things, one, in_flight=IN_FLIGHT)
    return Figures(figures.seconds, acknowledged), Lag(Figures(figures.seconds, lags), stale)


async def search(runtime: Runtime, seed: int) -> Figures:
    """Search for all sorts of words."""
    chance = Random(seed)
    words = [f"{chance.choice(NAMES)} {chance.choice(CITIES)[:3]} {chance.choice(LIKES)}" for _ in range(SEARCHES)]

    async def one(text: str) -> None:
        await runtime.ask(Profiles.at(), Search(text))

    return await measured(words, SEARCHES, "searches", one, in_flight=IN_FLIGHT)


def milliseconds(figures: Figures) -> dict[str, float]:
    """Return the figures for other programs to read."""
    if not figures.latencies:
        return {}
    return {f"p{percent}": round(figures.percentile(percent) * 1000, 2) for percent in (50, 99)}
