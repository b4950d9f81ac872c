"""The command line: ``python -m demos.trip --help``."""

import sys

from demos import command_line
from demos.command_line import Demo
from demos.trip import ACTORS, load, story

DEMO = Demo(
    name="trip",
    things="trips",
    verb="book",
    description="Books trips: a seat on a flight, a hotel room and a cab, or none of them, whatever breaks.",
    actors=ACTORS,
    tell=story.tell,
    load=load.run,
)

if __name__ == "__main__":
    sys.exit(command_line.main(DEMO))
