"""Alerts: what of a saga needs a person."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from actors import Address
from persistence.writer import Writer
from runtime.log import log

FAILURES = 5
"""After so many failures of one undo somebody is told; it is tried again all the same."""


class SagaAlert(msgspec.Struct, frozen=True):
    """A saga needs a person: it is ``"parked"``, or an ``"undo"`` has failed five times and is tried again.

    ``step`` is the one whose undo fails, "" where it is the saga that is parked. ``error`` says what went wrong.
    """

    saga: Address[Any]
    what: Literal["parked", "undo"]
    step: str
    error: str


OnAlert = Callable[[SagaAlert], None]
"""Takes in an alert; called from the event loop when what it tells is durable, so it must not block."""


class Alerts:
    """Tells of alerts when they are durable."""

    def __init__(self, writer: Writer, on_alert: OnAlert | None) -> None:
        self._writer = writer
        self._on_alert = on_alert

    def tell(self, alert: SagaAlert) -> None:
        """Tell who looks after sagas that one needs a person."""
        if self._on_alert is not None:
            self._writer.hold(lambda durable: self._hand_on(alert) if durable else None)

    def _hand_on(self, alert: SagaAlert) -> None:
        assert self._on_alert is not None
        try:
            self._on_alert(alert)
        except Exception as error:  # noqa: BLE001 (whatever it is, it must not stop what it is told of)
            log.error("the alert hook failed", saga=str(alert.saga), error=repr(error))
