"""Errors on their way to another node: what a caller can meet comes back as what it was, and all else as unknown."""

from functools import lru_cache
from typing import Any

from actors import Deadlock, Failed, Locked, OutcomeUnknown, Refused, RuntimeClosed, UnderstudyError, errors
from runtime.cluster import frames

KNOWN: dict[str, type[UnderstudyError]] = {
    name: found
    for name, found in vars(errors).items()
    if isinstance(found, type) and issubclass(found, UnderstudyError)
}
"""The errors that a caller can meet, by name. Others are told as the nearest of these that they are made from."""
LONGEST_TEXT = 10_000
"""Characters of an error's text that are sent."""
MOST_CAUSES, LONGEST_NAME = 16, 200
"""How many classes of a cause are named, and characters of such a name."""


class RemoteCause(Exception):
    """What a failure on another node was raised from: there it has a class of this name."""


def told(life: str, number: int, error: BaseException, *, uncertain: bool = False) -> frames.Failed:
    """Return an error as it is sent."""
    name = next((cls.__name__ for cls in type(error).__mro__ if KNOWN.get(cls.__name__) is cls), "")
    if not name or isinstance(error, RuntimeClosed):
        # Nothing that a caller should meet, whose own runtime is open; what it means for the request is not known.
        name = OutcomeUnknown.__name__
    details = (_text(error.lock), _text(error.holder)) if isinstance(error, Locked) else ()
    text = error.reason if isinstance(error, Refused) else str(error)
    cause, causes = error.__cause__, tuple[str, ...]()
    if cause is not None and isinstance(error, Failed):
        classes = [cls for cls in type(cause).__mro__ if cls not in (Exception, BaseException, object)]
        causes = tuple([cls.__name__[:LONGEST_NAME] for cls in classes[:MOST_CAUSES]])
    return frames.Failed(frames.VERSION, life, number, name, _text(text), details, causes, uncertain)


def _text(text: str) -> str:
    return text[:LONGEST_TEXT].encode("utf-8", "replace").decode()


def error_of(frame: frames.Failed) -> Exception:
    """Return the error that another node has told."""
    cls = KNOWN.get(frame.error)
    if cls is None:
        return OutcomeUnknown(f"another node has met an error that is not known here, {frame.error:.200}: {frame.text}")
    if issubclass(cls, Locked):
        lock, holder = frame.details if len(frame.details) == len(("lock", "holder")) else ("", "")
        locked = Deadlock if issubclass(cls, Deadlock) else Locked
        return locked(frame.text, lock, holder)
    error = cls(frame.text)
    if frame.causes and isinstance(error, Failed):
        error.__cause__ = _cause(tuple(name[:LONGEST_NAME] for name in frame.causes[:MOST_CAUSES]))(frame.text)
    return error


@lru_cache(maxsize=256)
def _cause(names: tuple[str, ...]) -> type[RemoteCause]:
    """Return a class with these names in its line, so that who looks for one of them by name finds it (``final=``)."""
    cls: type[RemoteCause] = RemoteCause
    for name in reversed(names):
        made: type[Any] = type(
            name.replace("\0", " "), (cls,), {"__doc__": RemoteCause.__doc__, "__module__": __name__}
        )
        cls = made
    return cls
