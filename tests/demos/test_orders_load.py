"""``python -m demos.orders --orders N``: totals, kills, and journals that are carried on with."""

from pathlib import Path

import anyio
import pytest

from demos.orders import ACTORS
from demos.orders.carrier import Carrier, OpenCarrier
from demos.orders.load import wishes
from demos.orders.payments import OpenAccount, Payments
from demos.orders.stock import Stock, Supply
from runtime import Runtime
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
    return f"sqlite:{tmp_path / 'orders.db'}"


def test_the_totals_as_json(orders: Run, journal: str) -> None:
    found = totals(orders, "--orders", "200", "--seed", "7", "--journal", journal)
    assert found["shipped"] + found["cancelled"] == 200
    assert found["shipped"] > found["cancelled"] > 0
    assert (found["parked"], found["resumed"], found["books_balance"], found["journal"]) == (0, 0, True, journal)
    assert found["events"] > 200 * 10
    assert found["orders_per_second"] > 0


def test_killed_actors_change_nothing(orders: Run) -> None:
    found = totals(orders, "--orders", "300", "--kill", "0.05", "--seed", "7")
    assert found["shipped"] + found["cancelled"] == 300
    assert (found["parked"], found["books_balance"]) == (0, True)


def test_the_totals_for_people(orders: Run) -> None:
    done = orders("--orders", "50", "--kill", "0.1")
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("Journal: sqlite:", "shipped", "cancelled", "parked", "letters", "orders a second", "were killed"):
        assert word in done.stdout
    shipped, letters = (
        next(line.split()[1] for line in done.stdout.splitlines() if line.startswith(f"  {name}"))
        for name in ("shipped", "letters")
    )
    assert shipped == letters


def test_no_orders_at_all(orders: Run) -> None:
    found = totals(orders, "--orders", "0")
    assert (found["shipped"], found["cancelled"], found["orders_per_second"]) == (0, 0, 0.0)


async def test_an_order_that_waits_is_finished_first(orders: Run, start: Start, journal: str, tmp_path: Path) -> None:
    async with Runtime(journal, ACTORS) as runtime:
        await runtime.ask(Stock.at("samovar"), Supply(1))
        await runtime.ask(Payments.at("Iris"), OpenAccount(700))
        await runtime.ask(Carrier.at("Pony"), OpenCarrier(1))
    kill_half_way(start, "demos.orders.doomed", journal, "iris", "Iris", str(tmp_path), "samovar", "Pony")
    found = totals(orders, "--orders", "10", "--journal", journal)
    assert (found["resumed"], found["books_balance"]) == (1, True)
    assert found["shipped"] + found["cancelled"] == 11
    (letter,) = [letter async for letter in anyio.Path(tmp_path).glob("*iris*.txt")]
    assert "your order iris is on its way" in await letter.read_text()


def test_killed_at_work(orders: Run, start: Start, journal: str) -> None:
    kill_at_work(start, "demos.orders", journal, "--orders", "3000", word="orders are taken")
    found = totals(orders, "--orders", "10", "--journal", journal)
    assert found["books_balance"]
    assert found["shipped"] + found["cancelled"] + found["parked"] == found["resumed"] + 10


def test_stopped_by_a_signal(orders: Run, start: Start, journal: str) -> None:
    stop_by_signal(start, "demos.orders", journal, "--orders", "3000")
    assert totals(orders, "--orders", "10", "--journal", journal)["books_balance"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--orders", "many"), "argument --orders: it must be a whole number from 0 to 1,000,000, not 'many'"),
        (("--kill", "1"), "argument --kill: it must be a number from 0 to below 1, not '1' (see --help)"),
        (("--trips", "5"), "unrecognized arguments: --trips 5 (see --help)"),
        (("--journal", "orders.db"), "'orders.db' is no journal's URL; write 'sqlite:"),
    ],
)
def test_bad_options(orders: Run, arguments: tuple[str, ...], said: str) -> None:
    check_complaint(orders, "demos.orders", *arguments, said=said)


def test_help(orders: Run) -> None:
    check_help(orders, "--orders N", "--kill P", "--seed S", "--journal URL", "--json", "sqlite:orders.db")


def test_wishes_follow_from_the_seed() -> None:
    assert list(wishes(50, 7, "run0", "x")) == list(wishes(50, 7, "run0", "x"))
    assert list(wishes(50, 7, "run0", "x")) != list(wishes(50, 8, "run0", "x"))
    assert {w.order for w in wishes(50, 7, "run0", "x")}.isdisjoint(w.order for w in wishes(50, 7, "run9", "x"))
