"""The command line: ``python -m demos.profile --help``."""

import sys

from demos import command_line
from demos.command_line import Demo
from demos.profile import ACTORS, ON_POSTGRES, load, story

DEMO = Demo(
    name="profile",
    things="updates",
    verb="save",
    description="Changes profiles at once, and finds them by their words some milliseconds later.",
    actors=ACTORS,
    tell=story.tell,
    load=load.run,
    on_postgres=ON_POSTGRES,
)

if __name__ == "__main__":
    sys.exit(command_line.main(DEMO))
