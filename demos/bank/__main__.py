"""The command line: ``python -m demos.bank --help``."""

import sys

from demos import command_line
from demos.bank import ACTORS, load, looking_back, story
from demos.command_line import Demo

DEMO = Demo(
    name="bank",
    things="transfers",
    verb="make",
    description="Moves money between accounts: whole or not at all, at once or by saga, whatever breaks.",
    actors=ACTORS,
    tell=story.tell,
    load=load.run,
    as_it_was=looking_back.as_it_was,
)

if __name__ == "__main__":
    sys.exit(command_line.main(DEMO))
