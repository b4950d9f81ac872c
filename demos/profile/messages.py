"""What can happen to a profile. These events are what the journal keeps, for ever."""

from actors import Event


class ProfileSaved(Event):
    """This is what it says from now on."""

    name: str
    city: str
    about: str
    change: int
    """How often it has been saved, this time included."""


class ProfileRemoved(Event):
    """It is not to be found any more."""
