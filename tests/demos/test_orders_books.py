"""The books find what doesn't balance."""

import pytest

from demos.orders import ACTORS
from demos.orders.books import (
    Case,
    Cases,
    Ledgers,
    audit,
    wrong_carts,
    wrong_money,
    wrong_orders,
    wrong_parcels,
    wrong_shelves,
)
from demos.orders.carrier import BookParcel, Carrier, Parcel, Van
from demos.orders.checkout import CheckOut, Checkout
from demos.orders.messages import Line
from demos.orders.order import OrderState
from demos.orders.payments import Account, Pay, Payment, Payments
from demos.orders.stock import Reserve, Shelf, Stock
from runtime import Runtime
from tests.demos.shop import TEA, open_shop

LINES = (Line("cup", 2, 5),)
DONE = Case(OrderState("shipped", "ana", LINES, 10), "completed", past_pivot=True)
BACK = Case(OrderState("cancelled", "ana", LINES, 10), "compensated", past_pivot=False)
WAITS = Case(OrderState("placed", "ana", LINES, 10), "parked", past_pivot=False)
PAID = Case(OrderState("placed", "ana", LINES, 10), "parked", past_pivot=True)


def ledgers(shelf: Shelf, account: Account, van: Van, opened: int = 100) -> Ledgers:
    return Ledgers({"cup": shelf}, {"ana": account}, {"Pony": van}, {"ana": opened})


RIGHT = ledgers(
    Shelf(8, {}, {"7": 2}), Account(90, {"R": Payment("7", 10, "paid out")}), Van(1, {"1": Parcel("7", "cup")})
)
NOTHING = ledgers(Shelf(10), Account(100), Van(1))


def found(cases: Cases, ledgers: Ledgers) -> list[str]:
    """Return all that is wrong."""
    return [
        *wrong_orders(cases),
        *wrong_shelves(cases, ledgers),
        *wrong_money(cases, ledgers),
        *wrong_parcels(cases, ledgers),
    ]


def test_right_is_right() -> None:
    assert found({}, NOTHING) == []
    assert found({"7": DONE}, RIGHT) == []
    assert found({"7": BACK}, NOTHING) == []
    under_way = ledgers(Shelf(10, {"7": 2}), Account(90, {"R": Payment("7", 10)}), Van(1, {"1": Parcel("7", "cup")}))
    assert found({"7": WAITS}, under_way) == []
    assert found({"7": PAID}, RIGHT) == []


@pytest.mark.parametrize(
    ("cases", "ledgers", "wrong"),
    [
        (
            {"7": DONE},
            NOTHING,
            ["order 7 got 0 of cup, not 2", "order 7, which is completed, has brought 0 euros, not 10"],
        ),
        ({"7": BACK}, RIGHT, ["cup: 2 shipped for order 7, which is compensated", "brought 10 euros, not 0"]),
        ({}, RIGHT, ["cup: 2 shipped for order 7, which is new", "order 7, which is new, has brought 10 euros, not 0"]),
        ({"7": WAITS}, RIGHT, ["cup: 2 shipped for order 7, which is parked", "brought 10 euros, not 0"]),
        (
            {"7": Case(DONE.order, "compensated", past_pivot=False)},
            NOTHING,
            ["order 7 is shipped, and its checkout is compensated"],
        ),
        (
            {"7": BACK},
            ledgers(Shelf(10, {"7": 2}), Account(100), Van()),
            ["cup: 2 reserved for order 7, which is comp"],
        ),
        ({"7": WAITS}, ledgers(Shelf(1, {"7": 2}), Account(100), Van()), ["cup: more pieces are reserved"]),
        ({"7": BACK}, ledgers(Shelf(), Account(90, {"R": Payment("7", 10)}), Van()), ["receipt R is kept for order 7"]),
        ({}, ledgers(Shelf(), Account(90), Van()), ["ana had 100 euros; 90 are left, and 0 were paid"]),
        (
            {"7": BACK},
            ledgers(Shelf(), Account(100), Van(1, {"1": Parcel("7", "cup")})),
            ["has parcels with ['cup'], not"],
        ),
        (
            {"7": DONE},
            ledgers(RIGHT.shelves["cup"], RIGHT.accounts["ana"], Van()),
            ["has parcels with [], not with ['cup']"],
        ),
        (
            {"7": DONE},
            ledgers(
                RIGHT.shelves["cup"],
                Account(80, {"R": Payment("7", 10, "paid out"), "S": Payment("7", 10, "paid out")}),
                RIGHT.vans["Pony"],
            ),
            ["order 7, which is completed, has brought 20 euros, not 10"],
        ),
    ],
)
def test_what_is_wrong_is_found(cases: Cases, ledgers: Ledgers, wrong: list[str]) -> None:
    problems = found(cases, ledgers)
    for part in wrong:
        assert any(part in problem for problem in problems), problems


def test_carts_are_orders() -> None:
    assert list(wrong_carts({}, {})) == []
    assert list(wrong_carts({"7": DONE}, {"7": LINES})) == []
    assert list(wrong_carts({"7": Case(OrderState(), "open", past_pivot=False)}, {"7": LINES})) == []
    assert list(wrong_carts({"8": DONE}, {"7": LINES})) == ["a cart was checked out as order 7, which was never begun"]
    (other,) = wrong_carts({"7": DONE}, {"7": TEA})
    assert other == "a cart was checked out as order 7, and something else was ordered"


async def test_the_journal_is_replayed(tmp_path_factory: pytest.TempPathFactory) -> None:
    letterbox = str(tmp_path_factory.mktemp("letters"))
    async with Runtime("memory:", ACTORS) as runtime:
        await open_shop(runtime)
        assert await audit(runtime) == (0, 0, 0, 0, 0, [])
        await runtime.ask(Checkout.at("7"), CheckOut("ana", letterbox, TEA, "Pony"))
        assert await audit(runtime) == (1, 0, 0, 40, 3, [])
        await runtime.ask(Stock.at("cup"), Reserve("nobody", 1))
        await runtime.ask(Payments.at("ana"), Pay("nobody", 5))
        await runtime.ask(Carrier.at("Pony"), BookParcel("nobody", "cup"))
        books = await audit(runtime)
    assert books.problems == [
        "cup: 1 reserved for order nobody, which is new",
        "receipt R2-ana is kept for order nobody, which is new",
        "order nobody, which is new, has parcels with ['cup'], not with []",
    ]
