"""What is said of a failure, and whose fault it was."""

from types import CoroutineType
from typing import Any

from actors import Address, AskCycle, Failed, Refused
from actors.errors import in_words
from persistence import JournalDamaged, JournalError


def failure(address: Address[Any], message: object, error: BaseException) -> Exception:
    """Return what to tell the asker of a message that an actor could not handle."""
    if isinstance(error, (Refused, AskCycle)):
        return error
    failed = Failed(f"{address} failed at {type(message).__name__}: {type(error).__name__}: {error}")
    failed.__cause__ = error
    return failed


def passing(error: BaseException) -> bool:
    """Whether it is the journal that could not be used, which passes, and not the actor that failed."""
    return isinstance(error, JournalError) and not isinstance(error, JournalDamaged)


def no_state(name: str, expected: type, returned: object) -> TypeError:
    """Return the error for an ``evolve`` that returned no state; what it was is told by its type."""
    what = "None; does every branch return one?" if returned is None else in_words(returned)
    return TypeError(f"{name}.evolve must return the next {expected.__name__}, not {what}")


def no_decision(name: str, returned: object) -> TypeError:
    """Return the error for what is none; what it was is told by its type, for it may hold what a message held."""
    what = "None" if returned is None else in_words(returned)
    if isinstance(returned, CoroutineType):
        returned.close()
        what += "; write def decide, without async"
    return TypeError(f"{name}.decide must return command.reply(...), not {what}")
