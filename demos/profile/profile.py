"""Profiles: what people say of themselves. Who asks the profile itself is told what it says now."""

from typing import assert_never

from msgspec.structs import replace

from actors import Command, Decision, Query, Refused, Service, State
from demos.profile.messages import ProfileRemoved, ProfileSaved

LONGEST = 1_000
"""Characters that somebody may say about himself."""


class ProfileState(State):
    name: str = ""
    """Empty: there is no profile."""
    city: str = ""
    about: str = ""
    change: int = 0
    """How often it has been saved."""


class SaveProfile(Command["Profile", int]):
    """Answered by how often the profile has been saved."""

    name: str
    city: str
    about: str


class RemoveProfile(Command["Profile", None]): ...


class Look(Query["Profile", ProfileState]):
    """What does the profile say?"""


ProfileCommand = SaveProfile | RemoveProfile
ProfileEvent = ProfileSaved | ProfileRemoved


class Profile(Service[ProfileState, ProfileCommand, ProfileEvent]):
    """A person's profile, by an id: ``Profile.at("ana")``."""

    initial = ProfileState()

    def decide(self, state: ProfileState, command: ProfileCommand) -> Decision:
        """Save what is new, if it makes sense."""
        match command:
            case SaveProfile(name) if not name.strip():
                raise Refused("a profile needs a name")
            case SaveProfile(about=about) if len(about) > LONGEST:
                raise Refused(f"{len(about):,} characters are too many; {LONGEST:,} are the most")
            case SaveProfile(name, city, about) if (name, city, about) == (state.name, state.city, state.about):
                return command.reply(state.change)
            case SaveProfile(name, city, about):
                change = state.change + 1
                return command.reply(change, ProfileSaved(name, city, about, change))
            case RemoveProfile():
                return command.reply(None, *([ProfileRemoved()] if state.name else []))
            case _:
                assert_never(command)

    def evolve(self, state: ProfileState, event: ProfileEvent) -> ProfileState:
        """Return the next state; the one that was given stays as it is."""
        match event:
            case ProfileSaved(name, city, about, change):
                return ProfileState(name, city, about, change)
            case ProfileRemoved():
                return replace(state, name="", city="", about="")
            case _:
                assert_never(event)

    def answer(self, state: ProfileState, query: Look) -> ProfileState:  # noqa: ARG002 (there is but one question)
        """Tell what it says now."""
        return state
