"""Given, when, then for sagas: all that a saga can have, and what is told where an expectation is not met."""

from datetime import timedelta
from typing import Any

import pytest

from actors import Command, NotTaken, Saga, UnknownActor
from demos.orders.checkout import Approve, CheckOut, Checkout, Reject, Sold, WhereIs
from demos.orders.order import Cancel, MarkShipped, Order, Place
from demos.orders.parcels import BookParcels, Parcels
from demos.orders.payments import Capture, Pay, Payments, Receipt, Refund, TakeBack
from demos.orders.postman import NoLetterbox
from demos.orders.stock import Release, Reserve, Ship, Stock
from runtime.simulation import given
from runtime.simulation.given_saga import SagaPlay
from tests.demos.shop import SAMOVAR, TEA
from tests.given.cast import Flight, Guess, Guesser, Held, HoldSeat, ReleaseSeat
from tests.runtime.cast import Account, BookTrip, Hold, Room, Trip, TripBooked, Withdraw
from tests.runtime.cast import Held as RoomHeld
from tests.runtime.cast import Release as ReleaseRoom
from tests.runtime.voyage import Aboard, Sail, Voyage

SECOND = timedelta(seconds=1)


def told(make: Any) -> str:
    with pytest.raises(AssertionError) as raised:
        make()
    return str(raised.value)


def trip(*rooms: str) -> SagaPlay[Trip, TripBooked]:
    return given(Trip, "t").when(BookTrip(list(rooms)))


# -- what goes well -----------------------------------------------------------------------------------------------


def test_forward_to_the_end() -> None:
    saga = trip("hotel", "cab").waits_for("hotel")
    saga.sends("hotel", Room.at("hotel"), Hold("t")).undo(ReleaseRoom("t"))
    saga.sends_nothing().replies("hotel", RoomHeld(1)).waits_for("cab")
    saga.replies("cab", RoomHeld(2)).sends_nothing().waits_for().ends_with(TripBooked("t", ["hotel", "cab"]))


def test_back_in_reverse() -> None:
    saga = trip("hotel", "cab", "full").replies("hotel", RoomHeld(1)).replies("cab", RoomHeld(2))
    saga.refuses("full", "no room").undoes("cab", "hotel").is_compensated("no room")


def test_attempts_that_fail_are_repeated_until_the_budget_is_spent() -> None:
    saga = trip("hotel")
    for _ in range(5):
        saga.fails("hotel", ConnectionError("down")).sends_nothing().retries("hotel")
    saga.replies("hotel", RoomHeld(1)).ends_with(TripBooked("t", ["hotel"]))
    saga = trip("hotel").fails("hotel", ConnectionError("down")).advance(SECOND)
    saga.advance(timedelta(minutes=2)).fails("hotel", ConnectionError("down"))
    saga.is_parked("step 'hotel' was given up after 2 failures in 0:01:00: Room/hotel failed at Hold: ConnectionError")


def test_an_uncertain_step_is_undone_and_so_is_what_its_deadline_finds() -> None:
    saga = trip("hotel").fails("hotel", ConnectionError("down")).retries("hotel").refuses("hotel", "no room")
    saga.undoes("hotel").is_compensated("no room")
    saga = trip("hotel").advance(timedelta(minutes=5)).undoes_by("hotel", Room.at("hotel"), ReleaseRoom("t"))
    saga.is_compensated("the deadline has passed")


def test_undos_that_fail_or_are_refused() -> None:
    saga = trip("hotel", "cab").replies("hotel", RoomHeld(1)).refuses("cab", "no cab")
    saga.undo_fails("hotel", ConnectionError("down")).retries("hotel").undo_refuses("hotel", "too late")
    saga.is_parked("the undo of step 'hotel' was refused (too late)")


def test_a_saga_that_is_told_to_go_back() -> None:
    trip("hotel", "cab").replies("hotel", RoomHeld(1)).compensate("rain").undoes("cab", "hotel").is_compensated("rain")
    trip().compensate("rain").is_compensated("rain")  # it had completed
    paid = voyage().replies("pilot one", RoomHeld(3)).replies("trip", TripBooked("v trip", ["hotel", "cab"]))
    paid.advance(40 * SECOND).replies("bunk", RoomHeld(4)).replies("pay", 90)
    assert "Voyage/v does not go back: Voyage/v is past its pivot" in told(lambda: paid.compensate("rain"))


def voyage() -> SagaPlay[Voyage, int]:
    saga = given(Voyage, "v").when(Sail()).replies("cabin", RoomHeld(1))
    saga.waits_for("port", "full mess", Aboard).receives(Aboard("ana"), message_id="a").refuses("full mess", "full")
    return saga.replies("port", RoomHeld(2)).waits_for("pilot one", "full pilot", "pilot two", "Sunk")


def test_all_that_a_saga_can_have() -> None:
    saga = voyage().refuses("full pilot", "full").replies("pilot two", RoomHeld(3)).undoes("pilot one")
    saga.waits_for("trip").replies("trip", TripBooked("v trip", ["hotel", "cab"])).waits_for("tide")
    saga.advance(30 * SECOND - timedelta(microseconds=1)).waits_for("tide").advance(timedelta(microseconds=1))
    saga.waits_for("another").advance(5 * SECOND).replies("bunk", RoomHeld(4)).replies("pay", 90).replies("tip", 10)
    saga.waits_for("rest").advance(timedelta(days=1)).ends_with(90 + 2 + 3 + 2)


def test_going_back_through_another_saga() -> None:
    saga = voyage().replies("pilot one", RoomHeld(3)).undoes("full pilot", "pilot two")
    saga.replies("trip", TripBooked("v trip", ["hotel", "cab"])).advance(30 * SECOND).advance(5 * SECOND)
    saga.replies("bunk", RoomHeld(4)).refuses("pay", "poor")
    saga.undoes("bunk", "trip", "pilot one", "port", "cabin").is_compensated("poor")


def test_a_timeout_leaves_the_outcome_unknown() -> None:
    saga = given(Voyage, "v").when(Sail()).times_out("cabin").retries("cabin").refuses("cabin", "full")
    saga.undoes("cabin").is_compensated("full")
    given(Voyage, "v").when(Sail()).times_out("cabin").replies("cabin", RoomHeld(1)).waits_for(
        "port", "full mess", "Aboard"
    )  # the reply to the attempt before has come late, and counts


def checkout(**more: Any) -> SagaPlay[Checkout, Sold]:
    return given(Checkout, "7").when(CheckOut("ana", "box", more.pop("lines", TEA), "Pony", **more))


def test_the_orders_checkout_to_its_end() -> None:
    saga = checkout(gift_paper="paper")
    saga.sends("order", Order.at("7"), Place("ana", TEA)).undo(Cancel())
    saga.replies("order")
    for product in ("teapot", "cup"):
        line = next(line for line in TEA if line.product == product)
        saga.sends(f"stock {product}", Stock.at(product), Reserve("7", line.pieces)).undo(Release("7"))
        saga.replies(f"stock {product}")
    saga.refuses("stock paper", "no paper left")
    saga.asks(WhereIs()).answers("we look for a carrier")
    saga.sends("parcels", Parcels.at("7"), BookParcels("Pony", ("teapot", "cup"))).undo_compensates()
    saga.replies("parcels", (1, 2))
    payment = saga.sends("payment", Payments.at("ana"), Pay("7", 40))
    payment.undo(TakeBack("7"))
    saga.replies("payment", Receipt("R1"))
    payment.undo(Refund("R1"))
    saga.sends("capture", Payments.at("ana"), Capture("R1")).undo(None)
    saga.replies("capture").sends("ship teapot", Stock.at("teapot"), Ship("7")).undo(None)
    saga.replies("ship teapot", 1).replies("ship cup", 2)
    saga.sends("shipped", Order.at("7"), MarkShipped("R1", (1, 2)))
    saga.replies("shipped").fails("letter", ConnectionError("away")).retries("letter").replies("letter", True)
    saga.ends_with(Sold("R1", (1, 2), wrapped=False))


def test_the_orders_checkout_by_its_messages() -> None:
    for word, why in ((Reject("bob", "dear"), "bob says no: dear"), (None, "nobody has approved it in time")):
        saga = checkout(lines=SAMOVAR).replies("order").replies("stock samovar").waits_for(Approve, Reject)
        if word is None:
            saga.advance(timedelta(days=2))
        else:
            saga.receives(word)
        saga.undoes("stock samovar").undoes_by("order", Order.at("7"), Cancel()).is_compensated(why)
    early = checkout(lines=SAMOVAR).receives(Approve("bob")).replies("order").replies("stock samovar")
    early.waits_for("parcels").refuses("parcels", "no room").undoes("stock samovar", "order").is_compensated("no room")


def test_errors_that_no_retry_can_mend_park_at_once() -> None:
    saga = checkout().replies("order").replies("stock teapot").replies("stock cup").replies("parcels", (1, 2))
    saga.replies("payment", Receipt("R1")).replies("capture").replies("ship teapot", 1).replies("ship cup", 2)
    saga.replies("shipped").fails("letter", NoLetterbox("there is none")).is_parked("as no retry can help")


# -- what does not ------------------------------------------------------------------------------------------------


def test_another_step_than_expected() -> None:
    saga = trip("hotel", "cab")
    assert told(lambda: saga.sends("cab", Room.at("cab"), Hold("t"))).splitlines() == [
        "Trip/t: another step should be sent",
        "(- expected, + got)",
        "- sends('cab', Room.at('cab'), Hold(trip='t'))",
        "?        ^^^            ^^^",
        "+ sends('hotel', Room.at('hotel'), Hold(trip='t'))",
        "?        ^^^^^            ^^^^^",
        "it is running: waits_for('hotel')",
        "sent, and not expected yet:",
        "sends('hotel', Room.at('hotel'), Hold(trip='t'))",
    ]
    assert "+ sends('hotel', Room.at('hotel')" in told(saga.sends_nothing)
    step = saga.sends("hotel", Room.at("hotel"), Hold("t"))
    assert told(lambda: step.undo(None)).splitlines() == [
        "step 'hotel' should be undone in another way",
        "(- expected, + got)",
        "- undo(None)",
        "+ undo(Release(trip='t'))",
    ]
    assert "- undo_compensates()" in told(step.undo_compensates)
    assert "- sends('hotel'" in told(lambda: saga.sends("hotel", Room.at("hotel"), Hold("t")))


def test_nothing_waits_for_what_the_test_says() -> None:
    saga = trip("hotel", "cab")
    assert told(lambda: saga.replies("cab", RoomHeld(1))) == (
        "no step 'cab' waits for an answer\nit is running: waits_for('hotel')\nsent, and not expected yet:\n"
        "sends('hotel', Room.at('hotel'), Hold(trip='t'))"
    )
    for more in (
        lambda: saga.refuses("cab", "no"),
        lambda: saga.fails("cab", ValueError()),
        lambda: saga.undo_fails("hotel", ValueError()),
        lambda: saga.undo_refuses("hotel", "no"),
    ):
        assert "waits for an answer" in told(more)
    assert "has no attempt with a timeout" in told(lambda: saga.times_out("hotel"))
    assert "waits for no next attempt" in told(lambda: saga.retries("hotel"))
    asked = given(Voyage, "v").when(Sail())
    assert "waits for no next attempt" in told(lambda: asked.retries("cabin"))
    asked.fails("cabin", ConnectionError("down"))
    assert "has no attempt with a timeout" in told(lambda: asked.times_out("cabin"))
    saga.replies("hotel", RoomHeld(1))
    assert "no step 'hotel' waits" in told(lambda: saga.replies("hotel", RoomHeld(1)))


def done() -> SagaPlay[Voyage, int]:
    return given(Voyage, "v").when(Sail()).refuses("cabin", "full")


def test_a_reply_or_a_message_that_can_not_be() -> None:
    saga = trip("hotel")
    with pytest.raises(TypeError, match="Hold declares the reply Held, but it was a int"):
        saga.replies("hotel", 3)
    with pytest.raises(NotTaken, match="Trip doesn't take Aboard"):
        saga.receives(Aboard("x"))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(NotTaken, match="Trip doesn't take Sail"):
        given(Trip, "t").when(Sail())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    saga.waits_for("hotel").replies("hotel", RoomHeld(1)).ends_with(TripBooked("t", ["hotel"]))
    assert "was not taken: Voyage/v is compensated" in told(lambda: done().receives(Aboard("late")))


def test_another_undo() -> None:
    saga = trip("hotel", "cab", "full").replies("hotel", RoomHeld(1)).replies("cab", RoomHeld(2))
    assert "- undoes('cab')\n+ sends_nothing()" in told(lambda: saga.undoes("cab"))
    saga.refuses("full", "no room")
    assert "- undoes('hotel')\n" in told(lambda: saga.undoes("hotel"))
    assert "it is compensating: goes back: 'no room'" in told(lambda: saga.undoes("hotel"))
    other = told(lambda: saga.undoes_by("cab", Room.at("cab"), ReleaseRoom("u")))
    assert "- undoes_by('cab', Room.at('cab'), Release(trip='u'))" in other
    assert "+ undoes_by('cab', Room.at('cab'), Release(trip='t'))" in other
    assert "- undoes('full')\n+ sends_nothing()" in told(lambda: saga.undoes("cab", "hotel", "full"))


def test_another_end() -> None:
    saga = trip("hotel")
    assert "- ends_with(TripBooked(trip='t', rooms=['hotel']))\n+ waits_for('hotel')" in told(
        lambda: saga.ends_with(TripBooked("t", ["hotel"]))
    )
    assert "- is_compensated('rain')" in told(lambda: saga.is_compensated("rain"))
    assert "- is_parked('')" in told(saga.is_parked)
    assert "- waits_for('cab')\n" in told(lambda: saga.waits_for("cab"))
    saga.replies("hotel", RoomHeld(1))
    assert "+ ends_with(TripBooked(trip='t', rooms=['hotel']))" in told(lambda: saga.ends_with(TripBooked("t", [])))
    assert "+ ends_with(" in told(saga.is_compensated)
    back = trip("hotel").refuses("hotel", "full")
    assert "- is_compensated('rain')" in told(lambda: back.is_compensated("rain"))
    assert "+ is_compensated('full')" in told(lambda: back.ends_with(TripBooked("t", [])))
    stuck = checkout().fails("order", UnknownActor("no orders"))
    assert "+ is_parked(\"SagaGaveUp: step 'order' was given up as no retry" in told(lambda: stuck.is_parked("full"))
    assert "- 'it is new'\n+ 'we look" in told(lambda: checkout().asks(WhereIs()).answers("it is new"))


# -- code that does not come out the same -------------------------------------------------------------------------


def test_code_that_is_not_the_same_when_it_is_run_again() -> None:
    why = told(lambda: given(Guesser, "g").when(Guess("command")))
    assert why.startswith("Guesser/g comes out differently when its code is run again, as it is after a crash: Saga")
    assert "use self.now(), self.random() and self.uuid()" in why
    assert "fields that differ: trip" in why
    begun = given(Guesser, "r").when(Guess("refusal"))
    assert "it raises Refused('enough')" in told(lambda: begun.replies("flight", Held(1)))


def test_code_that_is() -> None:
    saga = given(Guesser, "g").when(Guess("well"))
    saga.sends("flight", Flight.at("LH441"), HoldSeat("g")).undo(ReleaseSeat("g"))
    saga.replies("flight", Held(7)).replies("second", Held(1)).ends_with(7)


# -- who is there -------------------------------------------------------------------------------------------------


def test_actors_are_found_by_their_names() -> None:
    class Pay(Command["Payer", int]): ...

    class Payer(Saga[Pay, int]):
        async def run(self, command: Pay) -> int:
            return await self.ask("pay", Account.at("ana"), Withdraw(1))

    given(Payer, "n", actors=[Account]).when(Pay()).replies("pay", 1).ends_with(1)
    with pytest.raises(AssertionError, match=r"there are \d classes 'Checker'.*actors=\[Checker\]"):
        lost().is_parked("xyz")


def lost() -> SagaPlay[Any, Any]:
    class Find(Command["Lost", int]): ...

    def checker() -> Any:
        class Checker(Saga[Find, int]): ...

        return Checker

    several = [checker(), checker()]

    class Lost(Saga[Find, int]):
        async def run(self, command: Find) -> int:
            return await self.ask("find", several[0].at("x"), Find())

    return given(Lost, "l").when(Find())
