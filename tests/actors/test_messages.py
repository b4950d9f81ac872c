"""Messages: frozen values with a stable name that come back from JSON as they went."""

from typing import Optional

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Command, DefinitionError, Event, Message, Query, State
from actors.messages import Request, look_up, name_of, reply_type


class Held(Message):
    seat: int


class SeatHeld(Event):
    trip: str
    seat: int = 1


class SeatReleased(Event, tag="seat-released"):
    trip: str


class HoldSeat(Command["Flight", Held]):
    trip: str


class Seats(State):
    held: dict[str, int] = {}


@pytest.mark.parametrize(("value", "field"), [(Held(1), "seat"), (SeatHeld("t"), "trip"), (HoldSeat("t"), "trip")])
def test_messages_are_frozen(value: Message, field: str) -> None:
    with pytest.raises(AttributeError):
        setattr(value, field, "other")


def test_states_are_frozen() -> None:
    with pytest.raises(AttributeError):
        setattr(Seats(), "held", {})  # noqa: B010 (the type checkers know better than to let it be written)


def test_messages_are_values() -> None:
    assert SeatHeld("t", 2) == SeatHeld("t", 2) != SeatHeld("t", 3)
    assert len({SeatHeld("t", 2), SeatHeld("t", 2), SeatHeld("u", 2)}) == 2
    same: object = Seats()
    assert Held(1) != same


def test_an_empty_default_is_not_shared() -> None:
    assert Seats().held is not Seats().held


def test_the_stable_name_is_the_class_name_or_the_tag() -> None:
    assert name_of(SeatHeld) == "SeatHeld"
    assert name_of(SeatReleased) == "seat-released"
    assert name_of(HoldSeat) == "HoldSeat"


def test_the_name_is_stored_with_the_value() -> None:
    assert msgspec.json.decode(msgspec.json.encode(SeatReleased("t"))) == {"type": "seat-released", "trip": "t"}
    with pytest.raises(msgspec.ValidationError, match="seat-released"):
        msgspec.json.decode(msgspec.json.encode(SeatReleased("t")), type=SeatHeld)


def test_messages_match_by_position() -> None:
    match SeatHeld("t", 7):
        case SeatHeld(trip, seat):
            assert (trip, seat) == ("t", 7)


@given(trip=st.text(), seat=st.integers(-(2**63), 2**63 - 1))
def test_messages_survive_json(trip: str, seat: int) -> None:
    for message in (SeatHeld(trip, seat), SeatReleased(trip)):
        data = msgspec.json.encode(message)
        assert msgspec.json.decode(data, type=SeatHeld | SeatReleased) == message


def test_a_reply_carries_its_events_in_order() -> None:
    decision = HoldSeat("t").reply(Held(1), SeatHeld("t"), SeatReleased("t"))
    assert decision.reply == Held(1)
    assert decision.events == (SeatHeld("t"), SeatReleased("t"))
    assert HoldSeat("t").reply(Held(1)).events == ()


class Quoted(Command["Flight", "Held"]): ...


class QuotedInside(Query["Flights", "list[Held]"]): ...


class QuotedDeeper(Query["Flights", dict[str, list["Held"]]]): ...


class QuotedBesideNone(Query["Flights", Optional["Held"]]): ...


class Later(Command["Flight", "DefinedLater"]): ...


class DefinedLater(Message): ...


class NoReply(Command["Flight", None]): ...


class Special(HoldSeat):
    row: int = 1


@pytest.mark.parametrize(
    ("request_class", "reply"),
    [
        (HoldSeat, Held),
        (Special, Held),
        (NoReply, type(None)),
        (Quoted, Held),
        (QuotedInside, list[Held]),
        (QuotedDeeper, dict[str, list[Held]]),
        (QuotedBesideNone, Held | None),
        (Later, DefinedLater),
    ],
)
def test_the_reply_type_is_read_from_the_class(request_class: type[Request[object, object]], reply: object) -> None:
    assert reply_type(request_class) == reply


class Nowhere(Command["Flight", "Nobody"]):  # type: ignore[name-defined]
    ...


class NowhereInside(Query["Flights", list["Nobody"]]):  # type: ignore[name-defined] # noqa: F821
    ...


class NowhereInModule(Query["Flights", "msgspec.Nobody"]):  # type: ignore[name-defined]
    ...


@pytest.mark.parametrize("request_class", [Nowhere, NowhereInside, NowhereInModule])
def test_a_reply_type_that_is_not_there_is_named(request_class: type[Request[object, object]]) -> None:
    with pytest.raises(DefinitionError, match=f"reply type of {request_class.__name__} names 'Nobody'.*import it"):
        reply_type(request_class)


class Silent(Command):  # type: ignore[type-arg] # pyright: ignore[reportMissingTypeArgument]
    ...


@pytest.mark.parametrize("request_class", [Silent, Command, Query])
def test_a_request_without_a_reply_type_is_told_what_to_write(request_class: type[Request[object, object]]) -> None:
    with pytest.raises(DefinitionError, match=rf'class {request_class.__name__}\(Command\["Actor", Reply\]\)'):
        reply_type(request_class)


def test_look_up_leaves_real_types_alone() -> None:
    assert look_up(Held | None, __name__) == Held | None


class Flight: ...


class Flights: ...
