"""The log of a simulated runtime: told among all else that happens, or to nobody."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

from runtime.simulation.machine import Machine

_LOGGER = logging.getLogger("understudy")


class _Teller(logging.Handler):
    def __init__(self, machine: Machine) -> None:
        super().__init__(logging.WARNING)
        self._machine = machine

    def emit(self, record: logging.LogRecord) -> None:
        if not self._machine.loop.dead:
            self._machine.note("log", "", "", record.getMessage())


@contextmanager
def told_to(machine: Machine, *, logs: bool) -> Generator[None]:
    """Keep the host's log free of what is logged meanwhile; with ``logs``, note it with what happens."""
    disabled, propagate = _LOGGER.disabled, _LOGGER.propagate
    teller = _Teller(machine)
    _LOGGER.disabled, _LOGGER.propagate = not logs, False
    if logs:
        _LOGGER.addHandler(teller)
    try:
        yield
    finally:
        _LOGGER.disabled, _LOGGER.propagate = disabled, propagate
        _LOGGER.removeHandler(teller)
