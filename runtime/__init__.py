"""The engine: runs actors on a journal."""

from runtime.chaos import Chaos
from runtime.clock import Clock, ManualClock, SystemClock
from runtime.history import HistoryEntry
from runtime.reminders import PendingReminder
from runtime.runtime import Runtime

__all__ = ["Chaos", "Clock", "HistoryEntry", "ManualClock", "PendingReminder", "Runtime", "SystemClock"]
