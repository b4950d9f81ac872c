"""What the runtime itself has to say to a service, through its mailbox, so that it comes between two turns."""

import msgspec


class ServiceMail(msgspec.Struct):
    """The base of it all, so that a turn needs one look to tell it from a command."""


class TakeSnapshot(ServiceMail):
    """Keep the state as it is now in a snapshot."""


class Erase(ServiceMail):
    """Erase the events with versions below ``before``, as a step on the way to ``until``."""

    before: int
    until: int


class Delete(ServiceMail):
    """Begin anew, or (``for_good``) end; answered by the version of the event that says so, 0: there was nothing.

    Of what is before it, events with versions below ``erase_before`` are erased at once.
    """

    for_good: bool
    erase_before: int
