"""The story that ``python -m demos.trip`` tells."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.demos.conftest import Run

SCENES = (
    "A trip that works",
    "A hotel that is full, and a cab company without cars",
    "A cab company that is down for a while",
    "A flight that is killed in the middle of a trip",
    "A process that is killed in the middle of a trip",
    "Why flight LH441 has two seats left",
    "A journey back in time",
    "Two ways to ask",
    "All that ever happened to Ben's trip",
    "Do the books balance?",
)


def scene(text: str, number: int) -> str:
    """Return one scene of a story."""
    parts = re.split(r"^\d+  (?=\w)", text, flags=re.MULTILINE)
    return parts[number]


@pytest.fixture
def told(trip: Run) -> str:
    done = trip()
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_all_scenes_are_told_in_plain_text(told: str) -> None:
    assert [scene(told, number).splitlines()[0] for number in range(1, 11)] == list(SCENES)
    assert "\033" not in told
    assert "The books balance." in told
    assert max(len(line) for line in told.splitlines() if "sqlite" not in line) <= 88  # a path is as long as it is


def test_each_trip_goes_its_way(told: str) -> None:
    booked = ["✓ flight", "✓ hotel", "✓ cab"]
    waited = ["✓ flight", "✓ hotel", "… cab", "✓ cab"]
    steps = [re.findall(r"[✓✗←…] (?:flight|hotel|cab)\b", scene(told, number)) for number in range(1, 6)]
    assert steps == [
        booked,
        ["✓ flight", "✗ hotel", "← flight", "✓ flight", "✓ hotel", "✗ cab", "← hotel", "← flight"],
        waited,
        waited * 2,
        waited,
    ]


def test_one_write_and_one_mail(told: str, tmp_path: Path) -> None:
    assert "one write to disk" in " ".join(scene(told, 1).split())
    assert "one mail went out" in " ".join(scene(told, 1).split())
    (mail,) = tmp_path.glob("*/trips.db.outbox/*")
    assert mail.read_text() == "Dear Ana,\n\nyour trip ana is booked.\n"


def test_a_process_is_killed_and_another_one_goes_on(told: str) -> None:
    killed, reopened = re.findall(r"process (\d+) (?:is killed by signal 9|opens the journal)", scene(told, 5))
    assert killed != reopened


def test_the_seats_left_follow_from_the_events(told: str) -> None:
    left = [int(number) for number in re.findall(r"(\d+) left$", scene(told, 6), flags=re.MULTILINE)]
    assert left == [7, 6, 5, 6, 5, 6, 5, 4, 3, 2]
    then, now = (
        re.findall(rf"^ +\d+ {column}", scene(told, 7), flags=re.MULTILINE) for column in (r" free", r".*free$")
    )
    assert (len(then), len(now)) == (2, 0)


def test_the_trail_names_actor_version_and_cause(told: str) -> None:
    trail = scene(told, 9)
    assert re.search(r"\d+  Flight/LH441@3  +seat 2 is held for ben +step flight\n", trail)
    assert re.search(r"\d+  Flight/LH441@4  +seat 2 is given back by ben +undo flight\n", trail)
    positions = [int(number) for number in re.findall(r"^ +(\d+)  \w+/", trail, flags=re.MULTILINE)]
    assert positions == sorted(positions)
    assert len(positions) == 10


def test_a_journal_is_carried_on_with(trip: Run, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'trips.db'}"
    for booked in (6, 12):
        done = trip("--journal", url, "--kill", "0.2", "--seed", "3")
        assert (done.returncode, done.stderr) == (0, "")
        assert "✗ hotel" in done.stdout
        assert f"by {booked} booked trips" in " ".join(done.stdout.split())


def test_in_memory_the_killed_process_is_left_out(trip: Run) -> None:
    done = trip("--journal", "memory:")
    assert (done.returncode, done.stderr) == (0, "")
    assert "this scene is left out" in scene(done.stdout, 5)
    assert "The books balance." in done.stdout


def test_in_colour_on_a_terminal(on_a_terminal: Callable[..., str]) -> None:
    shown = on_a_terminal()
    assert "\033[32m✓\033[0m flight" in shown
    assert "\033" not in on_a_terminal(NO_COLOR="1")


def test_where_only_ascii_can_be_written(trip: Run) -> None:
    done = trip(PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "+ flight" in done.stdout
