"""Checks that the search copy says what the profiles say, by replay of the journal."""

from collections.abc import Iterator
from typing import NamedTuple

from demos.profile.profile import Profile, ProfileState
from demos.profile.search import AllPeople, Copy, CopyOf, Found, People, Profiles, Search
from runtime import Runtime


class Books(NamedTuple):
    """The books, and what is wrong with them."""

    profiles: int
    changes: int
    removed: int
    problems: list[str]

    def __str__(self) -> str:
        return (
            f"By replay of the journal, {self.profiles:,} people have profiles, which were changed {self.changes:,} "
            f"times; the search copy has the same ones, word for word, and finds each. Those that "
            f"were removed ({self.removed:,}) are not found."
        )


async def audit(runtime: Runtime) -> Books:
    """Replay all profiles, and compare them with the search copy."""
    profiles, changes, removed, problems = 0, 0, 0, list[str]()
    for person in await runtime.ask(People.at(), AllPeople(), consistent=True):
        state = await runtime.state_of(Profile.at(person))
        copy = await runtime.ask(Profiles.at(), CopyOf(person), consistent=True)
        words = f"{state.name} {state.city} {state.about}"
        # So many of the same words there may be, in a large crowd; who is not among them all is not found.
        found = await runtime.ask(Profiles.at(), Search(words, limit=10_000)) if state.name else []
        profiles, removed, changes = profiles + bool(state.name), removed + (not state.name), changes + state.change
        problems += wrong_copies(person, state, copy, found)
    return Books(profiles, changes, removed, problems)


def wrong_copies(person: str, state: ProfileState, copy: Copy | None, found: list[Found]) -> Iterator[str]:
    """Find what the copy says otherwise, or what can't be found."""
    if not state.name:
        if copy is not None:
            yield f"{person}'s profile was removed, and the search copy still has it"
        return
    if copy is None:
        yield f"{person}'s profile is missing in the search copy"
    elif (copy.name, copy.city, copy.about, copy.change) != (state.name, state.city, state.about, state.change):
        yield f"{person}'s profile has been saved {state.change} times, and the search copy has number {copy.change}"
    if person not in {one.person for one in found}:
        yield f"{person}'s profile is not found by its own words"
