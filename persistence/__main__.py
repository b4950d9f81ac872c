"""The command line: ``python -m persistence --help``."""

import sys

from persistence.command_line import main

if __name__ == "__main__":
    sys.exit(main())
