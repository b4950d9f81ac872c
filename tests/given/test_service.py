"""Given, when, then for services: what is met passes, and what isn't is told."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actors import Address, DefinitionError, NotTaken, Refused
from actors.reminders import Forget
from persistence import NotEncodable
from runtime.simulation import Stored, given
from tests.given.cast import (
    MINUTES,
    Bell,
    Did,
    Do,
    Flight,
    Held,
    HolderOf,
    HoldSeat,
    Patient,
    ReleaseSeat,
    Ring,
    SeatHeld,
    SeatReleased,
    Seats,
    Shuffle,
    SoldOn,
    Weigh,
    Wrong,
)
from tests.runtime import reminding
from tests.runtime.ages import today

TRIP = Address[Any]("TripSaga", "t9")


def test_what_comes_of_a_command() -> None:
    turn = given(Flight, SeatHeld("t1", 1), key="LH441").when(HoldSeat("t2"))
    turn.then(SeatHeld("t2", 2)).replies(Held(2)).state(Seats(2, {"t1": 1, "t2": 2})).tags("trip:t2")
    turn.reminds("expire", ReleaseSeat("t2"), after=MINUTES)
    turn.reminds("call", Ring("t2"), after=MINUTES / 2, to=Bell.at("hall"))
    turn.unless("t2 has a seat elsewhere", SeatHeld, tags=["trip:t2"])
    turn.when(HoldSeat("t3")).refuses("full").when(ReleaseSeat("t1")).then(SeatReleased("t1")).forgets("call")
    given(Flight).when(ReleaseSeat("t")).nothing_happens().replies(None).tags()
    given(Flight).when(Weigh(3.0)).fails(ZeroDivisionError).fails(ZeroDivisionError, "division by zero")


def test_what_it_answers() -> None:
    flight = given(Flight, SeatHeld("t1", 1), key="LH441")
    flight.asks(HolderOf(1)).answers("t1").when(HoldSeat("t2")).asks(HolderOf(2)).answers("t2").replies(Held(2))
    with pytest.raises(AssertionError, match=r"the answer to HolderOf\(seat=1\)"):
        flight.asks(HolderOf(1)).answers("t2")
    with pytest.raises(AssertionError, match=r"Flight/LH441 can't answer HolderOf\(seat=7\): .*StopIteration"):
        flight.asks(HolderOf(7))
    with pytest.raises(AssertionError, match=r"answer\(Shuffle\(\)\) has changed the state"):
        flight.asks(Shuffle())
    with pytest.raises(NotTaken, match="Flight/LH441 answers no queries of this kind, only HolderOf, Shuffle"):
        flight.asks(SoldOn("x"))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_several_commands_one_after_the_other() -> None:
    turn = given(Flight).when(HoldSeat("a")).replies(Held(1)).when(HoldSeat("b")).replies(Held(2))
    turn.when(Weigh(5.0)).nothing_happens().replies(2.5).state(Seats(2, {"a": 1, "b": 2}))


def test_the_rules_of_other_services_count() -> None:
    other = given(Flight, key="LH441").others(Flight.at("AF1"), SeatHeld("t", 1))
    other.when(HoldSeat("t")).refuses("t has a seat elsewhere").state(Seats()).when(HoldSeat("u")).replies(Held(1))
    given(Flight, SeatHeld("t", 1)).when(HoldSeat("t")).refuses("elsewhere")


def test_reminders_come_in_their_time() -> None:
    held = given(Flight, key="LH441").when(HoldSeat("t"))
    turn = held.advance(MINUTES - timedelta(microseconds=1)).then().sends(Bell.at("hall"), Ring("t"))
    turn.advance(timedelta(microseconds=1)).then(SeatReleased("t")).state(Seats())
    noon = datetime(2020, 2, 29, 12, tzinfo=UTC)
    given(Flight, now=noon).when(HoldSeat("t")).advance(timedelta(days=365_000)).then(SeatReleased("t"))


def test_a_command_that_comes_again_gets_its_first_reply() -> None:
    turn = given(Flight).when(HoldSeat("t"), command_id="c").replies(Held(1))
    turn.when(HoldSeat("t"), command_id="c").replies(Held(1)).nothing_happens()
    turn.when(HoldSeat("u"), command_id="c").fails(Exception, "give this HoldSeat an id of its own")


def test_locks() -> None:
    locked = given(Flight).locked_by(TRIP, "t").when(HoldSeat("t")).refuses("TripSaga/t9 is in the middle of something")
    locked.when(HoldSeat("u")).replies(Held(1))
    given(Flight).locked_by(TRIP, "t").when(HoldSeat("t"), step_of=TRIP).replies(Held(1))
    given(Patient).locked_by(TRIP, "t").when(HoldSeat("t")).waits()
    taken = given(Flight).when(HoldSeat("t"), step_of=TRIP, lock=True).then(SeatHeld("t", 1))
    taken.when(ReleaseSeat("t")).refuses("is locked")
    with pytest.raises(ValueError, match="only a saga's step takes a lock"):
        given(Flight).when(HoldSeat("t"), lock=True)


def test_events_are_read_as_they_are_stored() -> None:
    swap = Stored("SeatsSwapped", {"trip": "t", "seat": 12, "other": "u", "other_seat": 34})
    old = given(today.Flight, Stored("SeatTaken", {"trip": "t", "seat": 56}), swap, Stored("Noted", {"text": "x"}))
    old.when(today.Act()).replies(2).state(today.Seats({"t": (1, "2"), "u": (3, "4")}))
    second = given(today.Flight, Stored("SeatHeld", {"trip": "t", "seat": "78"}, revision=2))
    third = given(today.Flight, Stored("SeatHeld", {"trip": "t", "seat": "8", "row": 7}, revision=3))
    third.when(today.Act()).state(today.Seats({"t": (7, "8")}))
    new = today.SeatHeld("u", "9", 1)
    second.when(today.Act(held=new)).then(today.SeatReleased("nobody"), new)
    with pytest.raises(Exception, match="doesn't know"):
        given(Flight, Stored("Gone")).when(Weigh(1.0))
    with pytest.raises(NotEncodable, match="the stored Gone can't be stored: JSON has no NaN"):
        given(Flight, Stored("Gone", {"weight": float("nan")}))


def test_what_the_journal_would_not_take_is_not_taken() -> None:
    given(Flight).when(HoldSeat("large")).fails(NotEncodable, "the limit is 1,048,576")
    given(Wrong).when(Do("nan")).fails(NotEncodable, "JSON has no NaN and no infinity")
    given(Wrong).when(Do("foreign")).fails(DefinitionError, "Wrong doesn't name Undid among its events")
    with pytest.raises(NotEncodable, match="no NaN"):
        given(Wrong, Did(float("nan")))
    with pytest.raises(DefinitionError, match="doesn't name SeatReleased"):
        given(Wrong, SeatReleased("t"))
    with pytest.raises(NotTaken, match="Flight doesn't take Ring, only HoldSeat"):
        given(Flight).when(Ring("t"))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


# -- what is not met ----------------------------------------------------------------------------------------------


def told(make: Any) -> str:
    with pytest.raises(AssertionError) as raised:
        make()
    return str(raised.value)


def test_other_events() -> None:
    turn = given(Flight, SeatHeld("t1", 1), key="LH441").when(HoldSeat("t2"))
    assert told(lambda: turn.then(SeatHeld("t2", 1))).splitlines() == [
        "HoldSeat(trip='t2') at Flight/LH441: these events should have happened",
        "(- expected, + got)",
        "- SeatHeld(trip='t2', seat=1)",
        "?                          ^",
        "+ SeatHeld(trip='t2', seat=2)",
        "?                          ^",
    ]
    assert "- (nothing)\n+ SeatHeld(trip='t2', seat=2)" in told(turn.then)
    assert "- (nothing)\n+ SeatHeld(trip='t2', seat=2)" in told(turn.nothing_happens)
    two = told(lambda: turn.then(SeatHeld("t2", 2), SeatReleased("t2")))
    assert two.endswith("  SeatHeld(trip='t2', seat=2)\n- SeatReleased(trip='t2')")


def test_reminders_are_something_that_happens() -> None:
    turn = given(reminding.Bell).when(reminding.Wind("x", (Forget("gone"),), noted=False)).then()
    assert "+ Forget(name='gone')" in told(turn.nothing_happens)


def test_another_reply_state_or_tag() -> None:
    turn = given(Flight).when(HoldSeat("t"))
    assert told(lambda: turn.replies(Held(2))).endswith("- Held(seat=2)\n?           ^\n+ Held(seat=1)\n?           ^")
    assert "the state should be" in told(lambda: turn.state(Seats()))
    assert "+ Seats(capacity=2, held={'t': 1})" in told(lambda: turn.state(Seats()))
    assert "- trip:u" not in told(lambda: turn.tags())
    assert "- 'trip:u'\n" in told(lambda: turn.tags("trip:u"))


def test_another_reminder_or_condition() -> None:
    turn = given(Flight).when(HoldSeat("t"))
    other = told(lambda: turn.reminds("expire", ReleaseSeat("t"), after=MINUTES / 2))
    assert "the decision should say this about reminders" in other
    assert "Remind(name='call', command=Ring(trip='t')" not in other
    assert "Ring(text='t')" in other
    assert "- Forget(name='expire')" in told(lambda: turn.forgets("expire"))
    assert "should rest on this condition" in told(lambda: turn.unless("no", SeatHeld, tags=["trip:t"]))
    assert "tags=('trip:t',)" in told(lambda: turn.unless("no", SeatHeld, tags=["trip:t"]))
    assert "+ (nothing)" in told(lambda: turn.sends(Bell.at("hall"), Ring("t")))


def test_done_where_a_refusal_or_a_failure_was_expected() -> None:
    turn = given(Flight, key="LH441").when(HoldSeat("t"))
    assert told(lambda: turn.refuses("full")).splitlines() == [
        "HoldSeat(trip='t') at Flight/LH441: it should have been refused",
        "(- expected, + got)",
        "- refuses('full')",
        "+ HoldSeat(trip='t') at Flight/LH441 was done",
        "+ then(SeatHeld(trip='t', seat=1))",
        "+ replies(Held(seat=1))",
    ]
    assert "- fails(ValueError, 'bad')\n" in told(lambda: turn.fails(ValueError, "bad"))
    assert "- waits()" in told(turn.waits)


def test_refused_or_failed_where_something_else_was_expected() -> None:
    full = given(Flight, SeatHeld("a", 1), SeatHeld("b", 2), key="LH441").when(HoldSeat("t"))
    refused = "HoldSeat(trip='t') at Flight/LH441 was refused: flight LH441 is full"
    assert told(lambda: full.then()) == refused
    assert told(lambda: full.replies(Held(1))) == refused
    assert told(lambda: full.tags()) == refused
    assert told(lambda: full.reminds("expire", ReleaseSeat("t"), after=MINUTES)) == refused
    assert told(lambda: full.refuses("closed")).endswith(f"- refuses('closed')\n+ {refused}")
    assert told(lambda: full.fails(Refused)).endswith(f"- fails(Refused)\n+ {refused}")
    failed = given(Flight).when(Weigh(1.0))
    assert told(failed.refuses).endswith("at Flight failed: ZeroDivisionError: float division by zero")
    assert "- fails(ValueError)" in told(lambda: failed.fails(ValueError))
    assert "- fails(ZeroDivisionError, 'integer')" in told(lambda: failed.fails(ZeroDivisionError, "integer"))
    assert told(lambda: given(Patient).locked_by(TRIP, "t").when(HoldSeat("t")).then()).endswith("waits for a lock")


def test_an_error_that_nobody_expected_is_not_passed_over() -> None:
    failed = given(Flight).when(Weigh(1.0))
    assert re.search(r"ZeroDivisionError: .*\nwrite \.refuses\(\.\.\.\) or", told(lambda: failed.when(HoldSeat("t"))))
    assert "write .refuses" in told(lambda: failed.advance(MINUTES))
    failed.fails(ZeroDivisionError).when(HoldSeat("t")).replies(Held(1))


# -- authors' code that is not pure -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("random", r"Wrong.decide is not pure: for the same Do it decides one thing and then another;"),
        ("moody", r"Wrong.decide is not pure: .*\n(.*\n)*.*Refused\('not today'\)"),
        ("changes", r"Wrong.decide changes the state that it is given; return a new one: .*\n(.*\n)*.*7\.0"),
        ("grows", r"Wrong.evolve changes the state that it is given; return a new one"),
        ("full", r"Wrong.evolve refuses Did\(number=10.0\): full\n.*check the rule in decide"),
        ("dices", r"Wrong.evolve is not pure: for the same Did it returns one thing and then another"),
    ],
)
def test_code_that_is_not_pure(what: str, why: str) -> None:
    Wrong.initial.numbers.clear()
    assert re.match(why, told(lambda: given(Wrong).when(Do(what))))
    Wrong.initial.numbers.clear()


def test_an_event_that_was_given_shows_it_too() -> None:
    assert "Wrong.evolve changes the state" in told(lambda: given(Wrong, Did(8.0)).when(Do("well")))
    Wrong.initial.numbers.clear()
    given(Wrong, Did(1.0)).when(Do("well")).then(Did(1.0))
