"""Bad options and bad journals: one clear line, exit code 2, no traceback."""

import sqlite3
from pathlib import Path

import pytest

from demos.trip import ACTORS
from runtime import Runtime
from tests.demos.conftest import Run, check_help


def complaint(trip: Run, *arguments: str) -> str:
    """Run what can't be run, and return the one line that it says."""
    done = trip(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == "" or not arguments[-1].startswith("--json")
    return done.stderr.removeprefix("python -m demos.trip: ").removesuffix("\n")


@pytest.fixture
def path(tmp_path: Path, trip: Run) -> Path:
    """A journal of some trips."""
    path = tmp_path / "trips.db"
    assert trip("--trips", "20", "--journal", f"sqlite:{path}").returncode == 0
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--trips", "-1"), "argument --trips: it must be a whole number from 0 to 1,000,000, not '-1' (see --help)"),
        (
            ("--trips", "many"),
            "argument --trips: it must be a whole number from 0 to 1,000,000, not 'many' (see --help)",
        ),
        (("--trips", "1000001"), "argument --trips: it must be a whole number"),
        (("--kill", "1"), "argument --kill: it must be a number from 0 to below 1, not '1' (see --help)"),
        (("--kill", "-0.1"), "argument --kill: it must be a number from 0 to below 1"),
        (("--kill", "nan"), "argument --kill: it must be a number from 0 to below 1"),
        (("--kill", "often"), "argument --kill: it must be a number from 0 to below 1"),
        (("--seed", "x"), "argument --seed: it must be a whole number, not 'x' (see --help)"),
        (("--trips",), "argument --trips: expected one argument (see --help)"),
        (("--trip", "5"), "unrecognized arguments: --trip 5 (see --help)"),
        (("--loud",), "unrecognized arguments: --loud (see --help)"),
        (("--journal", "trips.db"), "'trips.db' is no journal's URL; write 'sqlite:trips.db'"),
        (("--journal", "sqlite:"), "'sqlite:' is no journal's URL"),
        (("--journal", ""), "'' is no journal's URL"),
        (("--journal", "sqlite:/no/such/folder/trips.db"), "can't open /no/such/folder/trips.db: no such folder"),
        (("--journal", "sqlite:/"), "'sqlite:/' is no journal's URL"),
        (("--journal", "sqlite:/tmp"), "can't open /tmp: it is a folder"),
    ],
)
def test_bad_options(trip: Run, arguments: tuple[str, ...], said: str) -> None:
    for more in ((), ("--json",)):
        assert complaint(trip, *arguments, *more).startswith(said)


def test_a_file_that_is_no_journal(trip: Run, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("milk, bread, eggs" * 100)
    assert complaint(trip, "--journal", f"sqlite:{path}") == (
        f"{path} is not a journal of Understudy; use another file"
    )
    assert path.read_text() == "milk, bread, eggs" * 100


def test_a_database_that_is_no_journal(trip: Run, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as db:
        db.execute("create table notes (text)")
    db.close()
    assert "not a journal of Understudy" in complaint(trip, "--journal", f"sqlite:{path}")


async def test_a_journal_in_use(trip: Run, path: Path) -> None:
    async with Runtime(f"sqlite:{path}", ACTORS):
        assert f"{path} is in use by process" in complaint(trip, "--trips", "5", "--journal", f"sqlite:{path}")
    assert trip("--trips", "5", "--journal", f"sqlite:{path}").returncode == 0


@pytest.mark.parametrize(
    "damage",
    [
        "update events set data = replace(data, '20', '200') where position = 1",
        "delete from events where position = 9",
        "delete from events where position = (select max(position) from events)",
        "delete from streams where id = 5",
    ],
)
def test_a_damaged_journal(trip: Run, path: Path, damage: str) -> None:
    with sqlite3.connect(path) as db:
        assert db.execute(damage).rowcount == 1
    db.close()
    assert "damaged" in complaint(trip, "--trips", "5", "--journal", f"sqlite:{path}", "--json")


def test_a_journal_that_is_cut_off(trip: Run, path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "damaged" in complaint(trip, "--journal", f"sqlite:{path}")


def test_a_journal_of_tomorrow(trip: Run, path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("pragma user_version = 99")
    db.close()
    assert "has journal format 99" in complaint(trip, "--journal", f"sqlite:{path}")


def test_help(trip: Run) -> None:
    check_help(trip, "--trips N", "--kill P", "--seed S", "--journal URL", "--json")
