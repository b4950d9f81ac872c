"""In whose name something is done: a value that goes with each message, and stands in the metadata of each event."""

import msgspec

from actors.request_context import Texts, scope


class Origin(msgspec.Struct, frozen=True, gc=False):
    """``correlation`` names the request or saga in whose name it is; "": its own. ``context``: in which one."""

    correlation: str = ""
    context: Texts | None = None


def origin_of(correlation: str, context: Texts | None) -> Origin | None:
    """Return an origin; None where there is nothing to say."""
    return Origin(correlation, context) if correlation or context is not None else None


def caller() -> Origin | None:
    """Return the origin of what is sent from outside: only the request context that is current there."""
    now = scope.get()
    return None if now is None else origin_of("", now.texts)
