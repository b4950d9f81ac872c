"""Personal data: values that belong to a person, who may ask to be forgotten.

A field of any message or state can be one; it says whose it is::

    class SignedUp(Event):
        email: Personal[str]

    SignedUp(Personal("customer:7", "ana@example.org"))

In memory it holds the value. Wherever it is stored it is sealed: encrypted with a key that its subject alone has, so
that whoever destroys the key has the value forgotten everywhere, backups and exports included. The subject itself is
not encrypted; name people by ids that say nothing of them.
"""

from typing import Any, Final, Generic, Protocol, TypeVar, overload

from actors.errors import Forgotten
from actors.messages import Event

T_co = TypeVar("T_co", covariant=True)
D = TypeVar("D")

SUBJECT_LIMIT = 200
"""The most characters that a subject's name may have."""
_NOTHING: Final = object()


class Seal(Protocol):
    """What a runtime has made of a personal value to store it."""

    @property
    def text(self) -> bytes:
        """The value, encrypted."""
        ...

    @property
    def gone(self) -> bool:
        """Whether its key was destroyed."""
        ...


class Personal(Generic[T_co]):
    """A value that belongs to a subject, and can be forgotten. It is never shown: not in logs, errors or tracebacks.

    ``subject`` names whose it is, in up to 200 characters; all that is known of one subject is forgotten together. Two
    are equal if subject and value are; forgotten ones, if they were stored as the same.

    Raises:
        ValueError: the subject is no name.
    """

    __slots__ = ("_seal", "_subject", "_value")

    def __init__(self, subject: str, value: T_co) -> None:
        # A class that msgspec doesn't know, on purpose: what nobody seals it refuses to write.
        if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_LIMIT:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(
                f"a subject is named by a text of 1 to {SUBJECT_LIMIT} characters; write Personal('customer:7', value)"
            )
        self._subject = subject
        self._value: Any = value
        self._seal: Seal | None = None

    @property
    def subject(self) -> str:
        """Whose it is."""
        return self._subject

    @property
    def forgotten(self) -> bool:
        """Whether the value is gone."""
        return self._value is _NOTHING or (self._seal is not None and self._seal.gone)

    @property
    def value(self) -> T_co:
        """The value.

        Raises:
            Forgotten: the subject's key was destroyed.
        """
        if self.forgotten:
            raise Forgotten(f"what was known of {self._subject!r} is forgotten; .get(default) tells something else")
        value: T_co = self._value
        return value

    @overload
    def get(self) -> T_co | None: ...
    @overload
    def get(self, default: D) -> T_co | D: ...

    def get(self, default: Any = None) -> Any:
        """Return the value, or ``default`` where it is forgotten."""
        return default if self.forgotten else self._value

    def __repr__(self) -> str:
        return f"Personal({self._subject!r}, {'forgotten' if self.forgotten else '...'})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Personal):
            return NotImplemented
        if self is other:
            return True
        if self._subject != other._subject or self.forgotten is not other.forgotten:
            return False
        if self.forgotten:
            return self._seal is not None and other._seal is not None and self._seal.text == other._seal.text
        return bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash(self._subject)  # the value need not have a hash, and may go

    def __reduce__(self) -> Any:
        raise TypeError("a personal value is not pickled, for that would show it; store it in a message")

    def __copy__(self) -> "Personal[T_co]":
        return self

    def __deepcopy__(self, _: Any) -> "Personal[T_co]":
        return self


class SubjectForgotten(Event, tag="runtime.subject-forgotten"):
    """A subject's key was destroyed. Read models follow it to blank what they hold of the subject."""

    subject: str
    key: str
    """The id of the key."""


def seal_of(personal: Personal[Any]) -> Seal | None:
    """Return what a runtime has made of the value, if one has."""
    return personal._seal  # pyright: ignore[reportPrivateUsage]


def note_seal(personal: Personal[Any], seal: Seal) -> None:
    """Note what a runtime has made of the value: stored again, it is the same."""
    personal._seal = seal  # pyright: ignore[reportPrivateUsage]


def sealed(subject: str, seal: Seal) -> Personal[Any]:
    """Return a value that can't be opened."""
    personal: Personal[Any] = Personal(subject, _NOTHING)
    note_seal(personal, seal)
    return personal
