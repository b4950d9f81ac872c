"""In whose name something is done: a value that goes with each message, and stands in the metadata of each event."""

import msgspec

from actors.request_context import Texts


class Origin(msgspec.Struct, frozen=True, gc=False):
    """``correlation`` names the request or saga in whose name it is; "": its own. ``context`` is the request context."""

    correlation: str = ""
    context: Texts | None = None


def origin_of(correlation: str, context: Texts | None) -> Origin | None:
    """Return an origin; None where there is nothing to say."""
    return Origin(correlation, context) if correlation or context is not None else None
