"""What comes over the network is a frame of ours, or an error of ours; errors come back as what they were."""

import inspect
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import (
    Address,
    Deadlock,
    Failed,
    Locked,
    OutcomeUnknown,
    Refused,
    RetryPolicy,
    RuntimeClosed,
    UnderstudyError,
    errors,
)
from runtime import Runtime
from runtime.cluster import MemoryNetwork, frames
from runtime.cluster.told_errors import KNOWN, error_of, told
from tests.cluster.cast import Book, Booked, Flight, HoldSeat, Mailer, Payments, Taken, Trip
from tests.runtime.tools import node_of

AN_ASK = frames.Ask(
    frames.VERSION,
    "life",
    7,
    Address("Flight", "LH1"),
    "request",
    msgspec.Raw(b'{"type":"HoldSeat","trip":"t"}'),
    "id",
    "saga",
    {"user": "ana"},
    Address("Bell", "b"),
    5_000_000,
    (Address("Trip", "t"),),
    None,
    written=True,
    lock=True,
)


def test_a_frame_reads_back() -> None:
    for frame in (
        AN_ASK,
        frames.Who(1, "a", 1),
        frames.Here(1, "a", 1, "journal", "b"),
        frames.Still(1, "a", 1),
        frames.Underway(1, "a", 1, "b"),
        frames.Lost(1, "a", 1),
        frames.Done(1, "a", 1, msgspec.Raw(b"[1,2]")),
        frames.Failed(1, "a", 1, "Refused", "no", ("x",), ("y",)),
    ):
        assert frames.pack(frames.unpack(frames.pack(frame))) == frames.pack(frame)


def test_another_version_is_named() -> None:
    data = frames.pack(msgspec.structs.replace(AN_ASK, version=2)).replace(b'"hops"', b'"news"')
    with pytest.raises(frames.BadFrame, match="speaks version 2 of the protocol, this one speaks 1"):
        frames.unpack(data)


@pytest.mark.parametrize(
    "data", [b"", b"null", b"{}", b'{"type":"ask"}', b"[" * 10_000, b"x" * 40_000_000, b'{"version":1}'], ids=len
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(frames.BadFrame):
        frames.unpack(data)


# -- errors -------------------------------------------------------------------------------------------------------


class CardDeclined(Refused):
    pass


class Broken(KeyError):
    pass


@pytest.mark.parametrize("name", [name for name in KNOWN if name != "RuntimeClosed"])
def test_each_error_comes_back_as_what_it_was(name: str) -> None:
    cls: Any = KNOWN[name]
    error = cls("why", "lock", "Trip/t") if issubclass(cls, Locked) else cls("why")
    back = error_of(told("life", 1, error))
    assert (type(back), str(back)) == (cls, "why")
    if isinstance(back, Locked):
        assert (back.lock, back.holder) == ("lock", "Trip/t")


def test_all_errors_are_known() -> None:
    found = {cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, UnderstudyError)}
    assert set(KNOWN.values()) == found


def test_one_of_the_authors_own_comes_as_the_nearest() -> None:
    back = error_of(told("life", 1, CardDeclined("no money")))
    assert (type(back), str(back)) == (Refused, "no money")
    assert type(error_of(told("life", 1, Deadlock("a", "b", "c")))) is Deadlock
    assert type(error_of(told("life", 1, ValueError("whatever")))) is OutcomeUnknown
    assert type(error_of(told("life", 1, RuntimeClosed("of the other node")))) is OutcomeUnknown
    assert type(error_of(frames.Failed(1, "life", 1, "NewError", "tomorrow's"))) is OutcomeUnknown
    assert type(error_of(frames.Failed(1, "life", 1, "Locked", "no details"))) is Locked


def test_a_policy_finds_the_cause_by_its_name() -> None:
    failed = Failed("it broke")
    failed.__cause__ = Broken("x")
    back = error_of(told("life", 1, failed))
    assert RetryPolicy(final=(Broken,)).is_final(back)
    assert RetryPolicy(final=("KeyError",)).is_final(back)
    assert not RetryPolicy(final=("ValueError",)).is_final(back)


@given(st.text(), st.lists(st.text(), max_size=20))
def test_any_text_of_an_error_can_be_sent(text: str, causes: list[str]) -> None:
    data = frames.pack(told("life", 1, Refused(text)))
    assert isinstance(frames.unpack(data), frames.Failed)
    assert isinstance(error_of(frames.Failed(1, "life", 1, "Failed", text, (), tuple(causes))), Failed)


# -- whatever comes -----------------------------------------------------------------------------------------------


async def test_whatever_comes_harms_nobody() -> None:
    """Frames that were altered in each place; the node answers some of them, and goes on."""
    network = MemoryNetwork()
    async with Runtime("memory:", [Flight], network=network) as runtime:
        cluster = runtime._cluster  # pyright: ignore[reportPrivateUsage]
        assert cluster is not None
        whole = frames.pack(AN_ASK)
        for place in range(len(whole)):
            for byte in b'"{}[],:0a\xff\x00':
                cluster.arrived(whole[:place] + bytes([byte]) + whole[place + 1 :])
        for what in ("read", "compensate", "unlock", "nonsense"):
            cluster.arrived(frames.pack(msgspec.structs.replace(AN_ASK, what=what, number=8)))
        for name in ("", "Nobody", "runtime.reminders", "Flight#1"):
            cluster.arrived(frames.pack(msgspec.structs.replace(AN_ASK, to=Address(name), number=9)))
        for kind in ("done", "failed", "underway", "still", "lost", "here", "who"):
            for life in (cluster.life, "", "another"):
                cluster.arrived(b'{"type":"%b","version":1,"life":"%b","number":1}' % (kind.encode(), life.encode()))
        assert await runtime.ask(Flight.at("LH2"), Taken()) == 0
        assert (await runtime.ask(Flight.at("LH2"), HoldSeat("t"))).seat == 1
        assert node_of(runtime).idle


async def test_a_lock_is_given_back_to_services_only() -> None:
    """A message of the runtime's own that comes to another sort of actor would crash it, or park it."""
    network = MemoryNetwork()
    async with Runtime("memory:", [Trip, Flight, Payments, Mailer], network=network) as runtime:
        cluster = runtime._cluster  # pyright: ignore[reportPrivateUsage]
        assert cluster is not None
        release = msgspec.Raw(b'{"holder":["Trip","t"]}')
        targets: list[Address[Any]] = [Trip.at("t"), Mailer.at()]
        for number, to in enumerate(targets, 1):
            frame = frames.Ask(frames.VERSION, "life", number, to, "unlock", release)
            cluster.arrived(frames.pack(frame))
        assert await runtime.ask(Trip.at("t"), Book("LH1")) == Booked(1, "receipt-t")
        assert runtime.stats().actors["Mailer"].failures == 0


@pytest.mark.parametrize("life", ["a b", "a\r\nPUB x 0", "a.b", "a\n", ">", "x" * 65])
@pytest.mark.parametrize("place", ["life", "server"])
def test_a_life_is_a_word_that_fits_into_a_subject(life: str, place: str) -> None:
    frame = frames.Here(1, "a", 1, "journal", "b")
    with pytest.raises(frames.BadFrame, match="no frame"):
        frames.unpack(frames.pack(msgspec.structs.replace(frame, **{place: life})))
