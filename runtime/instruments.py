"""Instruments: what programs plug into a runtime to see what it does, and how it is kept from harm by them."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, Literal, ParamSpec, Protocol

from actors import Address
from runtime.log import log

P = ParamSpec("P")

Outcome = Literal["done", "refused", "failed"]
"""How the handling of a message ended."""
End = Literal["completed", "compensated"]
"""How a saga ended."""
StopReason = Literal["rested", "finished", "killed"]
"""Why an incarnation ended that did not crash."""


class Instrument(Protocol):
    """What is told of what a runtime does, as it happens, in the middle of its work: it must be quick, and never wait.

    A method that raises is not called again; that is logged once, and harms nobody. Messages are named by their class;
    their content is never handed out. Make yours from :class:`BaseInstrument`, and write only the methods that you
    need. Messages of the runtime's own have names too: ``Due``, ``Join``, ``Part``, ``StepOutcome``, ``Wake``
    and others.
    """

    def sent(self, address: Address[Any], message: str, /) -> None:
        """Take note of a message that is put into a mailbox."""
        ...

    def handled(self, address: Address[Any], message: str, seconds: float, outcome: Outcome, /) -> None:
        """Take note of a message that was handled, in so many seconds; those of an async actor include its waiting.

        A query is told too, with the read model that answered it.
        """
        ...

    def started(self, address: Address[Any], /) -> None:
        """Take note of an actor that is ready for its mail, and has read its journal."""
        ...

    def stopped(self, address: Address[Any], reason: StopReason, /) -> None:
        """Take note of an actor that ended without a crash."""
        ...

    def crashed(self, address: Address[Any], error: BaseException, /) -> None:
        """Take note of an actor that crashed, or of a read model that failed at an event."""
        ...

    def restarted(self, address: Address[Any], /) -> None:
        """Take note of an actor that is being started again after a crash."""
        ...

    def parked(self, address: Address[Any], error: BaseException, /) -> None:
        """Take note of an actor, a saga or a read model that was set aside."""
        ...

    def saga_ended(self, address: Address[Any], end: End, seconds: float, /) -> None:
        """Take note of a saga that ended, so many seconds (of wall time) after it was started."""
        ...

    def group_written(self, events: int, seconds: float, /) -> None:
        """Take note of a group of events that is durable now; to write and sync it took so many seconds."""
        ...

    def projected(self, read_model: str, events: int, seconds: float, /) -> None:
        """Take note of a batch of events that is in a read model's tables now, or that it passed over."""
        ...

    def dead_letter(self, address: Address[Any], message: str, error: Exception, /) -> None:
        """Take note of a message that nobody waits for and that could not be handled."""
        ...

    def mailbox_full(self, address: Address[Any], /) -> None:
        """Take note of a sender that found no room: it waits, is refused, or its message is dropped."""
        ...


class BaseInstrument:
    """An instrument that does nothing, to be made into one that does something; what it leaves out costs nothing."""

    def sent(self, address: Address[Any], message: str, /) -> None:
        """See :meth:`Instrument.sent`."""

    def handled(self, address: Address[Any], message: str, seconds: float, outcome: Outcome, /) -> None:
        """See :meth:`Instrument.handled`."""

    def started(self, address: Address[Any], /) -> None:
        """See :meth:`Instrument.started`."""

    def stopped(self, address: Address[Any], reason: StopReason, /) -> None:
        """See :meth:`Instrument.stopped`."""

    def crashed(self, address: Address[Any], error: BaseException, /) -> None:
        """See :meth:`Instrument.crashed`."""

    def restarted(self, address: Address[Any], /) -> None:
        """See :meth:`Instrument.restarted`."""

    def parked(self, address: Address[Any], error: BaseException, /) -> None:
        """See :meth:`Instrument.parked`."""

    def saga_ended(self, address: Address[Any], end: End, seconds: float, /) -> None:
        """See :meth:`Instrument.saga_ended`."""

    def group_written(self, events: int, seconds: float, /) -> None:
        """See :meth:`Instrument.group_written`."""

    def projected(self, read_model: str, events: int, seconds: float, /) -> None:
        """See :meth:`Instrument.projected`."""

    def dead_letter(self, address: Address[Any], message: str, error: Exception, /) -> None:
        """See :meth:`Instrument.dead_letter`."""

    def mailbox_full(self, address: Address[Any], /) -> None:
        """See :meth:`Instrument.mailbox_full`."""


class Hooks(Generic[P]):
    """One method of all instruments; called as one, and safe to call."""

    def __init__(self, hooks: Iterable[Callable[P, None]]) -> None:
        self._hooks = tuple(hook for hook in hooks if not _does_nothing(hook))

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Tell all instruments; one that raises is not told again."""
        for hook in self._hooks:
            try:
                hook(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 (a stranger's code in the middle of a turn, which it must not harm)
                self._hooks = tuple(other for other in self._hooks if other is not hook)
                name = getattr(hook, "__qualname__", repr(hook))
                log.error("an instrument failed, and is not called again", hook=name, error=repr(error))


def _does_nothing(hook: object) -> bool:
    function = getattr(hook, "__func__", None)
    return function is not None and function is getattr(BaseInstrument, function.__name__, None)
