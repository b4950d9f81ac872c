"""The engine: runs actors on a journal."""

from persistence import KeyFile, MemoryKeys
from runtime.chaos import Chaos
from runtime.clock import Clock, ManualClock, SystemClock
from runtime.dead_letters import DeadLetter
from runtime.differences import Change, Difference, Position
from runtime.drawing import draw
from runtime.history import HistoryEntry
from runtime.instruments import BaseInstrument, Instrument
from runtime.journal_check import CheckReport, check_archive, check_journal
from runtime.locks import HeldLock
from runtime.reminders import PendingReminder
from runtime.retrying import retrying
from runtime.runtime import Runtime
from runtime.saga_alerts import OnAlert, SagaAlert
from runtime.saga_progress import PlannedUndo, SagaProgress, StepProgress
from runtime.sagas import SagaControl
from runtime.scheduling import ScheduledRun, ScheduleInfo
from runtime.set_aside import ParkedEvent, SkippedEvent
from runtime.signals import stop_on_signals
from runtime.stats import Stats

__all__ = [
    "BaseInstrument",
    "Change",
    "Chaos",
    "CheckReport",
    "Clock",
    "DeadLetter",
    "Difference",
    "HeldLock",
    "HistoryEntry",
    "Instrument",
    "KeyFile",
    "ManualClock",
    "MemoryKeys",
    "OnAlert",
    "ParkedEvent",
    "PendingReminder",
    "PlannedUndo",
    "Position",
    "Runtime",
    "SagaAlert",
    "SagaControl",
    "SagaProgress",
    "ScheduleInfo",
    "ScheduledRun",
    "SkippedEvent",
    "Stats",
    "StepProgress",
    "SystemClock",
    "check_archive",
    "check_journal",
    "draw",
    "retrying",
    "stop_on_signals",
]
