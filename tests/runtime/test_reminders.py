"""P2, P3, P11: reminders of a service's own are set with its decision, never early, and can be looked at."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actors import Failed, OutcomeUnknown, Refused
from actors.reminders import Forget, Remind
from persistence import NEVER
from runtime import ManualClock, PendingReminder, Runtime
from runtime.service_cell import ServiceCell
from tests.runtime.cast import Hold
from tests.runtime.reminding import (
    BELL,
    EVERYBODY,
    SECOND,
    Bell,
    Strike,
    Wind,
    at,
    check_never_early,
    pass_time,
    strike,
    struck,
    struck_at,
    wind,
)
from tests.runtime.tools import HeldJournal, check_once, comes, node_of, of, types_of

DROP = Forget("a")


def when(clock: ManualClock, seconds: float) -> datetime:
    return datetime.fromtimestamp((clock.now() + seconds * SECOND) / 1e6, UTC)


# -- once, again, not any more ------------------------------------------------------------------------------------


async def test_it_comes_at_its_time_and_once() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 10))
        await pass_time(runtime, clock, 9.999_999)
        assert await struck(runtime) == ()
        await pass_time(runtime, clock, 0.000_001)
        assert await struck(runtime) == ("a",)
        assert await runtime.reminders(BELL) == []
        await pass_time(runtime, clock, 1_000, 10)
        assert await struck(runtime) == ("a",)
    assert types_of(journal.records, BELL) == ["Wound", "service.reminder", "Struck", "service.reminded"]
    check_once(journal.records)


async def test_several_come_in_the_order_in_which_they_are_due() -> None:
    clock = ManualClock()
    async with Runtime("memory:", EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("c", 3), strike("a", 1), at(when(clock, 2), "b"), strike("now", 0))
        await pass_time(runtime, clock, 0)
        assert await struck(runtime) == ("now",)
        await pass_time(runtime, clock, 5)
        assert await struck(runtime) == ("now", "a", "b", "c")


async def test_the_same_name_replaces_and_a_dropped_one_never_comes() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 5), strike("b", 5), strike("c", 5))
        await wind(runtime, strike("a", 20), Forget("b"))
        await wind(runtime, strike("c", 7, command=Strike("other c")))
        await pass_time(runtime, clock, 10)
        assert await struck(runtime) == ("other c",)
        await pass_time(runtime, clock, 10)
        assert await struck(runtime) == ("other c", "a")
        await wind(runtime, strike("d", 1), Forget("d"))
        await pass_time(runtime, clock, 10)
        assert len(await struck(runtime)) == 2
        assert await journal.sleeping() == []


async def test_dropping_what_is_not_there_writes_nothing() -> None:
    journal = HeldJournal()
    async with Runtime(journal, EVERYBODY) as runtime:
        assert await runtime.ask(BELL, Wind("x", (DROP,), noted=False)) == "x"
        assert journal.records == []
        for _ in range(2):
            assert await runtime.ask(BELL, Wind("x", (DROP,), noted=False), id="one") == "x"
        assert types_of(journal.records, BELL) == ["service.handled"]


async def test_a_decision_without_events_may_set_one() -> None:
    """And a repeat of its command gets the first reply, and sets nothing."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        for id_ in ("one", "one", None):
            assert await runtime.ask(BELL, Wind("x", (strike("a", 1),), noted=False), id=id_) == "x"
        await runtime.kill(BELL)
        assert await runtime.ask(BELL, Wind("x", (strike("a", 1),), noted=False), id="one") == "x"
        assert types_of(journal.records, BELL) == ["service.reminder"] * 2
        await pass_time(runtime, clock, 1)
        assert await struck(runtime) == ("a",)


async def test_the_firing_itself_may_set_it_again_and_drop_others() -> None:
    journal, clock = HeldJournal(), ManualClock()
    first = Strike("a", again=(("a", 0),), drop=("b", "nobody"))
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        start = clock.now()
        await wind(runtime, strike("a", 5, command=first), strike("b", 6), strike("c", 7, every=1))
        await wind(runtime, strike("c", 7, every=1, command=Strike("c", drop=("c",))))
        await pass_time(runtime, clock, 5)
        await pass_time(runtime, clock, 60, 60)
    assert struck_at(journal.records, start) == [("a", 5), ("a", 5), ("c", 7)]
    check_never_early(journal.records)


# -- again and again ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reminder", "times"),
    [
        (strike("a", every=10), [10, 20, 30, 40]),
        (strike("a", 3, every=10), [3, 13, 23, 33, 43]),
        (strike("a", 0, every=20), [0, 20, 40]),
        (Remind("a", Strike("a"), at=datetime(1970, 1, 2, tzinfo=UTC), every=timedelta(seconds=15)), [0, 15, 30, 45]),
    ],
)
async def test_it_comes_again_on_its_grid(reminder: Remind, times: list[float]) -> None:
    journal, clock = HeldJournal(), ManualClock(10_000_000_000 * 15)
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        start = clock.now()
        await wind(runtime, reminder)
        await pass_time(runtime, clock, 0)
        await pass_time(runtime, clock, 45, 45)
        found = [round(seconds) for _, seconds in struck_at(journal.records, start)]
        assert found == times
        assert len(await runtime.reminders(BELL)) == 1
        await wind(runtime, DROP)
        await pass_time(runtime, clock, 45, 45)
        assert len(struck_at(journal.records, start)) == len(times)
    check_never_early(journal.records)


@pytest.mark.parametrize("missed", [1.0, 99.9, 1_000_003.0])
async def test_what_was_missed_while_nobody_was_there_comes_once(missed: float) -> None:
    """And then on its grid: an interval is not made up for."""
    journal, clock = HeldJournal(), ManualClock()
    start = clock.now()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("once", 10), strike("often", 5, every=7), strike("later", 2_000_000))
    clock.step(10 + missed)
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await pass_time(runtime, clock, 0)
        texts = [text for text, _ in struck_at(journal.records, start)]
        assert sorted(texts) == ["often", "once"]
        await pass_time(runtime, clock, 20, 2_000)
        later = [seconds for text, seconds in struck_at(journal.records, start) if text == "often"][1:]
        assert len(later) in (2, 3)
        for seconds in later:
            assert 0 <= (seconds - 5) % 7 < 0.02
    check_never_early(journal.records)


async def test_an_interval_that_is_shorter_than_its_work_does_not_keep_the_runtime_open() -> None:
    journal = HeldJournal()
    async with Runtime(journal, EVERYBODY) as runtime:
        await wind(runtime, Remind("a", Strike("a"), every=timedelta(microseconds=1)))
        await comes(lambda: len(of(journal.records, "Struck")) >= 10)
    check_never_early(journal.records)


# -- with the decision or not at all ------------------------------------------------------------------------------


async def test_it_is_written_in_the_append_of_the_decision() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 10))
        await pass_time(runtime, clock, 10)
    appends = [append for group in journal.groups for batch in group for append in batch]
    assert [([event.type for event in append.events], append.wake) for append in appends] == [
        (["Wound", "service.reminder"], clock.now()),
        (["Struck", "service.reminded"], NEVER),
    ]


@pytest.mark.parametrize(("fate", "kept"), [("before", False), ("after", True)])
async def test_a_crash_leaves_both_the_events_and_the_reminder_or_neither(fate: str, kept: bool) -> None:
    """FAILURES 20; the node finds out for itself what is there, and goes on from it."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        journal.fail = [fate]
        with pytest.raises(OutcomeUnknown):
            await wind(runtime, strike("a", 10))
        await pass_time(runtime, clock, 10)
        assert await struck(runtime) == (("a",) if kept else ())
    assert types_of(journal.records, BELL)[:2] == (["Wound", "service.reminder"] if kept else [])


async def test_a_refused_or_failed_decision_sets_nothing() -> None:
    journal = HeldJournal()
    mistakes: list[tuple[Any, str]] = [
        (Remind("a", Hold("t"), after=timedelta(0)), r"'a' with Hold, which it doesn't take; add it.* \| Hold, \.\.\."),
        (Remind("a", "text", after=timedelta(0)), "reminder 'a' must be a command, not str"),
        (Remind("a", Hold("t"), after=timedelta(0), to=BELL), "NotTaken: Bell doesn't take Hold"),
        (Remind("a", Hold("t"), after=timedelta(0), to=type(BELL)("Nobody")), "UnknownActor: there is no actor"),
        (Remind("\ud800", Strike("t"), after=timedelta(0)), "NotEncodable"),
        (strike("a", 1, command=Strike("t" * 2_000_000)), "NotEncodable"),
    ]
    async with Runtime(journal, EVERYBODY) as runtime:
        for mistake, why in mistakes:
            with pytest.raises(Failed, match=why):
                await wind(runtime, strike("fine", 1), mistake)
        with pytest.raises(Refused):
            await wind(runtime, strike("a", 1), text="full")
        assert await runtime.reminders(BELL) == []
    assert journal.records == []


async def test_a_thousand_may_be_pending_and_no_more() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, *(strike(f"{n}", 10) for n in range(1_000)))
        with pytest.raises(Failed, match=r"1,000 reminders are pending, which is the most .* before 'more' is set"):
            await wind(runtime, strike("more", 1))
        await wind(runtime, strike("7", 11), Forget("8"), strike("more", 10))
        assert len(await runtime.reminders(BELL)) == 1_000
        await pass_time(runtime, clock, 12)
        assert len(await struck(runtime)) == 1_000
        assert await runtime.reminders(BELL) == []


async def test_without_reminders_nothing_is_added() -> None:
    journal = HeldJournal()
    async with Runtime(journal, EVERYBODY) as runtime:
        await wind(runtime)
        await runtime.ask(BELL, Wind("x"), id="one")
        await runtime.ask(BELL, Wind("x", noted=False))
        cell = node_of(runtime).find(BELL)
        assert isinstance(cell, ServiceCell)
        assert cell._reminders is None  # pyright: ignore[reportPrivateUsage]
    assert [(record.type, record.data) for record in journal.records] == [
        ("Wound", b'{"type":"Wound","text":"wound"}'),
        ("Wound", b'{"type":"Wound","text":"x"}'),
    ]
    assert all(append.wake is None for group in journal.groups for batch in group for append in batch)


# -- transactions -------------------------------------------------------------------------------------------------


async def test_a_transaction_keeps_the_reminders_of_all_its_decisions() -> None:
    journal, clock = HeldJournal(), ManualClock()
    other = Bell.at("other")
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        for _ in range(2):
            await runtime.transact(
                (BELL, Wind("1", (strike("a", 5), strike("b", 5)))),
                (other, Wind("2", (strike("c", 5),), noted=False)),
                (BELL, Wind("3", (Forget("a"), strike("d", 6)))),
                id="all",
            )
        assert len(journal.groups) == 1
        await runtime.kill(BELL)
        await pass_time(runtime, clock, 10)
        assert (await struck(runtime), await struck(runtime, other)) == (("b", "d"), ("c",))


async def test_a_transaction_that_is_refused_sets_and_drops_nothing() -> None:
    clock = ManualClock()
    async with Runtime("memory:", EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 5))
        with pytest.raises(Refused):
            await runtime.transact(
                (BELL, Wind("1", (DROP, strike("b", 5)))), (BELL, Wind("2", (strike("c", 1),))), (BELL, Wind("full"))
            )
        await wind(runtime, strike("d", 6))
        await pass_time(runtime, clock, 10)
        assert await struck(runtime) == ("a", "d")


# -- looking back -------------------------------------------------------------------------------------------------


async def test_what_is_pending_can_be_looked_at() -> None:
    clock = ManualClock()
    async with Runtime("memory:", EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("b", 9, every=7), strike("a", 5))
        await runtime.remind(BELL, "c", Strike("c"), after=timedelta(seconds=7))
        seconds = [when(clock, n) for n in range(10)]
        expected = [
            PendingReminder("a", BELL, Strike("a"), seconds[5], None, own=True),
            PendingReminder("c", BELL, Strike("c"), seconds[7], None, own=False),
            PendingReminder("b", BELL, Strike("b"), seconds[9], timedelta(seconds=7), own=True),
        ]
        assert await runtime.reminders(BELL) == expected
        await runtime.kill(BELL)
        assert await runtime.reminders(BELL) == expected


async def test_history_says_what_was_set_and_what_came_of_it() -> None:
    clock = ManualClock()
    async with Runtime("memory:", EVERYBODY, clock=clock) as runtime:
        await runtime.ask(BELL, Wind("x", (strike("a", 5), strike("never", 6), strike("b", 99), Forget("b"))), id="one")
        due = clock.now() + 5 * SECOND
        await pass_time(runtime, clock, 10)
        entries = [entry async for entry in runtime.history(BELL)]
    found = [(entry.type, getattr(entry.event, "text", None) or entry.event.get("name")) for entry in entries]
    assert found == [
        ("Wound", "x"),
        ("service.reminder", "a"),
        ("service.reminder", "never"),
        ("service.reminder", "b"),
        ("service.forgotten", "b"),
        ("Struck", "a"),
        ("service.reminded", "a"),
        ("service.reminded", "never"),
    ]
    assert [entry.command_id for entry in entries if entry.command_id] == ["one", f"Bell/big~a/2@{due}"]
    assert entries[5].meta.causation == entries[6].meta.causation == f"Bell/big~a/2@{due}"
    assert {entry.meta.correlation for entry in entries} == {"one"}
    assert entries[7].event == {"name": "never", "due": due + SECOND, "refused": "it never strikes"}
