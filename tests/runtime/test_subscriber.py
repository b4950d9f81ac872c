"""Subscribers: each event at least once, when it is durable, in order by key, so many at once; none is left out."""
# ruff: noqa: ASYNC240 (a test may block its loop on a file)

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actors import Address, DefinitionError, Event, Meta, NotTaken, ReadModelBehind, Subscriber
from actors.reminders import EPOCH
from persistence import BadJournalUrl
from runtime import BaseInstrument, ManualClock, Runtime
from runtime import deliveries as window_module
from runtime.deliverer import Deliverer
from runtime.instruments import Outcome
from tests.runtime.cast import Board, Hold, Release, Room, WasHeld, WasReleased
from tests.runtime.subscribing import Mail, Outside, deliverer, outside, tell, written
from tests.runtime.tools import HeldJournal, comes, node_of, quiet, restart_of

__all__ = ["outside"]


async def test_each_event_is_handled_once_when_nothing_dies(outside: Outside) -> None:
    async with Runtime("memory:", [Room, Mail]) as runtime:
        await tell(runtime, "a1", "b1", "a2")
        await runtime.caught_up(Mail.at())
        assert sorted(outside.done) == [("Room/a@1", "a1"), ("Room/a@2", "a2"), ("Room/b@1", "b1")]
        assert outside.of("a") == ["a1", "a2"]
        await tell(runtime, "c1")
        await runtime.caught_up(Mail.at())
        assert outside.trips[-1] == "c1"
        assert runtime.parked() == {}
        stats = runtime.stats().subscribers["Mail"]
        assert (stats.position, stats.lag, stats.under_way, stats.set_aside) == (runtime.position, 0, 0, 0)
        assert (stats.lag_seconds, stats.last_error, stats.parked) == (0.0, None, False)
        assert stats.rate > 0
        assert "Mail" not in runtime.stats().actors
        assert "Mail" not in runtime.stats().read_models
    assert outside.lives == ["started", "stopped"]


async def test_it_goes_on_behind_its_checkpoint(outside: Outside, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'j.db'}"
    for n in range(3):
        async with Runtime(url, [Room, Mail]) as runtime:
            await tell(runtime, f"a{n}", f"b{n}")
            await runtime.caught_up(Mail.at())
    assert sorted(outside.trips) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert outside.lives == ["started", "stopped"] * 3


async def test_it_gets_an_event_only_when_it_is_durable(outside: Outside) -> None:
    journal = HeldJournal()
    async with Runtime(journal, [Room, Mail]) as runtime:
        await runtime.caught_up(Mail.at())
        journal.hold()
        asked = asyncio.create_task(runtime.ask(Room.at("a"), Hold("a1")))
        await journal.arrived.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert outside.begun == []
        journal.gate.set()
        await asked
        await runtime.caught_up(Mail.at())
        assert outside.trips == ["a1"]


async def test_different_keys_at_once_and_one_key_in_order(outside: Outside) -> None:
    outside.hold("a1", "b1", "c1", "d1")
    async with Runtime("memory:", [Room, Mail]) as runtime:
        await tell(runtime, "a1", "a2", "b1", "c1", "d1")
        await comes(lambda: len(outside.begun) == 3)
        await quiet_but_for_handlers()
        assert [trip for _, trip in outside.begun] == ["a1", "b1", "c1"]  # at_once = 3
        outside.let_go("b1")
        await comes(lambda: len(outside.begun) == 4)
        assert outside.begun[-1][1] == "d1"  # and not a2, whose a1 is under way
        outside.let_go("a1", "c1", "d1")
        await runtime.caught_up(Mail.at())
        assert outside.of("a") == ["a1", "a2"]
        assert outside.most == 3


async def quiet_but_for_handlers() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


async def test_one_that_is_slow_holds_others_back_only_at_the_window(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_module, "WINDOW", 10)
    outside.hold("a1")
    async with Runtime("memory:", [Room, Mail]) as runtime:
        trips = ["a1", *(f"b{n}" for n in range(30))]
        await tell(runtime, *trips)
        await comes(lambda: len(outside.done) == 9)
        await quiet_but_for_handlers()
        assert outside.trips == [f"b{n}" for n in range(9)]  # with a1 that is the window
        mail = deliverer(runtime)
        assert mail.position < 2 + 1  # not beyond a1, which is not done
        assert mail.view.checkpoint == mail.position or mail.view.checkpoint == 0
        outside.let_go("a1")
        await runtime.caught_up(Mail.at())
        assert outside.of("b") == [f"b{n}" for n in range(30)]


@pytest.mark.parametrize("since", ["now", "beginning", 3])
async def test_where_it_begins(since: str | int, outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mail, "since", since)
    async with Runtime(restart_of(await written("a1", "a2", "a3", "a4")), [Room, Mail]) as runtime:
        await tell(runtime, "a5")
        await runtime.caught_up(Mail.at())
        expected = {"now": ["a5"], "beginning": ["a1", "a2", "a3", "a4", "a5"], 3: ["a4", "a5"]}
        assert outside.trips == expected[since]


async def test_from_a_time_on(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, journal = ManualClock(), HeldJournal()
    async with Runtime(journal, [Room], clock=clock) as runtime:
        times = list[int]()
        for n in range(9):
            times.append(clock.now())
            await tell(runtime, f"a{n}")
            clock.advance(60)
    for n in (0, 4, 8):
        for late in (0, 1):
            monkeypatch.setattr(Mail, "since", EPOCH + timedelta(microseconds=times[n] + late))
            outside.done.clear()
            async with Runtime(restart_of(journal.records), [Room, Mail], clock=clock) as runtime:
                await runtime.caught_up(Mail.at())
            assert outside.trips == [f"a{m}" for m in range(n + late, 9)]


async def test_now_is_when_it_was_first_started_whatever_dies_then(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoint is gone with the process, and nothing of what came after the first start is left out."""
    monkeypatch.setattr(Mail, "since", "now")
    journal = restart_of(await written("a1", "a2"))
    outside.hold("b1")
    async with Runtime(journal, [Room, Mail]) as runtime:
        await tell(runtime, "b1", "b2")
        records = list(journal.records)
        outside.let_go("b1")
    outside.done.clear()
    outside.begun.clear()
    async with Runtime(restart_of(records), [Room, Mail]) as runtime:
        await tell(runtime, "b3")
        await runtime.caught_up(Mail.at())
        assert outside.trips == ["b1", "b2", "b3"]


async def test_a_new_version_of_the_class_repeats_nothing(outside: Outside, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'j.db'}"
    async with Runtime(url, [Room, Mail]) as runtime:
        await tell(runtime, "a1")
        await runtime.caught_up(Mail.at())
        await runtime.ask(Room.at("a"), Release("a1"))
        await runtime.caught_up(Mail.at())
    released = list[str]()

    class Mail2(Mail):
        async def handle(self, event: WasHeld | WasReleased, meta: Meta) -> None:
            if isinstance(event, WasReleased):
                released.append(event.trip)
            else:
                await super().handle(event, meta)

    Mail2.__name__ = "Mail"
    async with Runtime(url, [Room, Mail2]) as runtime:
        await tell(runtime, "a2")
        await runtime.ask(Room.at("a"), Release("a2"))
        await runtime.caught_up(Mail2.at())
    assert outside.trips == ["a1", "a2"]
    assert released == ["a2"]


async def test_closing_lets_what_is_under_way_end_and_begins_nothing_new(outside: Outside, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'j.db'}"
    outside.hold("a1")

    async def let_go() -> None:
        await comes(lambda: closing)
        await quiet_but_for_handlers()
        outside.let_go("a1")

    closing = False
    async with asyncio.TaskGroup() as tasks, Runtime(url, [Room, Mail]) as runtime:
        await tell(runtime, "a1", "a2")
        await comes(lambda: outside.begun)
        tasks.create_task(let_go())
        closing = True
    assert outside.trips == ["a1"]
    async with Runtime(url, [Room, Mail]) as runtime:
        await runtime.caught_up(Mail.at())
    assert outside.trips == ["a1", "a2"]


async def test_what_does_not_end_is_cut_off_at_closing_and_comes_again(outside: Outside, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'j.db'}"
    outside.hold("a1")
    async with Runtime(url, [Room, Mail], shutdown_timeout=0.01) as runtime:
        await tell(runtime, "a1", "b1")
        await comes(lambda: outside.trips == ["b1"])
    assert outside.lives == ["started", "stopped"]
    outside.let_go("a1")
    async with Runtime(url, [Room, Mail]) as runtime:
        await runtime.caught_up(Mail.at())
    assert outside.trips[:2] == ["b1", "a1"]
    ids = [id_ for id_, trip in outside.begun if trip == "a1"]
    assert ids == ["Room/a@1", "Room/a@1"]


async def test_killed_it_begins_anew_from_its_checkpoint(outside: Outside) -> None:
    async with Runtime("memory:", [Room, Mail]) as runtime:
        await tell(runtime, "a1")
        await runtime.caught_up(Mail.at())
        outside.hold("a2")
        await tell(runtime, "a2", "b1")
        await comes(lambda: "b1" in outside.trips)
        await runtime.kill(Mail.at())
        await comes(lambda: outside.lives.count("started") == 2)
        outside.let_go("a2")
        await runtime.caught_up(Mail.at())
        assert outside.of("a") == ["a1", "a2"]
        assert outside.of("b") in (["b1"], ["b1", "b1"])
        assert [trip for _, trip in outside.begun if trip == "a2"] == ["a2", "a2"]
    assert outside.lives == ["started", "stopped"] * (len(outside.lives) // 2)


async def test_the_time_limit_ends_one_that_hangs(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mail, "time_limit", timedelta(seconds=10))
    clock = ManualClock()
    outside.hold("a1")
    async with Runtime("memory:", [Room, Mail], clock=clock) as runtime:
        await tell(runtime, "a1", "a2", "b1")
        await comes(lambda: "b1" in outside.trips)
        clock.advance(9.9)
        await quiet_but_for_handlers()
        assert await runtime.parked_events(Mail.at()) == []
        clock.advance(0.2)
        await runtime.caught_up(Mail.at())
        first, second = await runtime.parked_events(Mail.at())
        assert first.error == "TimeoutError: it took longer than 0:00:10, the time_limit of Mail"
        assert (second.key, second.error) == ("a", "")
        outside.let_go("a1")


async def test_waiting_for_it_has_a_limit(outside: Outside) -> None:
    outside.hold("a1")
    async with Runtime("memory:", [Room, Mail, Board]) as runtime:
        await tell(runtime, "a1")
        await runtime.caught_up(Board.at())
        with pytest.raises(ReadModelBehind, match="Mail is at position"):
            await runtime.caught_up(Mail.at(), timeout=0.01)
        with pytest.raises(NotTaken, match="Room/a is no read model and no subscriber"):
            await runtime.caught_up(Room.at("a"))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        with pytest.raises(NotTaken, match="Mail is no read model; effects are not repeated"):
            await runtime.rebuild(Mail.at())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        outside.let_go("a1")


async def test_where_its_checkpoint_is(outside: Outside, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'j.db'}"
    with pytest.raises(BadJournalUrl, match="the checkpoint of Mail would be lost with the process"):
        async with Runtime(url, [Room, Mail], views={Mail: "memory:"}):
            raise AssertionError
    for views in ("memory:", {Mail: f"sqlite:{tmp_path}"}):
        async with Runtime(url, [Room, Mail], views=views) as runtime:
            await tell(runtime, "a1")
            await runtime.caught_up(Mail.at())
    files = [file for file in tmp_path.iterdir() if ".Mail-" in file.name and not file.name.endswith(("-wal", "-shm"))]
    assert len(files) == 2
    for file in files:
        with closing(sqlite3.connect(file)) as db:
            assert db.execute("select position > 0 from understudy_checkpoint").fetchone() == (1,)


async def test_its_events_are_none_of_a_read_models_that_follows_all(outside: Outside) -> None:
    """What the runtime notes of subscribers is nobody's business, and not theirs either."""
    seen = list[str]()

    class All(Subscriber):
        since = "beginning"

        async def handle(self, event: Event, meta: Meta) -> None:
            seen.append(type(event).__name__)

    async with Runtime("memory:", [Room, Mail, All]) as runtime:
        await tell(runtime, "a1")
        await runtime.caught_up(All.at())
        await runtime.caught_up(Mail.at())
    assert seen == ["WasHeld"]


async def test_one_that_follows_nothing(outside: Outside) -> None:
    class Empty(Subscriber):
        pass

    with pytest.raises(DefinitionError, match="Empty follows nothing; write async def handle"):
        async with Runtime("memory:", [Room, Empty]):
            raise AssertionError


async def test_instruments_and_traces_see_it(outside: Outside) -> None:
    told = list[tuple[str, str, str]]()
    crashed, parked = list[str](), list[str]()

    class Tape(BaseInstrument):
        def handled(self, address: Address[Any], message: str, seconds: float, outcome: Outcome, /) -> None:
            told.append((str(address), message, outcome))

        def crashed(self, address: Address[Any], error: BaseException, /) -> None:
            crashed.append(f"{address}: {error}")

        def parked(self, address: Address[Any], error: BaseException, /) -> None:
            parked.append(str(address))

    outside.bad.add("b1")
    async with Runtime("memory:", [Room, Mail], instruments=[Tape()]) as runtime:
        await tell(runtime, "a1", "b1")
        await runtime.caught_up(Mail.at())
        await quiet(runtime)
    assert sorted(one for one in told if one[0] == "Mail") == [
        ("Mail", "WasHeld", "done"),
        ("Mail", "WasHeld", "failed"),
    ]
    assert (crashed, parked) == (["Mail: b1 is bad"], [])


async def test_it_has_no_mailbox(outside: Outside) -> None:
    async with Runtime("memory:", [Room, Mail]) as runtime:
        with pytest.raises(NotTaken, match="Mail doesn't take Hold"):
            await runtime.ask(Mail.at(), Hold("a1"))  # type: ignore[misc] # pyright: ignore[reportArgumentType]
        assert isinstance(node_of(runtime).deliverers["Mail"], Deliverer)
        await quiet(runtime)


def define(**attributes: object) -> None:
    type("Wrong", (Subscriber,), {"__module__": __name__, **attributes})


async def good(self: Subscriber, event: WasHeld, meta: Meta) -> None: ...


def not_async(self: Subscriber, event: WasHeld, meta: Meta) -> None: ...


async def no_event(self: Subscriber, event: int, meta: Meta) -> None: ...


async def no_annotation(self: Subscriber, event, meta: Meta) -> None: ...  # type: ignore[no-untyped-def] # pyright: ignore[reportUnknownParameterType, reportMissingParameterType]


WRONG: list[tuple[dict[str, object], str]] = [
    ({"handle": not_async}, "Wrong.handle must be async, and not yield; write async def handle"),
    ({"handle": no_event}, "lists <class 'int'> as event"),
    ({"handle": no_annotation}, r"write def handle\(self, event: A | B, meta: Meta\)"),
    ({"handle": good, "categories": "Room"}, r'write categories = \("Room",\)'),
    ({"handle": good, "at_once": 0}, "needs at_once of 1 to 1,000 events, not 0"),
    ({"handle": good, "at_once": 1_001}, "not 1001"),
    ({"handle": good, "since": "yesterday"}, "has since = 'yesterday'; write \"now\""),
    ({"handle": good, "since": -1}, "has since = -1"),
    ({"handle": good, "since": True}, "has since = True"),
]


@pytest.mark.parametrize(("attributes", "says"), WRONG)
def test_a_definition_that_can_not_work(attributes: dict[str, object], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        define(**attributes)
