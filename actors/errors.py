"""Every error that users of actors can meet, in one place.

A *refusal* is a business 'no': nothing was written. A *failure* is a technical 'no': a bug, a crash, a timeout.
*Unknown* means that the request may or may not have taken effect; asking again with the same id resolves it.
"""


class UnderstudyError(Exception):
    """The base of all errors raised by Understudy's actors and runtime."""


class DefinitionError(UnderstudyError, TypeError):
    """A class can't work as it is written; the message says what to write instead."""


class Refused(UnderstudyError):
    """A business 'no'. Raised by ``decide`` or a saga, and by ``ask`` at the asker; nothing was written."""

    def __init__(self, reason: str = "refused") -> None:
        # It is stored and sent, so it must be text that can be; an error that is handed in is told as text.
        self.reason = str(reason).encode("utf-8", "replace").decode()
        super().__init__(self.reason)


class Locked(Refused):
    """Another saga is in the middle of something with the service, and holds a lock that the command needs.

    Ask again when it has ended. ``lock`` is the lock's name, ``holder`` the saga's address as text.
    """

    def __init__(self, reason: str, lock: str, holder: str) -> None:
        super().__init__(reason)
        self.lock = lock
        self.holder = holder


class Deadlock(Locked):
    """Sagas would wait for each other's locks in a circle, which the message names; this step closed it."""


class DeletedForGood(Refused):
    """The actor was deleted for good, and refuses everything from then on; use another key."""


class Failed(UnderstudyError):
    """The actor could not handle the message for a technical reason; nothing was written for it.

    Asking again, with the same id, is safe. ``__cause__`` is the error where it is known.
    """


class Elsewhere(Failed):
    """The actor lives in another process: its events belong to another owner of the journal, whom the message names."""


class Unreachable(Failed):
    """No node that serves the actor's class could be reached; nothing was done. Asking again later is safe."""


class OutcomeUnknown(UnderstudyError):
    """The request may or may not have taken effect; ask again with the same id to learn which."""


class WrongLoop(OutcomeUnknown):
    """A runtime was used from another event loop than the one that opened it, or from another thread."""


class Parked(UnderstudyError):
    """The actor was set aside because retrying did not help; the message names the error that stopped it."""


class CommandIdReused(UnderstudyError):
    """A command came with the id of an earlier, different command. Ids name one command for ever."""


class ReplyErased(UnderstudyError):
    """The command has taken effect before, once; but its events, and its reply with them, were erased since."""


class EventsErased(UnderstudyError):
    """Events that are needed to tell a state were erased; the message says up to which version, and what to do."""


class NotYet(UnderstudyError, ValueError):
    """A moment that was asked about has not come: a version or a position beyond the last, or a time in the future."""


class UnknownActor(UnderstudyError):
    """The runtime was not given this actor's class, or the address names a class that isn't there."""


class NotTaken(UnderstudyError):
    """The actor at this address doesn't take messages of this type."""


class MailboxFull(UnderstudyError):
    """The actor's mailbox is at its limit, and the sender would not or could not wait."""


class AskCycle(UnderstudyError):
    """Actors asked each other in a circle, and each would wait for the next for ever; the message names the path."""


class ActorMisuse(UnderstudyError):
    """A plain actor's code did what it can't do; the message says what to write instead."""


class InterceptorMisuse(UnderstudyError):
    """An interceptor did what it can't do; the message says what to write instead."""


class RuntimeClosed(UnderstudyError):
    """The runtime is not open: it has not been entered yet, is closing, or another process has taken its place."""


class ReadModelBehind(UnderstudyError):
    """A read model has not caught up in time; the events themselves are safe."""


class SagaMismatch(UnderstudyError):
    """Running the saga's code against its journal gave another story; the message shows both sides."""


class SagaMisuse(UnderstudyError):
    """The saga's code did what a saga can't do; the message says what to write instead."""


class SagaGaveUp(UnderstudyError):
    """A step, or its undo, failed until its budget was spent, or in a way that no retry can mend."""


class SagaKilled(UnderstudyError):
    """A person or a program ended the saga where it stood: what was done stands, and what was not is not. See why."""


class PoisonMessage(OutcomeUnknown):
    """The process ended again and again while this was under way, so it is not begun once more."""


class JournalMismatch(UnderstudyError):
    """The journal holds something that today's code doesn't know: an event type, or a field's form."""


class ExtraMissing(UnderstudyError):
    """What was asked for needs a library that is not installed; the message says how to install it."""


class BadNetworkUrl(UnderstudyError, ValueError):
    """The network's URL can't be understood; the message says what to write."""


class NetworkUnusable(UnderstudyError):
    """The network can't be reached, or two nodes can't be in it together; the message says why."""


class UnknownSchedule(UnderstudyError):
    """There is no schedule of this name."""


class Forgotten(UnderstudyError):
    """A personal value is gone: the key of the person that it belonged to was destroyed."""


def in_words(value: object) -> str:
    """Return what stands where something else should, for an error: ``a str``, or ``the class Hold``."""
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
