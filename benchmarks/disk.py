"""How long a disk takes to say that something is on it: measured, and made longer for all who are measured.

Who commits each change by itself waits for the disk each time; who commits many at once hardly notices it. So a ratio
between the two says little without the disk's time, and two machines are compared by giving both the slower one's.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).parent / "slow_fsync.c"
PAGE, TRIES = 4096, 200
LEAST = "SLOW_FSYNC_US"


def print_fsync() -> None:
    """Print what the median of some appends of a page takes to be on the disk, in milliseconds."""
    seconds: list[float] = []
    with tempfile.TemporaryFile() as file:
        for n in range(TRIES):
            os.pwrite(file.fileno(), bytes(PAGE), n * PAGE)
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - begun)
    print(f"an fsync takes {statistics.median(seconds) * 1e3:.2f} ms here (median of {TRIES} appended pages)")


def _slowed(milliseconds: str) -> float:
    """Begin this program anew, with a disk that takes so long at least; its children inherit that."""
    least = str(int(float(milliseconds) * 1e3))
    if os.environ.get(LEAST) != least:
        library = Path(tempfile.mkdtemp()) / "slow_fsync.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        os.environ.update({LEAST: least, "LD_PRELOAD": str(library)})
        os.execv(sys.executable, sys.orig_argv)
    return float(milliseconds)


def add_fsync(parser: argparse.ArgumentParser) -> None:
    """Give a command ``--fsync``, in milliseconds."""
    what = (
        "let each fsync take so many milliseconds at least, for all who are measured (needs a C compiler; PostgreSQL's "
    )
    parser.add_argument("--fsync", type=_slowed, metavar="MS", help=what + "server keeps its own)")
