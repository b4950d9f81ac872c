"""The long run: ``python -m tests.fuzz --examples 100000``, with other arguments for pytest behind it."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tests.fuzz import VARIABLE


def main(arguments: list[str]) -> int:
    """Run the folder with as many examples of each test; return pytest's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=10_000, help="of each test (default: 10,000)")
    options, rest = parser.parse_known_args(arguments)
    command = [sys.executable, "-m", "pytest", str(Path(__file__).parent), "-q", *rest]
    return subprocess.call(command, env={**os.environ, VARIABLE: str(options.examples)})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
