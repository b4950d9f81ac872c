"""The rules of profiles, and the search copy on both databases."""

from random import Random
from typing import Any

import pytest

from demos.full_text import words_of
from demos.profile import ACTORS, ON_POSTGRES
from demos.profile.books import audit
from demos.profile.messages import ProfileRemoved, ProfileSaved
from demos.profile.profile import LONGEST, Profile, RemoveProfile, SaveProfile
from demos.profile.reading import at_once, in_the_copy
from demos.profile.search import Profiles, Search
from persistence import Record
from runtime import Chaos, ManualClock, Runtime
from runtime.simulation import given
from tests.demos.both import both, on
from tests.demos.shop import in_time
from tests.runtime.tools import HeldJournal, as_stored, restart_of

ANA = SaveProfile("Ana Reis", "Porto", "Likes gardens.")
SAVED = ProfileSaved("Ana Reis", "Porto", "Likes gardens.", 1)


@pytest.mark.parametrize(
    ("command", "history", "reply", "events"),
    [
        (ANA, (), 1, (SAVED,)),
        (ANA, (SAVED,), 1, ()),
        (SaveProfile("Ana", "", ""), (SAVED,), 2, (ProfileSaved("Ana", "", "", 2),)),
        (ANA, (SAVED, ProfileRemoved()), 2, (ProfileSaved("Ana Reis", "Porto", "Likes gardens.", 2),)),
        (SaveProfile("A", "", "x" * LONGEST), (), 1, (ProfileSaved("A", "", "x" * LONGEST, 1),)),
        (RemoveProfile(), (SAVED,), None, (ProfileRemoved(),)),
        (RemoveProfile(), (SAVED, ProfileRemoved()), None, ()),
        (RemoveProfile(), (), None, ()),
    ],
)
def test_what_is_done(command: Any, history: Any, reply: Any, events: Any) -> None:
    given(Profile, *history, key="ana").when(command).replies(reply).then(*events)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (SaveProfile("", "Porto", ""), "a profile needs a name"),
        (SaveProfile(" \n", "Porto", ""), "a profile needs a name"),
        (SaveProfile("Ana", "", "x" * (LONGEST + 1)), "1,001 characters are too many; 1,000 are the most"),
    ],
)
def test_what_is_refused(command: Any, why: str) -> None:
    given(Profile, SAVED, key="ana").when(command).refuses(why)


# -- the search copy ----------------------------------------------------------------------------------------------


async def found(runtime: Runtime, words: str, limit: int = 10) -> list[str]:
    """Return who is found, the best ones first."""
    return [one.person for one in await runtime.ask(Profiles.at(), Search(words, limit), consistent=True)]


@both
async def test_words_are_found_where_they_begin_so(database: str) -> None:
    async with on(database, ACTORS, ON_POSTGRES) as runtime:
        await runtime.ask(Profile.at("ana"), ANA)
        await runtime.ask(Profile.at("emil"), SaveProfile("Emil Garde", "Basel", "Watches owls at run-7, by bo.org."))
        await runtime.ask(Profile.at("cleo"), SaveProfile("Cleo", "Porto", "Draws gardens"))
        assert await found(runtime, "gard") == ["emil", "ana", "cleo"] or database == "sqlite"
        assert set(await found(runtime, "gard")) == {"emil", "ana", "cleo"}
        for words, people in (
            ("GARDENS", {"ana", "cleo"}),
            ("porto gar", {"ana", "cleo"}),
            ("ana gar", {"ana"}),
            ("ardens", set[str]()),
            ("run-7", {"emil"}),
            ("bo.org", {"emil"}),
            ("7 bo owl", {"emil"}),
            ("ana owls", set[str]()),
        ):
            assert set(await found(runtime, words)) == people, words
        assert len(await found(runtime, "gard", 2)) == 2
        (one,) = await runtime.ask(Profiles.at(), Search("reis"))
        assert (one.person, one.name, one.city) == ("ana", "Ana Reis", "Porto")
        assert "[Reis]" in one.where
        await runtime.ask(Profile.at("ana"), SaveProfile("Ana Reis", "Lisbon", "Likes the sea."))
        assert set(await found(runtime, "gardens")) == {"cleo"}
        assert set(await found(runtime, "sea")) == {"ana"}
        await runtime.ask(Profile.at("ana"), RemoveProfile())
        assert await found(runtime, "ana") == []
        assert (await audit(runtime)).problems == []


TYPED = (
    "",
    " ",
    '"',
    "'",
    "*",
    "a AND",
    "NOT",
    "name:ana",
    "a* OR b",
    "(",
    "^x",
    "a:*b",
    "& | !",
    "\\",
    "%",
    "--",
    "é",
    "_",
)


@both
@pytest.mark.parametrize("words", TYPED)
async def test_whatever_is_typed_is_words(database: str, words: str) -> None:
    async with on(database, ACTORS, ON_POSTGRES) as runtime:
        await runtime.ask(Profile.at("ana"), ANA)
        assert set(await found(runtime, words)) <= {"ana"}


def test_words() -> None:
    assert words_of('chess, "by post" 1=1') == ["chess", "by", "post", "1", "1"]
    assert words_of(" -- ") == []


@both
@pytest.mark.parametrize("seed", range(3))
async def test_both_find_what_a_list_would(database: str, seed: int) -> None:
    """Random profiles, saved and removed in random order, and random searches, beside a plain list of words."""
    chance = Random(seed)
    letters = "ab1"

    def word() -> str:
        return "".join(chance.choice(letters) for _ in range(chance.randint(1, 3)))

    def text() -> str:
        return chance.choice([" ", "-", ", ", ".", "/"]).join(word() for _ in range(chance.randint(1, 4)))

    known: dict[str, set[str]] = {}
    async with on(database, ACTORS, ON_POSTGRES) as runtime:
        for _ in range(60):
            person = f"p{chance.randint(1, 12)}"
            if chance.random() < 0.2:
                await runtime.ask(Profile.at(person), RemoveProfile())
                known.pop(person, None)
            else:
                profile = SaveProfile(text(), text(), text())
                await runtime.ask(Profile.at(person), profile)
                known[person] = set(words_of(f"{profile.name} {profile.city} {profile.about}"))
        for _ in range(40):
            words = words_of(text())[: chance.randint(1, 2)]
            due = {
                person
                for person, has in known.items()
                if all(any(one.startswith(word) for one in has) for word in words)
            }
            assert set(await found(runtime, " ".join(words), 100)) == due, words
        assert (await audit(runtime)).problems == []


@both
async def test_two_reads_and_their_ages(database: str) -> None:
    async with on(database, ACTORS, ON_POSTGRES) as runtime:
        assert await at_once(runtime, "ana") is None
        assert await in_the_copy(runtime, "ana", consistent=True) is None
        await runtime.ask(Profile.at("ana"), ANA)
        position = runtime.position
        for read in (await at_once(runtime, "ana"), await in_the_copy(runtime, "ana", after=position)):
            assert read is not None
            assert read[:5] == ("Ana Reis", "Porto", "Likes gardens.", 1, position)
            assert read.age >= 0
        await runtime.ask(Profile.at("ana"), RemoveProfile())
        assert await at_once(runtime, "ana") is None
        assert await in_the_copy(runtime, "ana", consistent=True) is None


# -- whatever is left of a journal --------------------------------------------------------------------------------


async def run_from(records: list[Record], kill: float = 0.0, seed: int = 0) -> HeldJournal:
    """Restart from these records, save everything again, and check the copy."""
    journal, clock, chaos = restart_of(records), ManualClock(), Chaos(seed, kill) if kill else None

    async def all_of_it() -> None:
        for n in range(10):
            profile = Profile.at(f"p{n % 3}")
            if n == 7:
                await runtime.ask(profile, RemoveProfile(), id=f"{n}")
            else:
                await runtime.ask(profile, SaveProfile(f"name {n}", "Porto", f"likes {n}"), id=f"{n}")
            assert (await audit(runtime)).problems == []
        books = await audit(runtime)
        assert (books.profiles, books.removed, books.changes) == (2, 1, 9)
        assert await found(runtime, "name") == ["p0", "p2"]

    async with Runtime(journal, ACTORS, clock=clock, chaos=chaos) as runtime:
        assert (await in_time(runtime, clock, audit(runtime))).problems == []
        await in_time(runtime, clock, all_of_it())
    return journal


async def test_every_prefix() -> None:
    first = (await run_from([])).records
    for crash in range(len(first)):
        again = (await run_from(first[:crash])).records
        assert as_stored(again[:crash]) == as_stored(first[:crash])


@pytest.mark.parametrize("seed", range(4))
async def test_kills_before_any_message(seed: int) -> None:
    await run_from([], kill=0.3, seed=seed)
