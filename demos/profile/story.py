"""The story that ``python -m demos.profile`` tells: one profile, read in two ways, and then many.

Nothing in it is staged. Whether the copy was behind when it was read is chance; the ages tell.
"""

import time
from contextlib import aclosing

from demos.command_line import OpenRuntime
from demos.measuring import Figures
from demos.page import Page
from demos.profile import books
from demos.profile.load import ENDINGS
from demos.profile.profile import Profile, RemoveProfile, SaveProfile
from demos.profile.reading import Read, at_once, in_the_copy
from demos.profile.search import CopyOf, Found, Profiles, Search
from demos.report import Report, Tally, tell_books, tell_times
from demos.words import how_many
from persistence.postgres_url import without_password
from runtime import Runtime

OTHERS = {
    "ben": SaveProfile("Ben Okafor", "Porto", "Bakes bread, and grows tomatoes on the roof."),
    "cleo": SaveProfile("Cleo Marques", "Lisbon", "Draws gardens. Has never owned one."),
    "dora": SaveProfile("Dora Lind", "Oslo", "Plays chess by post with somebody in Porto."),
    "emil": SaveProfile("Emil Garde", "Basel", "Watches owls."),
}
UPDATES = 300
"""How many are measured."""


class Stage:
    """Where the story is played."""

    def __init__(self, runtime: Runtime, page: Page, tally: Tally) -> None:
        self.runtime = runtime
        self.page = page
        self.tally = tally
        # In a journal that is carried on with, names must not meet those of an earlier story.
        self.run = f"-{runtime.position}" if runtime.position else ""

    def named(self, person: str) -> str:
        """Return a name as it stands in the journal."""
        return f"{person}{self.run}"

    async def save(self, person: str, profile: SaveProfile) -> None:
        """Save a profile, and count it."""
        await self.tally.count(self.runtime.ask(Profile.at(self.named(person)), profile))

    def show(self, **reads: Read | None) -> None:
        """Show reads beside each other, each with its age."""
        rows = [
            (str(n), way.replace("_", " "), *(("nothing", "", "", "", "") if read is None else _cells(read)))
            for n, (way, read) in enumerate(reads.items(), 1)
        ]
        self.page.table(("", "asked", "name", "city", "change", "position", "age"), rows)


def _cells(read: Read) -> tuple[str, ...]:
    return read.name, read.city, str(read.change), str(read.position), f"{read.age:,.1f} ms"


async def tell(open_runtime: OpenRuntime, journal: str, page: Page) -> Report:
    """Tell the story on a journal, from its first scene to the books."""
    begun = time.perf_counter()
    async with open_runtime() as runtime:
        introduce(page, journal)
        begin, tally = runtime.position, Tally()
        stage = Stage(runtime, page, tally)
        await two_reads(stage)
        await as_much_as_is_wanted(stage)
        await searching(stage)
        await watched(stage)
        await built_anew(stage)
        lag = await how_far_behind(stage)
        page.scene("7  Do the books balance?")
        audited = await books.audit(runtime)
        tell_books(audited, page)
        events = runtime.position - begin
        leave(page, journal)
    more = {"visible_ms": {f"p{n}": round(lag.percentile(n) * 1000, 2) for n in (50, 99)}}
    return Report(ENDINGS, tally, 0, events, tally.ended / (time.perf_counter() - begun), audited, more)


def introduce(page: Page, journal: str) -> None:
    """Say what it is all about."""
    page.title("Changed at once, and found some milliseconds later")
    page.say(
        "A profile is an actor. It decides what may be saved, and knows what was. To find a profile by its words "
        "needs a table of all of them with an index. That is a copy: it is filled from the journal, and always a "
        "moment late. How late may matter or not, and whoever asks can say."
    )
    page.note(f"The journal of this story: {without_password(journal)}")


async def two_reads(stage: Stage) -> None:
    """Ana moves, and both ways tell where she lives."""
    page, runtime = stage.page, stage.runtime
    page.scene("1  One profile, two ways to read it")
    page.say("Ana lives in Lisbon, and moves to Porto. As soon as that is saved, both are asked where she lives.")
    await stage.save("ana", SaveProfile("Ana Reis", "Lisbon", "Likes gardens, and the sea."))
    await in_the_copy(runtime, stage.named("ana"), consistent=True)
    await stage.save("ana", SaveProfile("Ana Reis", "Porto", "Likes gardens, and the sea."))
    copy = await in_the_copy(runtime, stage.named("ana"))
    itself = await at_once(runtime, stage.named("ana"))
    stage.show(the_copy=copy, the_profile=itself)
    assert itself is not None
    late = copy is None or copy.position < itself.position
    page.say(
        "The age is what has passed since the event that a read tells of. The profile itself can't be wrong: what it "
        "has acknowledged, it knows. The copy "
        + ("did not know yet that she has moved." if late else "knew it too this time; it need not.")
    )


async def as_much_as_is_wanted(stage: Stage) -> None:
    """The copy is asked to know as much as the asker knows."""
    page, runtime, ana = stage.page, stage.runtime, stage.named("ana")
    page.scene("2  As much as you want to see")
    page.say(
        "Asked with after=, the copy answers when it has come to a position of the journal: what a web page shows to "
        "who has just changed something, for it knows the position of the change. Asked with consistent=True, it first "
        "takes in all that was written before the question, by whomever."
    )
    await stage.save("ana", SaveProfile("Ana Reis", "Porto", "Likes gardens, and the river."))
    after = await in_the_copy(runtime, ana, after=runtime.position)
    await stage.save("ana", SaveProfile("Ana Reis", "Porto", "Likes gardens, the river, and bread."))
    consistent = await in_the_copy(runtime, ana, consistent=True)
    itself = await at_once(runtime, ana)
    stage.show(**{"the copy, after=": after, "the copy, consistent=True": consistent, "the profile": itself})


async def searching(stage: Stage) -> None:
    """What the copy is for."""
    page, runtime = stage.page, stage.runtime
    page.scene("3  What the copy is for")
    page.say("Others save their profiles, and are searched for. A word finds those that begin with it, too.")
    for person, profile in OTHERS.items():
        await stage.save(person, profile)
    for words in ("gard", "porto bread", 'chess, "post'):
        page.say(f"Search for {words}:")
        show_found(stage, await runtime.ask(Profiles.at(), Search(words), after=runtime.position))
    await runtime.ask(Profile.at(stage.named("emil")), RemoveProfile())
    found = await runtime.ask(Profiles.at(), Search("owls"), after=runtime.position)
    left = sum(one.person == stage.named("emil") for one in found)
    page.say(f"Emil removes his profile. Who searches for owls behind that finds {how_many(left, 'profile')} of his.")


def show_found(stage: Stage, found: list[Found]) -> None:
    """Show what was found of this story's people."""
    mine = [one for one in found if one.person.endswith(stage.run)]
    rows = [(str(n), one.name, one.city, one.where) for n, one in enumerate(mine, 1)]
    if rows:
        stage.page.table(("", "name", "city", "where"), rows)
    else:
        stage.page.step("→", "", "nobody")


async def watched(stage: Stage) -> None:
    """A search that is told again when there is something else to find."""
    page, runtime = stage.page, stage.runtime
    page.scene("4  A search that goes on")
    page.say(
        "Somebody looks for people who bake. The search is watched (runtime.watch): it is answered at once, and again "
        "whenever there is something else to find, without being asked."
    )
    changes = [SaveProfile("Dora Lind", "Oslo", f"Bakes {what}, and plays chess by post.") for what in ("rye", "buns")]
    async with aclosing(runtime.watch(Profiles.at(), Search("bake"), consistent=True)) as answers:
        async for found in answers:
            show_found(stage, found)
            if not changes:
                break
            await stage.save("dora", changes.pop(0))
            page.say("Dora changes her profile, and whoever watches is told:")


async def built_anew(stage: Stage) -> None:
    """The copy is thrown away, and nobody misses it."""
    page, runtime = stage.page, stage.runtime
    page.scene("5  A copy can be thrown away")
    begun = time.perf_counter()
    await runtime.rebuild(Profiles.at())
    took = (time.perf_counter() - begun) * 1000
    found = await runtime.ask(Profiles.at(), Search("gard"), consistent=True)
    page.say(
        f"The copy was just built anew from {how_many(runtime.position, 'event')}, beside the old one, which answered "
        f"until then. That took {took:,.0f} ms, and the same profiles are found:"
    )
    show_found(stage, found)


async def how_far_behind(stage: Stage) -> Figures:
    """How late the copy is, measured."""
    page, runtime, ana = stage.page, stage.runtime, stage.named("ana")
    page.scene("6  How far behind is it?")
    lags: list[float] = []
    behind = 0
    begun = time.perf_counter()
    for n in range(UPDATES):
        await stage.save("ana", SaveProfile("Ana Reis", "Porto", f"Changes this all the time: {n}."))
        answered, position = time.perf_counter(), runtime.position
        copy = await runtime.ask(Profiles.at(), CopyOf(ana))
        behind += copy is None or copy.position < position
        await runtime.ask(Profiles.at(), CopyOf(ana), after=position)
        lags.append(time.perf_counter() - answered)
    figures = Figures(time.perf_counter() - begun, lags)
    page.say(
        f"Ana changes her profile {UPDATES} times, one after the other. Each time the copy is asked as soon as that is "
        f"saved: {behind} times it answered with what was there before. And until it answered with what was saved, the "
        "question included, this has passed:"
    )
    tell_times("half of the changes were seen by then", figures, page)
    return figures


def leave(page: Page, journal: str) -> None:
    """Say where to look next."""
    page.say("Next: save two thousand updates at the same time while actors are dying, or look into this journal.")
    page.command("python -m demos.profile --updates 2000 --kill 0.01")
    if journal != "memory:":
        page.command(f"python -m persistence tail {without_password(journal)}")
