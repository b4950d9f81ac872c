"""``python -m demos.bank --transfers N`` and ``--at DATE``: totals, kills, and journals that are carried on with."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from demos.bank import ACTORS
from demos.bank.account import Account, OpenAccount, Withdraw
from demos.bank.load import wishes
from demos.bank.transfers import transfer_at_once
from runtime import ManualClock, Runtime
from tests.demos.conftest import (
    Run,
    Start,
    check_complaint,
    check_help,
    kill_at_work,
    kill_half_way,
    stop_by_signal,
    totals,
)


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'bank.db'}"


def test_the_totals_as_json(bank: Run, journal: str) -> None:
    found = totals(bank, "--transfers", "400", "--seed", "7", "--journal", journal)
    assert found["done"] + found["refused"] == 400
    assert found["done"] > found["refused"] > 0
    assert (found["parked"], found["resumed"], found["books_balance"], found["journal"]) == (0, 0, True, journal)
    strong, saga = found["at_once"], found["by_saga"]
    assert strong["done"] + strong["refused"] == saga["done"] + saga["refused"] == 200
    assert strong["done"] + saga["done"] == found["done"]
    assert strong["events_per_transfer"] <= 2 < saga["events_per_transfer"] <= 14
    for way in (strong, saga):
        assert 0 < way["commits_per_transfer"] < 1
        assert way["per_second"] > 0


def test_killed_actors_change_nothing(bank: Run) -> None:
    found = totals(bank, "--transfers", "400", "--kill", "0.05", "--seed", "7")
    assert found["done"] + found["refused"] == 400
    assert (found["parked"], found["books_balance"]) == (0, True)


def test_the_totals_for_people(bank: Run) -> None:
    done = bank("--transfers", "60", "--kill", "0.1")
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("Journal: sqlite:", "done", "refused", "parked", "commits each", "events each", "were killed"):
        assert word in done.stdout
    assert re.search(r"1  at once +[\d,]+ +[\d,.]+ +[\d,.]+ +0\.\d+ +\d\.\d\n", done.stdout)
    assert re.search(r"2  by saga +[\d,]+ +[\d,.]+ +[\d,.]+ +0\.\d+ +\d+\.\d\n", done.stdout)


@pytest.mark.parametrize("number", ["0", "1"])
def test_hardly_any_transfers(bank: Run, number: str) -> None:
    found = totals(bank, "--transfers", number)
    assert (found["done"] + found["refused"], found["books_balance"]) == (int(number), True)
    assert bank("--transfers", number).returncode == 0


async def test_a_transfer_that_waits_is_finished_first(bank: Run, start: Start, journal: str) -> None:
    async with Runtime(journal, ACTORS) as runtime:
        await runtime.ask(Account.at("cash"), OpenAccount(None))
        await runtime.ask(Account.at("eve"), OpenAccount())
    kill_half_way(start, "demos.bank.doomed", journal, "piano", "cash", "eve", "1500000")
    found = totals(bank, "--transfers", "10", "--journal", journal)
    assert (found["resumed"], found["books_balance"]) == (1, True)
    assert found["done"] + found["refused"] == 11
    async with Runtime(journal, ACTORS) as runtime:
        assert (await runtime.state_of(Account.at("eve"))).cents == 15_000_00


def test_killed_at_work(bank: Run, start: Start, journal: str) -> None:
    kill_at_work(start, "demos.bank", journal, "--transfers", "6000", word="transfers are made")
    found = totals(bank, "--transfers", "10", "--journal", journal)
    assert found["books_balance"]
    assert found["done"] + found["refused"] + found["parked"] == found["resumed"] + 10


def test_stopped_by_a_signal(bank: Run, start: Start, journal: str) -> None:
    stop_by_signal(start, "demos.bank", journal, "--transfers", "6000")
    assert totals(bank, "--transfers", "10", "--journal", journal)["books_balance"]


async def test_books_that_do_not_balance_end_with_1(bank: Run, journal: str) -> None:
    async with Runtime(journal, ACTORS) as runtime:
        await runtime.ask(Account.at("cash"), OpenAccount(None))
        await runtime.ask(Account.at("cash"), Withdraw("half", "nobody", 5))
    assert not totals(bank, "--transfers", "2", "--journal", journal, code=1)["books_balance"]


# -- the bank as it was -------------------------------------------------------------------------------------------


async def test_the_bank_as_it_was_at_the_end_of_a_day(bank: Run, journal: str) -> None:
    clock = ManualClock(round(datetime(2026, 1, 30, 23, tzinfo=UTC).timestamp() * 1e6))
    async with Runtime(journal, ACTORS, clock=clock) as runtime:
        await runtime.ask(Account.at("cash"), OpenAccount(None))
        await runtime.ask(Account.at("ana"), OpenAccount())
        for day in range(3):
            await transfer_at_once(runtime, f"day {day}", "cash", "ana", 100)
            clock.step(timedelta(days=1).total_seconds())
    for when, cents in (
        ("2026-01-29", None),
        ("2026-01-30", 100),
        ("2026-01-31", 200),
        ("2026-01-31T12:00:00", 100),
        ("2026-02-01T00:30:00+01:00", 200),
        ("2030-01-01", 300),
    ):
        found = totals(bank, "--journal", journal, "--at", when)
        assert found["balances"] == ({} if cents is None else {"ana": cents, "cash": -cents})
        assert found["books_balance"]
    told = bank("--journal", journal, "--at", "2026-01-31")
    assert re.search(r"The bank at 2026-01-31 23:59 UTC\n +no\. +account +balance\n +1  ana +2\.00\n", told.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--transfers", "many"), "argument --transfers: it must be a whole number from 0 to 1,000,000, not 'many'"),
        (
            ("--at", "2026-02-30", "--journal", "memory:"),
            "argument --at: it must be a date like 2026-01-31, not '2026-02-30'",
        ),
        (("--at", "yesterday"), "argument --at: it must be a date like 2026-01-31"),
        (("--at", "2026-01-31"), "argument --at: say of which journal, by --journal URL (see --help)"),
        (("--orders", "5"), "unrecognized arguments: --orders 5 (see --help)"),
        (("--journal", "bank.db"), "'bank.db' is no journal's URL; write 'sqlite:"),
    ],
)
def test_bad_options(bank: Run, arguments: tuple[str, ...], said: str) -> None:
    check_complaint(bank, "demos.bank", *arguments, said=said)


def test_help(bank: Run) -> None:
    check_help(
        bank, "--transfers N", "--kill P", "--seed S", "--journal URL", "--at DATE", "--json", "sqlite:transfers.db"
    )


def test_wishes_follow_from_the_seed() -> None:
    assert list(wishes(50, 5, 7, "run0")) == list(wishes(50, 5, 7, "run0"))
    assert list(wishes(50, 5, 7, "run0")) != list(wishes(50, 5, 8, "run0"))
    assert {w.transfer for w in wishes(50, 5, 7, "run0")}.isdisjoint(w.transfer for w in wishes(50, 5, 7, "run9"))
    assert all(wish.command.source != wish.command.target for wish in wishes(50, 2, 7, "run0"))
