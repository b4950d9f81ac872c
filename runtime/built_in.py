"""The actors that every runtime has beside those that it is given."""

from typing import Any

from runtime.planner import Planner, planner
from runtime.reminders import Reminders
from runtime.schedules import Schedules
from runtime.subjects import Subjects
from runtime.subscribers import Subscribers

BUILT_IN: tuple[type, ...] = (Reminders, Subjects, Subscribers, Schedules, Planner)
"""Their classes, for who only reads what they have written."""


def built_in(node: Any) -> list[type]:
    """Return their classes as they are at work in a node, which is only being made (so its type can't be told yet)."""
    return [Reminders, Subjects, Subscribers, Schedules, planner(node, node.clock.now())]
