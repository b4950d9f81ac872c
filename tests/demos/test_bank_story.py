"""The story that ``python -m demos.bank`` tells."""

import re
import time
from pathlib import Path

import pytest

from demos.bank import ACTORS, story
from demos.bank.transfers import TransferSaga
from demos.page import Page
from runtime import Clock, OnAlert, Runtime
from tests.demos.conftest import Run
from tests.demos.shop import crashes
from tests.demos.teller import run_from
from tests.demos.test_story import scene
from tests.runtime.tools import restart_of, types_of

SCENES = (
    "A year passes",
    "What did she have then?",
    "A transfer at once",
    "Transfers that are refused",
    "The same by saga, and what it costs",
    "Money that waits",
    "A process that is killed while money waits",
    "All that ever happened to Ana's present for Dan",
    "Where is all the money?",
    "Do the books balance?",
)
GOES = ["✓ hold", "✓ announce", "✓ settle", "✓ credit"]


def steps(text: str) -> list[str]:
    """Return what became of the steps of a scene."""
    return re.findall(r"^    ([✓✗←] (?:hold|announce|approval|settle|credit))\b", text, re.M)


def cents(amount: str) -> int:
    return int(re.sub(r"[,.]", "", amount))


@pytest.fixture
def told(bank: Run) -> str:
    done = bank()
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_whole_story(told: str) -> None:
    assert [scene(told, number).splitlines()[0] for number in range(1, 11)] == list(SCENES)
    assert "\033" not in told
    assert max(len(line) for line in told.splitlines() if "sqlite" not in line) <= 88  # a path is as long as it is
    a_year(told)
    both_ways(told)
    money_that_waits(told)
    a_way_back(told)
    sums = [cents(number) for number in re.findall(r"^  [a-z' ]+ +(-?[\d,]+\.\d\d)$", scene(told, 9), re.M)]
    assert sums[0] + sums[1] == sums[2] == sums[3] == 0
    assert "The books balance." in scene(told, 10)
    assert "are equal at each. 0 transfers have not ended" in " ".join(scene(told, 10).split())


def a_year(told: str) -> None:
    rows = re.findall(r"^ +\d+  (\d{4}-\d\d-\d\d)  (\w+) +(-?[\d,]+\.\d\d) +([\d,]+\.\d\d)$", scene(told, 1), re.M)
    interest = [day for day, other, _, _ in rows if other == "interest"]
    assert len(interest) in (11, 12)  # 11 where it is told within an hour of a month's begin
    assert all(day.endswith("-01") for day in interest)
    assert [day for day, *_ in rows] == sorted(day for day, *_ in rows)
    balance, balances = 0, dict[str, int]()
    for day, other, amount, after in rows:
        due = balance * 3 // 1200 if other == "interest" else cents(amount)
        balance += cents(amount)
        assert (due, balance) == (cents(amount), cents(after))
        balances[day] = balance
    then = re.findall(r"^ +\d  (\d{4}-\d\d-\d\d) +([\d,]+\.\d\d)$", scene(told, 2), re.M)
    assert len(then) == 5
    for day, amount in then:  # by replay of the events: what the statement's table said, by other means
        known = max((one for one in balances if one < day), default="")
        assert cents(amount) in (balances.get(known, 0), balances.get(day))


def both_ways(told: str) -> None:
    first, second = (int(position) for position in re.findall(r"at position (\d+)$", scene(told, 3), re.M))
    assert second == first + 1
    plain = " ".join(scene(told, 3).split())
    assert "left two events in the journal, side by side, with one write to disk" in plain
    assert "it left no events" in plain
    refused = re.findall(r"✗ (.*)$", scene(told, 4), re.M)
    assert refused == ["Account/ben: ben has 220.00 euros to spend, not 9,000.00", "Account/dan: dan is closed"]
    assert "both together left no events" in " ".join(scene(told, 4).split())
    assert steps(scene(told, 5)) == [*GOES, "✓ hold", "✗ announce", "← hold"]
    assert re.findall(r"^ +\d  (at once|by saga)  (\d+) +(\d+)$", scene(told, 5), re.M) == [
        ("at once", "2", "1"),
        ("by saga", "14", "1"),
    ]


def money_that_waits(told: str) -> None:
    waits = scene(told, 6)
    assert re.search(r"1  cleo +50,000\.00  30,000\.00  -20,000\.00 \(ben\)\n", waits)
    assert re.search(r"2  ben +300\.00 +300\.00 +20,000\.00 \(cleo\)\n", waits)
    assert "✗ cleo has 30,000.00 euros to spend, not 40,000.00" in waits
    assert steps(waits) == ["✓ hold", "✓ announce", "✗ approval", "← announce", "← hold"]
    killed, reopened = re.findall(r"process (\d+) (?:is killed by signal 9|opens the journal)", scene(told, 7))
    assert killed != reopened
    assert "opens the journal; 15,000.00 euros are held" in scene(told, 7)
    assert steps(scene(told, 7)) == ["✓ hold", "✓ announce", "✓ approval", "✓ settle", "✓ credit"]


def a_way_back(told: str) -> None:
    trail = re.findall(r"^ +(\d+)  (\w+)/[a-z ]+@\d+ +(.*)$", scene(told, 8), re.M)
    assert [int(position) for position, _, _ in trail] == sorted({int(position) for position, _, _ in trail})
    assert [what for _, actor, what in trail if actor == "Account"] == [
        "10.00 are held for dan",
        "what was held is free again",
    ]
    assert trail[1][2] == "Hold to Account/ana, undo Release"
    assert trail[-1][2] == "compensated"


def test_a_journal_is_carried_on_with_while_actors_are_killed(bank: Run, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'bank.db'}"
    told: list[str] = []
    for _ in range(2):
        done = bank("--journal", url, "--kill", "0.1", "--seed", "3")
        assert (done.returncode, done.stderr) == (0, "")
        told.append(" ".join(done.stdout.split()))
    moved = [int(number) for text in told for number in re.findall(r"(\d+) transfers have moved money", text)]
    assert moved in ([32, 39], [33, 40])
    assert "this scene is left out, and the next one" in told[1]


def test_in_memory_the_killed_process_is_left_out(bank: Run) -> None:
    done = bank("--journal", "memory:")
    assert (done.returncode, done.stderr) == (0, "")
    assert "this scene is left out" in scene(done.stdout, 7)
    assert "The books balance." in done.stdout


async def test_what_is_unfinished_goes_on_by_todays_clock() -> None:
    """The year is not played over what has been written already."""
    first = await run_from([], ["fine"])
    journal = restart_of(first.records[: crashes(first)[-4]])
    known = len(journal.records)

    def open_runtime(on_alert: OnAlert | None = None, clock: Clock | None = None) -> Runtime:
        return Runtime(journal, ACTORS, clock=clock, on_alert=on_alert)

    before = time.time_ns() // 1000
    assert await story.a_year(open_runtime, "memory:", Page(None)) == known
    assert types_of(journal.records, TransferSaga.at("fine"))[-1] == "saga.completed"
    assert all(record.time >= before for record in journal.records[known:])
