"""The command line: ``python -m demos.orders --help``."""

import sys

from demos import command_line
from demos.command_line import Demo
from demos.orders import ACTORS, load, story

DEMO = Demo(
    name="orders",
    things="orders",
    verb="take",
    description="Takes orders: reserved, approved, paid and shipped, or cancelled, whatever breaks.",
    actors=ACTORS,
    tell=story.tell,
    load=load.run,
)

if __name__ == "__main__":
    sys.exit(command_line.main(DEMO))
