"""The story that ``python -m demos.orders`` tells."""

import re
from pathlib import Path

import pytest

from tests.demos.conftest import Run
from tests.demos.test_story import scene

SCENES = (
    "An order that works",
    "A payment that is refused",
    "Orders that need approval",
    "A payment service that is down for too long",
    "A letter that nobody can deliver",
    "A process that is killed while an order waits",
    "A shopping cart",
    "What the customers see",
    "All that ever happened to Ben's order",
    "Do the books balance?",
)
PLACED = ["✓ order", "✓ stock", "✓ parcels"]
PAID = ["✓ payment", "✓ capture", "✓ ship", "✓ shipped", "✓ letter"]


def steps(text: str) -> list[str]:
    """Return what became of the steps of a scene."""
    return re.findall(
        r"^    ([✓✗←…] (?:order|stock|approval|parcels|payment|capture|shipped|ship|letter))\b", text, re.M
    )


@pytest.fixture
def told(orders: Run) -> str:
    done = orders()
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_whole_story(told: str, tmp_path: Path) -> None:
    assert [scene(told, number).splitlines()[0] for number in range(1, 11)] == list(SCENES)
    assert "\033" not in told
    assert max(len(line) for line in told.splitlines() if "sqlite" not in line) <= 88  # a path is as long as it is
    what_became_of_the_steps(told)
    what_olga_was_told_and_did(told)
    killed, reopened = re.findall(r"process (\d+) (?:is killed by signal 9|opens the journal)", scene(told, 6))
    assert killed != reopened
    a_way_back(told)
    assert re.findall(r"^ +\d+  \w+ +\d+ euros +(\w+)$", scene(told, 8), re.M) == [
        *("shipped", "cancelled", "shipped", "cancelled", "cancelled"),
        *("shipped", "cancelled", "shipped", "shipped", "shipped"),
    ]
    a_cart_and_a_search(told)
    assert "6 orders were shipped, 9 pieces in all, and have brought 1,530 euros" in " ".join(told.split())
    letters = {path.parent.name: path.read_text() for path in tmp_path.glob("*/orders.db.letters/*/*.txt")}
    assert set(letters) == {"Ana", "Cleo", "Finn", "Iris", "Jana"}  # Hugo has no letterbox
    assert letters["Ana"] == "Dear Ana,\n\nyour order ana is on its way.\n"


def what_became_of_the_steps(told: str) -> None:
    back = ["← stock", "← order"]
    assert steps(scene(told, 1)) == [
        *PLACED[:2],
        "✓ stock",
        "✓ stock",
        "✓ parcels",
        *PAID[:2],
        *["✓ ship"] * 3,
        *PAID[3:],
    ]
    assert steps(scene(told, 2)) == [
        *("✓ order", "✓ stock", "✓ stock", "✗ stock", "✓ parcels", "✗ payment"),
        *("← parcels", "← stock", "← stock", "← order"),
    ]
    approved = ["✓ order", "✓ stock", "✓ approval", "✓ parcels", *PAID]
    not_approved = ["✓ order", "✓ stock", "✗ approval", *back]
    assert steps(scene(told, 3)) == [*approved, *not_approved, *not_approved]
    assert steps(scene(told, 4)) == [
        *(*PLACED, "… payment", *PAID),
        *(*PLACED, "… payment", "← payment", "← parcels", *back),
    ]
    assert steps(scene(told, 5)) == [*PLACED, *PAID[:-1], "… letter"]
    assert steps(scene(told, 6)) == approved


def what_olga_was_told_and_did(told: str) -> None:
    down, letter = (" ".join(scene(told, number).split()) for number in (4, 5))
    assert "Olga is told: finn is parked ! Olga is told: gina is parked" in down
    assert "set aside: step 'payment' was given up after" in down
    assert "Olga lets it go on: the payment service is back" in down
    plan = (
        "TakeBack Payments/Gina (outcome unknown)",
        "compensate Parcels/gina",
        "Release Stock/teapot",
        "Cancel Order",
    )
    assert "".join(f"? {undo} " for undo in plan).rstrip() in down
    assert "Checkout/hugo is past its pivot, so it can't be compensated" in letter
    assert "Olga has letter count as done: told him on the phone" in letter
    assert '"It waits for approval."' in scene(told, 3)


def a_cart_and_a_search(told: str) -> None:
    assert re.findall(r"→ she is told: order (.*)$", scene(told, 7), re.M) == ["Jana-1"] * 2
    assert steps(scene(told, 7)) == [*PLACED, *PAID]
    found = re.findall(r"^ +\d  (\w+) +([a-z ]+?)  +(shipped|cancelled)$", scene(told, 8), re.M)
    assert found == [
        *(("Iris", "samovar", "shipped"), ("Cleo", "samovar", "shipped")),
        *(("Gina", "teapot", "cancelled"), ("Ben", "teapot cup", "cancelled")),
        ("Jana", "teapot", "shipped"),
    ]


def a_way_back(told: str) -> None:
    trail = re.findall(r"^ +(\d+)  (\w+)/\w+@\d+ +(.*)$", scene(told, 9), re.M)
    assert [int(position) for position, _, _ in trail] == sorted({int(position) for position, _, _ in trail})
    undone = [what for _, _, what in trail if what.endswith("undone")]
    assert undone == [
        *("cup: undone", "teapot: undone", "parcels: undone", "stock cup: undone", "stock teapot: undone"),
        "order: undone",
    ]
    assert {actor for _, actor, _ in trail} == {"Checkout", "Parcels", "Order", "Stock", "Carrier"}


def test_a_journal_is_carried_on_with_while_actors_are_killed(orders: Run, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'orders.db'}"
    for shipped in (6, 12):
        done = orders("--journal", url, "--kill", "0.1", "--seed", "3")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{shipped} orders were shipped" in " ".join(done.stdout.split())


def test_in_memory_the_killed_process_is_left_out(orders: Run) -> None:
    done = orders("--journal", "memory:")
    assert (done.returncode, done.stderr) == (0, "")
    assert "this scene is left out" in scene(done.stdout, 6)
    assert "The books balance." in done.stdout
