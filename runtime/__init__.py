"""The engine: runs actors on a journal."""

from runtime.chaos import Chaos
from runtime.clock import Clock, ManualClock, SystemClock
from runtime.dead_letters import DeadLetter
from runtime.history import HistoryEntry
from runtime.instruments import BaseInstrument, Instrument
from runtime.reminders import PendingReminder
from runtime.runtime import Runtime
from runtime.signals import stop_on_signals
from runtime.stats import Stats

__all__ = [
    "BaseInstrument",
    "Chaos",
    "Clock",
    "DeadLetter",
    "HistoryEntry",
    "Instrument",
    "ManualClock",
    "PendingReminder",
    "Runtime",
    "Stats",
    "SystemClock",
    "stop_on_signals",
]
