"""The rules of everybody who takes part in an order, each alone, and the checkout's ways."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import Address, DefinitionError, Refused, Saga
from demos import letters
from demos.orders import ACTORS
from demos.orders.carrier import BookParcel, CancelParcel, Carrier, OpenCarrier
from demos.orders.checkout import Approve, CheckOut, Checkout, Reject, WhereIs
from demos.orders.messages import (
    AccountOpened,
    CarrierOpened,
    Line,
    MoneyGivenBack,
    MoneyPaidOut,
    MoneyTaken,
    OrderCancelled,
    OrderPlaced,
    OrderShipped,
    ParcelBooked,
    ParcelCancelled,
    PaymentsDown,
    PaymentsUp,
    PiecesReleased,
    PiecesReserved,
    PiecesShipped,
    PiecesSupplied,
)
from demos.orders.order import Cancel, MarkShipped, Order, Place
from demos.orders.parcels import Parcels
from demos.orders.payments import (
    Capture,
    ComeBack,
    GoDown,
    OpenAccount,
    Pay,
    Payments,
    PaymentsUnreachable,
    Receipt,
    Refund,
    TakeBack,
)
from demos.orders.postman import Deliver, NoLetterbox, Postman
from demos.orders.read_models import OrderRow, Orders, OrdersOf
from demos.orders.stock import Release, Reserve, Ship, Stock, Supply
from runtime import ManualClock, Runtime
from runtime.simulation import given
from tests.demos.shop import SAMOVAR, TEA, open_shop
from tests.runtime.tools import HeldJournal, content, of, quiet, steps_of

PLACED = OrderPlaced("ana", TEA, 40)
SERVICES = {cls.__name__: cls for cls in (Order, Stock, Payments, Carrier)}
TAKEN = (AccountOpened(100), MoneyTaken("7", "R1-ana", 40))


@pytest.mark.parametrize(
    ("address", "command", "history", "reply", "events"),
    [
        (Order.at("7"), Place("ana", TEA), (), None, (PLACED,)),
        (Order.at("7"), Cancel(), (PLACED,), None, (OrderCancelled(),)),
        (Order.at("7"), Cancel(), (PLACED, OrderCancelled()), None, ()),
        (Order.at("7"), Cancel(), (), None, ()),
        (Order.at("7"), MarkShipped("R", (1,)), (PLACED,), None, (OrderShipped("R", (1,)),)),
        (Stock.at("cup"), Supply(3), (), None, (PiecesSupplied(3),)),
        (Stock.at("cup"), Reserve("7", 3), (PiecesSupplied(3),), None, (PiecesReserved("7", 3),)),
        (Stock.at("cup"), Release("7"), (PiecesSupplied(3), PiecesReserved("7", 2)), None, (PiecesReleased("7", 2),)),
        (Stock.at("cup"), Release("7"), (PiecesSupplied(3),), None, ()),
        (Stock.at("cup"), Ship("7"), (PiecesSupplied(3), PiecesReserved("7", 2)), 2, (PiecesShipped("7", 2),)),
        (Payments.at("ana"), Pay("7", 40), (AccountOpened(100),), Receipt("R1-ana"), (TAKEN[1],)),
        (Payments.at("ana"), TakeBack("7"), TAKEN, None, (MoneyGivenBack("7", "R1-ana", 40),)),
        (Payments.at("ana"), TakeBack("8"), TAKEN, None, ()),
        (Payments.at("ana"), Refund("R1-ana"), TAKEN, None, (MoneyGivenBack("7", "R1-ana", 40),)),
        (Payments.at("ana"), Capture("R1-ana"), TAKEN, None, (MoneyPaidOut("7", "R1-ana", 40),)),
        (Payments.at("ana"), GoDown(), (), None, (PaymentsDown(),)),
        (Payments.at("ana"), GoDown(), (PaymentsDown(),), None, ()),
        (Payments.at("ana"), ComeBack(), (PaymentsDown(),), None, (PaymentsUp(),)),
        (Payments.at("ana"), ComeBack(), (), None, ()),
        (Payments.at("ana"), OpenAccount(5), (), None, (AccountOpened(5),)),
        (Carrier.at("Pony"), OpenCarrier(1), (), None, (CarrierOpened(1),)),
        (Carrier.at("Pony"), BookParcel("7", "cup"), (CarrierOpened(1),), 1, (ParcelBooked("7", "cup", 1),)),
        (
            Carrier.at("Pony"),
            CancelParcel("7", "cup"),
            (CarrierOpened(1), ParcelBooked("7", "cup", 1)),
            None,
            (ParcelCancelled("7", "cup", 1),),
        ),
        (Carrier.at("Pony"), CancelParcel("7", "cup"), (CarrierOpened(1),), None, ()),
    ],
)
def test_what_is_done(address: Address[Any], command: Any, history: Any, reply: Any, events: Any) -> None:
    given(SERVICES[address.actor], *history, key=address.key).when(command).replies(reply).then(*events)


@pytest.mark.parametrize(
    ("address", "command", "history", "why"),
    [
        (Order.at("7"), Place("ana", ()), (), "an order needs products"),
        (Order.at("7"), Place("ana", (Line("cup", 0, 5),)), (), "at least one piece"),
        (Order.at("7"), Place("ana", (Line("cup", 1, -5),)), (), "an order needs products"),
        (Order.at("7"), Place("ana", (TEA[0], TEA[0])), (), "names each product once"),
        (Order.at("7"), Place("ana", TEA), (PLACED,), "was placed before"),
        (Order.at("7"), Cancel(), (PLACED, OrderShipped("R", (1,))), "was shipped"),
        (Stock.at("cup"), Supply(0), (), "nothing to put on the shelf"),
        (Stock.at("cup"), Reserve("7", 1), (), "no cup left"),
        (Stock.at("cup"), Reserve("7", 2), (PiecesSupplied(3), PiecesReserved("8", 2)), "only 1 of cup left"),
        (Stock.at("cup"), Ship("7"), (PiecesSupplied(3),), "no cup is reserved for order 7"),
        (Payments.at("ana"), Pay("7", 101), (AccountOpened(100),), "ana can't pay 101 euros"),
        (Payments.at("ana"), Refund("R2-ana"), TAKEN, "stands for nothing that is kept"),
        (Payments.at("ana"), Refund("R1-ana"), (*TAKEN, MoneyPaidOut("7", "R1-ana", 40)), "nothing that is kept"),
        (Payments.at("ana"), Capture("R1-ana"), (*TAKEN, MoneyGivenBack("7", "R1-ana", 40)), "nothing that is kept"),
        (Carrier.at("Pony"), BookParcel("7", "cup"), (), "carrier Pony has no room"),
    ],
)
def test_what_is_refused(address: Address[Any], command: Any, history: Any, why: str) -> None:
    given(SERVICES[address.actor], *history, key=address.key).when(command).refuses(why)


def test_a_payment_service_that_is_down_fails_and_refuses_nothing() -> None:
    for command in (Pay("7", 1), Pay("7", 1000), Refund("R1-ana"), TakeBack("7"), Capture("R1-ana")):
        given(Payments, *TAKEN, PaymentsDown(), key="ana").when(command).fails(PaymentsUnreachable)


# -- the checkout -------------------------------------------------------------------------------------------------


async def test_an_order_waits_outside_the_memory_until_its_patience_ends(tmp_path: Path) -> None:
    clock = ManualClock()
    forgotten = Checkout.at("forgotten")
    async with Runtime("memory:", ACTORS, clock=clock) as runtime:
        await open_shop(runtime)
        command = CheckOut("ana", str(tmp_path), SAMOVAR, "Pony", patience=timedelta(days=2))
        await runtime.start(forgotten, command)
        await quiet(runtime)
        assert await runtime.ask(forgotten, WhereIs()) == "it waits for approval"
        clock.advance(2 * 24 * 3600 - 1)
        await quiet(runtime)
        assert (await runtime.progress_of(forgotten)).status == "running"
        clock.advance(1)
        with pytest.raises(Refused, match="nobody has approved it in time"):
            await runtime.result(forgotten)
        assert (await runtime.state_of(Order.at("forgotten"))).status == "cancelled"
        assert (await runtime.state_of(Stock.at("samovar"))).free == 50


async def test_a_word_that_comes_early_is_kept_and_the_first_one_counts(tmp_path: Path) -> None:
    async with Runtime("memory:", ACTORS) as runtime:
        await open_shop(runtime)
        for name, words in {"yes": [Approve("o"), Reject("o", "no")], "no": [Reject("o", "no"), Approve("o")]}.items():
            checkout = Checkout.at(name)
            await runtime.start(checkout, CheckOut("ana", str(tmp_path), SAMOVAR, "Pony"))
            for word in words:
                await runtime.tell(checkout, word)
        assert (await runtime.result(Checkout.at("yes"))).receipt == "R1-ana"
        with pytest.raises(Refused, match="o says no: no"):
            await runtime.result(Checkout.at("no"))


async def test_what_was_done_is_undone_in_reverse_by_receipt_and_through_the_completed_saga(tmp_path: Path) -> None:
    journal, decide = HeldJournal(), Payments.decide

    def refuses_to_pay_out(self: Payments, state: Any, command: Any) -> Any:
        if isinstance(command, Capture):
            raise Refused("an accident")
        return decide(self, state, command)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Payments, "decide", refuses_to_pay_out)
        async with Runtime(journal, ACTORS) as runtime:
            await open_shop(runtime)
            with pytest.raises(Refused, match="an accident"):
                await runtime.ask(Checkout.at("7"), CheckOut("ana", str(tmp_path), TEA, "Pony", "paper"))
            assert (await runtime.state_of(Payments.at("ana"))).euros == 9000
    undone = steps_of(journal.records, Checkout.at("7"), "undone")
    assert undone == ["payment", "parcels", "stock paper", "stock cup", "stock teapot", "order"]
    assert steps_of(journal.records, Parcels.at("7"), "undone") == ["cup", "teapot"]
    (revised,), (back,) = of(journal.records, "saga.undorevised"), of(journal.records, "MoneyGivenBack")
    assert content(revised)["undo"] == {"type": "Refund", "receipt": "R1-ana"}
    assert back.command == "Checkout/7!payment"


def test_an_undo_behind_the_pivot_is_a_mistake_that_is_seen_at_once() -> None:
    with pytest.raises(DefinitionError, match="pivot"):

        class Wrong(Saga[CheckOut, int]):  # pyright: ignore[reportUnusedClass]
            async def run(self, command: CheckOut) -> int:
                await self.pivot("capture", Payments.at("ana"), Capture("R"))
                await self.ask("stock", Stock.at("cup"), Reserve("7", 1), undo=Release("7"))
                return 1


# -- the postman --------------------------------------------------------------------------------------------------


async def test_one_letter_for_one_order_though_the_first_attempt_hangs(tmp_path: Path) -> None:
    """The postman's time limit ends the first attempt, behind the letter; the second one has the same id."""
    attempts: list[str] = []
    put = letters.put

    async def slow(folder: anyio.Path, message_id: str, text: str) -> bool:
        attempts.append(message_id)
        new = await put(folder, message_id, text)
        if len(attempts) == 1:
            await asyncio.Event().wait()  # delivered, and nobody hears of it
        return new

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(letters, "put", slow)
        patch.setattr(Postman, "time_limit", timedelta(seconds=0.5))
        async with Runtime("memory:", ACTORS) as runtime:
            await open_shop(runtime)
            assert (await runtime.ask(Checkout.at("7"), CheckOut("ana", str(tmp_path), TEA, "Pony"))).parcels == (1, 2)
            retried = (await runtime.progress_of(Checkout.at("7"))).steps[-1]
            assert (retried.name, retried.status, retried.failures) == ("letter", "done", 1)
    assert attempts == ["Checkout/7#letter"] * 2
    assert [letter.name async for letter in anyio.Path(tmp_path).iterdir()] == ["Checkout%2F7%23letter.txt"]


async def test_who_has_no_letterbox_gets_no_letter(tmp_path: Path) -> None:
    async with Runtime("memory:", ACTORS) as runtime:
        assert await runtime.ask(Postman.at(str(tmp_path)), Deliver("Dear Ana"), id="a")
        assert not await runtime.ask(Postman.at(str(tmp_path)), Deliver("Dear Ana"), id="a")
        with pytest.raises(Exception, match="there is no letterbox") as failed:
            await runtime.ask(Postman.at(str(tmp_path / "none")), Deliver("Dear Ana"), id="b")
        assert isinstance(failed.value.__cause__, NoLetterbox)


# -- tables -------------------------------------------------------------------------------------------------------


async def test_the_customers_table(tmp_path: Path) -> None:
    async with Runtime("memory:", ACTORS) as runtime:
        await open_shop(runtime)
        for name, customer in (("1", "ana"), ("2", "ben"), ("3", "ana")):
            await runtime.start(Checkout.at(name), CheckOut(customer, str(tmp_path), TEA, "Pony"))
            if customer == "ana":
                await runtime.result(Checkout.at(name))
        with pytest.raises(Refused, match="ben can't pay 40 euros"):
            await runtime.result(Checkout.at("2"))
        found = await runtime.ask(Orders.at(), OrdersOf("ana"), consistent=True)
        assert found == [OrderRow("1", 40, "shipped"), OrderRow("3", 40, "shipped")]
        assert await runtime.ask(Orders.at(), OrdersOf("ben"), consistent=True) == [OrderRow("2", 40, "cancelled")]
