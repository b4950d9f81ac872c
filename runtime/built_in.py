"""The actors that every runtime has beside those that it is given."""

from runtime.planner import Place, Planner, planner
from runtime.reminders import Reminders
from runtime.schedules import Schedules
from runtime.subjects import Subjects

BUILT_IN: tuple[type, ...] = (Reminders, Subjects, Schedules, Planner)
"""Their classes, for who only reads what they have written."""


def built_in(node: Place) -> list[type]:
    """Return their classes as they are at work in a node."""
    return [Reminders, Subjects, Schedules, planner(node, node.clock.now())]
