"""The command line: ``python -m demos.orders --help``."""

import sys

from demos import command_line
from demos.command_line import Demo
from demos.orders import ACTORS, ON_POSTGRES, load, story

DEMO = Demo(
    name="orders",
    things="orders",
    verb="take",
    description="Takes orders: reserved, approved, paid and shipped, or cancelled, whatever breaks.",
    actors=ACTORS,
    tell=story.tell,
    load=load.run,
    on_postgres=ON_POSTGRES,
)

if __name__ == "__main__":
    sys.exit(command_line.main(DEMO))
