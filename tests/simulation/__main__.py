"""The sabotage table: ``python -m tests.simulation`` plants each bug, and prints how many runs it took to find it."""

import pytest

from tests.simulation.sabotage import BUGS, found


def table() -> list[str]:
    """Return the rows of the table that docs/testing.md has."""
    rows = ["| planted bug | found in run | by | broken |", "|---|---|---|---|"]
    for bug in BUGS:
        with pytest.MonkeyPatch.context() as plant:
            failed = found(bug, plant)
        fault = " ".join(map(str, failed.result.fired)) or "nothing going wrong"
        assert failed.result.broken is not None
        rows.append(f"| {bug.__name__.replace('_', ' ')} | {failed.runs} | {fault} | {failed.result.broken.name} |")
    return rows


if __name__ == "__main__":
    print(*table(), sep="\n")
