"""The two ways to read a profile, and how old what they tell is."""

import time
from typing import NamedTuple

from demos.profile.profile import Look, Profile
from demos.profile.search import CopyOf, Profiles
from runtime import Runtime


class Read(NamedTuple):
    """A profile as it was read."""

    name: str
    city: str
    about: str
    change: int
    position: int
    """Of the event that made it so."""
    age: float
    """Milliseconds from that event until it was read."""


async def at_once(runtime: Runtime, person: str) -> Read | None:
    """Read the profile itself: it knows of all that was saved before. None: there is none."""
    state = await runtime.ask(Profile.at(person), Look())
    last = [entry async for entry in runtime.history(Profile.at(person)) if entry.type in Profile.events][-1:]
    if not last or not state.name:
        return None
    age = (time.time() - last[0].meta.time.timestamp()) * 1000
    return Read(state.name, state.city, state.about, state.change, last[0].meta.position, age)


async def in_the_copy(
    runtime: Runtime, person: str, *, consistent: bool = False, after: int | None = None
) -> Read | None:
    """Read the search copy: what is there now, or all that is asked for has come; None: it isn't there."""
    copy = await runtime.ask(Profiles.at(), CopyOf(person), consistent=consistent, after=after)
    if copy is None:
        return None
    age = (time.time() - copy.changed / 1e6) * 1000
    return Read(copy.name, copy.city, copy.about, copy.change, copy.position, age)
