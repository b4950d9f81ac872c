"""Limits of what a journal holds: well above what anyone needs, so that one mistake does not cost everybody.

Lengths of texts are in characters. PostgreSQL's indexes hold digests of texts, and SQLite's hold texts of any length,
so it is not they that set these limits.
"""

MAX_PAYLOAD = 1_048_576
"""The largest payload of one event, command or reply, in bytes of JSON, unless told otherwise: 1 MiB."""
LEAST_PAYLOAD, MOST_PAYLOAD = 1_024, 16_777_216
"""What ``max_payload`` can be: 1 KiB to 16 MiB."""
MAX_DEPTH = 128
"""How many lists and objects may stand within each other. Python would take some hundreds, and fewer where more calls
are under way: what was written in one place could not be read in another."""
WRAPPED_PAYLOAD, WRAPPED_DEPTH = 2 * MOST_PAYLOAD + MAX_PAYLOAD, MAX_DEPTH + 8
"""The same for what a runtime writes around payloads: a saga's step holds a command and its undo."""
MAX_SNAPSHOT = 67_108_864
"""The largest snapshot, in bytes: 64 MiB."""
NAME_LENGTH = 255
"""Of a stream's category, and of an event's type."""
KEY_LENGTH = 2_048
"""Of a stream's key."""
ID_LENGTH = 2_048
"""Of the id of an event or of a command."""
TAG_LENGTH, MOST_TAGS = 1_024, 100
"""Of a tag, and how many an event may have."""
MOST_EVENTS = 10_000
"""How many events one append may have, and how many appends one batch."""

_SLICE = 65_536
_ONE_SORT = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def usable_limit(max_payload: int) -> int:
    """Return a ``max_payload`` that can be used.

    Raises:
        ValueError: it is too small, or too large.
    """
    if not LEAST_PAYLOAD <= max_payload <= MOST_PAYLOAD:
        raise ValueError(
            f"max_payload is {LEAST_PAYLOAD:,} to {MOST_PAYLOAD:,} bytes, not {max_payload:,}; keep what is larger in "
            "a file or an object store, and its name in the event"
        )
    return max_payload


def oversize(size: int, limit: int) -> str:
    """Return what is wrong with a payload of this size, and what to do."""
    told = f"it has {size:,} bytes, the limit is {limit:,}"
    return told if limit >= MOST_PAYLOAD else f"{told}; max_payload= raises it, up to {MOST_PAYLOAD:,}"


def too_deep(data: bytes, limit: int = MAX_DEPTH) -> bool:
    """Return whether more lists and objects stand within each other in JSON than may; what is no JSON may pass.

    Most JSON has too few brackets for it, and the rest is looked at by calls that run through many bytes each.
    """
    if len(data) <= 2 * limit or data.count(b"[") + data.count(b"{") <= limit:
        return False
    brackets = _brackets(data)
    for _ in range(limit):
        inner = brackets.replace(b"[]", b"")  # takes away the innermost level, and only that
        if len(inner) == len(brackets):
            return False
        brackets = inner
    return bool(brackets)


def _brackets(data: bytes) -> bytes:
    """Return the brackets of JSON, those in its texts left out, all of one sort."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    found: list[bytes] = []
    inside = 0
    for start in range(0, len(data), _SLICE):
        parts = data[start : start + _SLICE].split(b'"')
        found.append(b"".join(parts[inside::2]).translate(_ONE_SORT, _NO_BRACKETS))
        inside ^= (len(parts) - 1) & 1
    return b"".join(found)
