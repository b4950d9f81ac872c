"""The engine: runs actors on a journal."""

from runtime.chaos import Chaos
from runtime.clock import Clock, ManualClock, SystemClock
from runtime.dead_letters import DeadLetter
from runtime.history import HistoryEntry
from runtime.reminders import PendingReminder
from runtime.runtime import Runtime
from runtime.signals import stop_on_signals

__all__ = [
    "Chaos",
    "Clock",
    "DeadLetter",
    "HistoryEntry",
    "ManualClock",
    "PendingReminder",
    "Runtime",
    "SystemClock",
    "stop_on_signals",
]
