"""P13: an event that can't be handled harms only its key; outages pass; a lost checkpoint leaves nothing out."""
# ruff: noqa: ASYNC240 (a test may block its loop on a file)

import asyncio
import shutil
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from actors import Backoff, Meta, Parked, RetryPolicy, Subscriber
from persistence.sqlite_view import SqliteView
from runtime import ManualClock, Runtime
from runtime import deliverer as deliverer_module
from runtime import subscriptions as subscriptions_module
from runtime.subscribers import Known, NoteBegin, NotePosition, Subscribers, known
from tests.runtime.cast import Hold, Room, WasHeld
from tests.runtime.subscribing import PATIENT, Mail, Outside, deliverer, in_time, outside, same_journal, tell, written
from tests.runtime.tools import HeldJournal, comes, node_of, quiet, restart_of

__all__ = ["outside"]


def begun(outside: Outside, trip: str, times: int) -> bool:
    return [one for _, one in outside.begun].count(trip) == times


async def listed(runtime: Runtime) -> list[tuple[str, int, str]]:
    return [(event.key, event.position, event.error) for event in await runtime.parked_events(Mail.at())]


def views(path: Path) -> list[Path]:
    return [file for file in path.iterdir() if ".Mail-" in file.name]


# -- what can't be handled ----------------------------------------------------------------------------------------


async def test_it_is_set_aside_with_the_later_ones_of_its_key_and_others_go_on(outside: Outside) -> None:
    outside.bad.add("a2")
    async with Runtime(restart_of(await written("a1", "a2", "b1", "a3", "b2", "a4")), [Room, Mail]) as runtime:
        await runtime.caught_up(Mail.at())
        assert await listed(runtime) == [("a", 2, "ValueError: a2 is bad"), ("a", 4, ""), ("a", 6, "")]
        assert (outside.of("a"), outside.of("b")) == (["a1"], ["b1", "b2"])
        await tell(runtime, "a5", "b3")
        await runtime.caught_up(Mail.at())
        assert (outside.of("a"), outside.of("b")) == (["a1"], ["b1", "b2", "b3"])
        assert [position for _, position, _ in await listed(runtime)][:3] == [2, 4, 6]
        assert len(await listed(runtime)) == 4
        stats = runtime.stats().subscribers["Mail"]
        assert (stats.set_aside, stats.set_aside_keys, stats.lag) == (4, 1, 0)
        assert (stats.failures, stats.last_error) == (1, "ValueError: a2 is bad")
        assert runtime.parked() == {}
        assert await runtime.retry_parked(Mail.at()) == 0
        assert (await runtime.parked_events(Mail.at()))[0].attempts == 1
        outside.bad.clear()
        assert await runtime.retry_parked(Mail.at(), "a") == 4
        assert outside.of("a") == ["a1", "a2", "a3", "a4", "a5"]
        assert await listed(runtime) == []


async def test_one_is_skipped_and_those_behind_it_are_handled(outside: Outside, tmp_path: Path) -> None:
    outside.bad.update(("a1", "a3"))
    url = f"sqlite:{tmp_path / 'j.db'}"
    async with Runtime(url, [Room, Mail]) as runtime:
        await tell(runtime, "a1", "a2", "a3", "a4")
        await runtime.caught_up(Mail.at())
        (first, *_) = await listed(runtime)
        assert await runtime.skip_parked(Mail.at(), "a", reason="wrong address", by="ana") == first[1]
        assert outside.trips == ["a2"]
        (skipped,) = await runtime.skipped_events(Mail.at())
        assert (skipped.key, skipped.reason, skipped.by) == ("a", "wrong address", "ana")
        with pytest.raises(LookupError, match="nothing of 'b' is set aside"):
            await runtime.skip_parked(Mail.at(), "b", reason="?", by="ana")
    async with Runtime(url, [Room, Mail]) as runtime:  # the list survives, and is tried once more
        await comes(lambda: deliverer(runtime).aside.first("a") and deliverer(runtime).aside.of("a")[0].attempts == 2)
        assert [error for _, _, error in await listed(runtime)] == ["ValueError: a3 is bad", ""]
        assert len(await runtime.skipped_events(Mail.at())) == 1
    outside.bad.clear()
    async with Runtime(url, [Room, Mail]) as runtime:
        await comes(lambda: not deliverer(runtime).aside and outside.trips == ["a2", "a3", "a4"])
        assert await listed(runtime) == []


async def test_it_is_tried_again_within_its_budget_and_its_key_waits(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mail, "retry", PATIENT)
    clock = ManualClock()
    outside.bad.add("a1")
    async with Runtime("memory:", [Room, Mail], clock=clock) as runtime:
        await tell(runtime, "a1", "a2", "b1")
        await comes(lambda: "b1" in outside.trips)
        for n in range(1, 3):
            await in_time(clock, partial(begun, outside, "a1", n), 0.2)
            await quiet(runtime)
            assert outside.trips == ["b1"]
            assert deliverer(runtime).view.checkpoint < deliverer(runtime).ahead
        outside.bad.clear()
        await in_time(clock, lambda: outside.of("a") == ["a1", "a2"], 1)
        assert {id_ for id_, trip in outside.begun if trip == "a1"} == {"Room/a@1"}
        assert await listed(runtime) == []


async def test_an_error_that_is_final_sets_it_aside_at_once(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mail, "retry", RetryPolicy(final=(ValueError,)))
    outside.bad.add("a1")
    async with Runtime("memory:", [Room, Mail]) as runtime:
        await tell(runtime, "a1")
        await runtime.caught_up(Mail.at())
        assert len(await listed(runtime)) == 1


@pytest.mark.parametrize("limit", [0, 2])
async def test_no_more_are_set_aside_than_it_may_have(
    limit: int, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mail, "parked_limit", limit)
    outside.bad.add("a1")
    async with Runtime("memory:", [Room, Mail]) as runtime:
        await tell(runtime, "a1", "b1", "a2", "a3", "b2")
        await comes(runtime.parked)
        assert "events are set aside already" in runtime.parked()[Mail.at()]
        with pytest.raises(Parked, match="Mail is parked behind position"):
            await runtime.caught_up(Mail.at())
        assert len(await listed(runtime)) <= limit
        outside.bad.clear()
        runtime.unpark(Mail.at())
        await runtime.caught_up(Mail.at())
        await comes(lambda: not deliverer(runtime).aside)
        assert outside.of("a") == ["a1", "a2", "a3"]
        assert outside.of("b")[-1] == "b2"


async def test_where_the_key_can_not_be_told(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Mail.key

    def wrong(self: Mail, event: WasHeld, meta: Meta) -> Any:
        return 7 if event.trip == "a1" else key(self, event, meta)

    monkeypatch.setattr(Mail, "key", wrong)
    async with Runtime("memory:", [Room, Mail]) as runtime:
        await tell(runtime, "a1", "b1")
        await runtime.caught_up(Mail.at())
        ((name, _, error),) = await listed(runtime)
        assert (name, error) == ("Room/a", "TypeError: Mail.key must return text, not 7")
        assert outside.trips == ["b1"]


async def test_one_that_is_cancelled_from_inside_has_failed(outside: Outside) -> None:
    """It has awaited something that somebody else has cancelled: that is no end of the runtime's."""

    class Cancelled(Subscriber):
        since = "beginning"
        at_once = 1
        retry = RetryPolicy(budget=timedelta(0))

        async def handle(self, event: WasHeld, meta: Meta) -> None:
            if event.trip == "a1":
                raise asyncio.CancelledError
            outside.done.append((self.event_id, event.trip))

    async with Runtime("memory:", [Room, Cancelled]) as runtime:
        await tell(runtime, "a1", "b1")
        await runtime.caught_up(Cancelled.at())
        assert outside.trips == ["b1"]
        (parked,) = await runtime.parked_events(Cancelled.at())
        assert parked.error == "RuntimeError: it was cancelled from inside"


async def test_several_see_to_what_is_set_aside_and_each_event_is_handled_once(outside: Outside) -> None:
    """A verb for one key doesn't wait for another key's handler, and two of one key don't meet."""
    outside.bad.update(("a1", "b1"))
    async with Runtime("memory:", [Room, Mail]) as runtime:
        await tell(runtime, "a1", "a2", "b1", "b2", "a3")
        await runtime.caught_up(Mail.at())
        outside.bad.clear()
        outside.hold("a1")
        retries = [asyncio.create_task(runtime.retry_parked(Mail.at())) for _ in range(3)]
        await comes(lambda: outside.under_way["a"])
        assert await runtime.skip_parked(Mail.at(), "b", reason="?", by="ana")
        assert outside.trips == ["b2"]
        await tell(runtime, "a4")
        outside.let_go("a1")
        await asyncio.gather(*retries)
        await runtime.caught_up(Mail.at())
        await comes(lambda: not deliverer(runtime).aside)
        assert outside.of("a") == ["a1", "a2", "a3", "a4"]


# -- outages ------------------------------------------------------------------------------------------------------


async def test_where_nothing_works_it_is_parked_and_tries_again_by_itself(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail server is away: not every event of the journal goes to the list, and nobody has to come."""
    monkeypatch.setattr(deliverer_module, "IN_A_ROW", 3)
    clock = ManualClock()
    trips = [f"{room}1" for room in "abcdefghij"]
    outside.bad.update(trips)
    async with Runtime("memory:", [Room, Mail], clock=clock) as runtime:
        await tell(runtime, *trips)
        for _ in range(3):
            await comes(runtime.parked)
            assert "events failed one after the other" in runtime.parked()[Mail.at()] or "fails still" in str(
                runtime.parked()[Mail.at()]
            )
            assert runtime.stats().subscribers["Mail"].set_aside <= 6
            clock.advance(61)
            await comes(lambda: not runtime.parked())
        outside.bad.clear()
        await in_time(clock, lambda: set(outside.trips) == set(trips), 61)
        await runtime.caught_up(Mail.at())
        assert await listed(runtime) == []


async def test_started_that_fails_is_tried_again(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mail, "retry", PATIENT)
    clock, fails = ManualClock(), [OSError("no route"), ValueError("no password")]

    async def started(self: Mail) -> None:
        if fails:
            raise fails.pop()

    monkeypatch.setattr(Mail, "started", started)
    async with Runtime("memory:", [Room, Mail], clock=clock) as runtime:
        await tell(runtime, "a1")
        await in_time(clock, lambda: outside.trips, 1)
        assert outside.trips == ["a1"]


async def test_an_outage_of_the_journal_sets_nothing_aside(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks actors meanwhile fails for no fault of its own."""
    journal, clock = HeldJournal(), ManualClock()

    class Asks(Subscriber):
        since = "beginning"
        retry = RetryPolicy(Backoff(timedelta(seconds=1), jitter=0.0), budget=timedelta(0))

        async def handle(self, event: WasHeld, meta: Meta) -> None:
            if event.trip == "a1":
                await self.ask(Room.at("b"), Hold("b1"))
            else:
                outside.done.append((self.event_id, event.trip))

    async with Runtime(journal, [Room, Asks], clock=clock) as runtime:
        await runtime.caught_up(Asks.at())
        await tell(runtime, "c1")
        await runtime.caught_up(Asks.at())
        journal.hold()
        asked = asyncio.create_task(runtime.ask(Room.at("a"), Hold("a1")))
        await journal.arrived.wait()
        journal.arrived.clear()
        journal.gate.set()
        await asked
        journal.full = True
        await in_time(clock, lambda: node_of(runtime).writer.error is not None, 1)
        for _ in range(5):
            clock.advance(30)
            await asyncio.sleep(0)
        assert await runtime.parked_events(Asks.at()) == []
        journal.full = False
        await in_time(clock, lambda: ("Room/b@1", "b1") in outside.done, 1)
        assert [record.stream for record in journal.records if record.type == "WasHeld"] == [
            ("Room", "c"),
            ("Room", "a"),
            ("Room", "b"),
        ]


async def test_a_disk_that_is_full_loses_no_checkpoint(
    outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply, full = SqliteView.apply, True

    async def fails(self: SqliteView, *args: Any, **how: Any) -> None:
        if full:
            raise OSError(28, "No space left on device")
        await apply(self, *args, **how)

    def passes(self: SqliteView, error: BaseException) -> bool:
        return isinstance(error, OSError)

    monkeypatch.setattr(SqliteView, "apply", fails)
    monkeypatch.setattr(SqliteView, "passes", passes)
    clock = ManualClock()
    async with Runtime(f"sqlite:{tmp_path / 'j.db'}", [Room, Mail], clock=clock) as runtime:
        await tell(runtime, "a1", "a2")
        await comes(lambda: outside.trips == ["a1"])
        for _ in range(20):
            clock.advance(60)
            await asyncio.sleep(0)
        full = False
        await in_time(clock, lambda: deliverer(runtime).view.checkpoint == runtime.position, 60)
        assert outside.trips == ["a1", "a2"]  # nothing comes again: it is known in memory


# -- checkpoints that are lost ------------------------------------------------------------------------------------


async def test_a_lost_checkpoint_leaves_nothing_out(
    outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Events come again from where the journal knows that all was handled, and what was set aside is not forgotten."""
    monkeypatch.setattr(subscriptions_module, "NOTE_EVERY", 5)
    monkeypatch.setattr(Mail, "since", "now")
    outside.bad.add("c1")
    url = f"sqlite:{tmp_path / 'j.db'}"
    async with Runtime(url, [Room, Mail]) as runtime:
        for n in range(10):
            await tell(runtime, f"a{n}")
        await runtime.caught_up(Mail.at())
        await comes(lambda: node_of(runtime).idle)
        await tell(runtime, "c1", *(f"b{n}" for n in range(10)))
        await runtime.caught_up(Mail.at())
        await comes(lambda: node_of(runtime).idle)
    for file in views(tmp_path):
        file.unlink()
    outside.bad.clear()
    outside.done.clear()
    caplog.clear()
    async with Runtime(url, [Room, Mail]) as runtime:
        await runtime.caught_up(Mail.at())
    assert "the subscriber's checkpoint was lost" in caplog.text
    assert outside.of("c") == ["c1"]
    assert outside.of("b") == [f"b{n}" for n in range(10)]
    assert 0 < len(outside.of("a")) < 10  # not all of them
    assert outside.of("a")[-1] == "a9"


async def test_a_damaged_one_is_a_lost_one(outside: Outside, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'j.db'}"
    async with Runtime(url, [Room, Mail]) as runtime:
        await tell(runtime, "a1")
        await runtime.caught_up(Mail.at())
    for file in views(tmp_path):
        file.write_bytes(b"no database at all" * 100)
    async with Runtime(url, [Room, Mail]) as runtime:
        await tell(runtime, "a2")
        await runtime.caught_up(Mail.at())
    assert outside.trips == ["a1", "a1", "a2"]


@pytest.mark.parametrize("then", ["nothing", "others"])
async def test_a_journal_that_was_restored_from_a_backup(
    then: str, outside: Outside, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The checkpoint is ahead of the journal, or in another past: what comes now must not be passed over."""
    url, path = f"sqlite:{tmp_path / 'j.db'}", tmp_path / "j.db"
    async with Runtime(url, [Room, Mail]) as runtime:
        await tell(runtime, "a1")
        await runtime.caught_up(Mail.at())
    shutil.copy(path, tmp_path / "backup")
    async with Runtime(url, [Room, Mail]) as runtime:
        await tell(runtime, "a2", "a3")
        await runtime.caught_up(Mail.at())
    for file in tmp_path.iterdir():
        if file.name.startswith("j.db-"):
            file.unlink()
    shutil.copy(tmp_path / "backup", path)
    outside.done.clear()
    if then == "others":
        async with Runtime(url, [Room]) as runtime:
            await tell(runtime, "b1", "b2", "b3", "b4")
    async with Runtime(url, [Room, Mail]) as runtime:
        await tell(runtime, "b5")
        await runtime.caught_up(Mail.at())
    assert "the journal has another past than the subscriber's checkpoint" in caplog.text
    assert outside.of("b") == (["b1", "b2", "b3", "b4", "b5"] if then == "others" else ["b5"])


async def test_what_the_journal_knows_of_several_owners(outside: Outside) -> None:
    """The first begin of all counts, and the furthest that anybody came."""
    async with Runtime("memory:", [Room, Mail]) as runtime:
        node = node_of(runtime)
        for name, began, came in (("Post", 30, 50), ("Post@bob", 10, 40), ("Post@eve", 20, None), ("Poster", 5, 90)):
            await node.ask(Subscribers.at(name), NoteBegin(began))
            await node.ask(Subscribers.at(name), NoteBegin(99))
            if came is not None:
                await node.ask(Subscribers.at(name), NotePosition(came - 1))
                await node.ask(Subscribers.at(name), NotePosition(came))
                await node.ask(Subscribers.at(name), NotePosition(came - 2))
        kind = node.kind(Subscribers.__name__)
        assert await known(node.journal, kind, "Post") == Known(10, 50)
        assert await known(node.journal, kind, "Poster") == Known(5, 90)
        assert await known(node.journal, kind, "Pos") == Known(None, None)


# -- poison that ends the process ---------------------------------------------------------------------------------


async def crash_at(trip: str, outside: Outside, journal: HeldJournal, views: Path) -> HeldJournal:
    """Start, let the process end when a trip is being handled, and return the journal that it leaves."""
    outside.hold(trip)
    outside.begun.clear()
    async with Runtime(journal, [Room, Mail], views={Mail: f"sqlite:{views}"}, shutdown_timeout=0.01):
        await comes(lambda: begun(outside, trip, 1))
        left = same_journal(list(journal.records), journal.identity)
    outside.let_go(trip)
    return left


async def test_an_event_that_ends_the_process_is_set_aside_in_the_end(
    outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those before it and behind it are handled; others that were under way are not suspected for long."""
    monkeypatch.setattr(Mail, "retry", RetryPolicy(crashes=2))
    first = await written("a1", "b1", "c1", "c2", "d1", "a2")
    journal = same_journal(first, "it")
    for _ in range(3):
        journal = await crash_at("c1", outside, journal, tmp_path)
        assert not {"c1", "c2"} & set(outside.trips)
    async with Runtime(journal, [Room, Mail], views={Mail: f"sqlite:{tmp_path}"}) as runtime:
        await runtime.caught_up(Mail.at())
        assert [(key, error) for key, _, error in await listed(runtime)] == [
            ("c", "PoisonMessage: the process has ended 3 times in a row while it was handled"),
            ("c", ""),
        ]
        assert set(outside.trips) == {"a1", "b1", "d1", "a2"}
        assert runtime.parked() == {}
        await tell(runtime, "e1", "f1")
        await runtime.caught_up(Mail.at())
        records = list(journal.records)
    outside.done.clear()
    async with Runtime(
        same_journal(records, "it"), [Room, Mail], views={Mail: f"sqlite:{tmp_path}"}
    ) as runtime:  # not tried by itself: it would end the process again
        await tell(runtime, "g1")
        await runtime.caught_up(Mail.at())
        await quiet(runtime)
        assert outside.trips == ["g1"]
        assert await runtime.retry_parked(Mail.at(), "c") == 2
        assert outside.trips == ["g1", "c1", "c2"]


async def test_after_a_crash_events_are_counted_only_as_many_as_were_under_way(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer_module, "WINDOW", 3)
    journal = restart_of(await written("a1", "b1", "c1", "d1", "e1", "f1"))
    async with Runtime(journal, [Room, Mail]) as runtime:
        await runtime.caught_up(Mail.at())
        assert sorted(outside.trips) == ["a1", "b1", "c1", "d1", "e1", "f1"]
        assert sum(record.type == "runtime.subscriber-tries" for record in journal.records) == 3
        assert deliverer(runtime).suspects_up_to == 0
        await tell(runtime, "g1")
        await runtime.caught_up(Mail.at())
        assert sum(record.type == "runtime.subscriber-tries" for record in journal.records) == 3
        outside.hold("x1", "y1", "z1")
        await tell(runtime, "x1", "y1", "z1")
        await comes(lambda: outside.under_way.total() == 3)  # as many at once as ever
        outside.let_go("x1", "y1", "z1")


# -- every crash --------------------------------------------------------------------------------------------------


async def test_whatever_dies_and_whenever_nothing_is_left_out(outside: Outside, tmp_path: Path) -> None:
    """Every prefix of the journal, with every checkpoint that a crash could have left with it."""
    trips = ["a1", "b1", "a2", "c1", "b2", "a3"]
    journal = HeldJournal()
    async with Runtime(journal, [Room, Mail], views={Mail: f"sqlite:{tmp_path}"}) as runtime:
        checkpoints: dict[int, Path] = {}
        for n, trip in enumerate(trips):
            await tell(runtime, trip)
            await runtime.caught_up(Mail.at())
            folder = checkpoints[deliverer(runtime).view.checkpoint] = tmp_path / f"at {n}"
            folder.mkdir()
            await _copy([file for file in tmp_path.iterdir() if ".Mail-" in file.name or "Mail-" in file.name], folder)
    records = journal.records
    own = [record for record in records if record.stream[0] == Subscribers.__name__]
    assert len(own) == 1
    for at, folder in checkpoints.items():
        for crash in range(at, len(records) + 1):
            outside.done.clear()
            place = tmp_path / f"{at} {crash}"
            shutil.copytree(folder, place)
            again = same_journal(records[:crash], journal.identity)
            async with Runtime(again, [Room, Mail], views={Mail: f"sqlite:{place}"}) as runtime:
                await runtime.caught_up(Mail.at())
            behind = [record for record in records[at:crash] if record.type == "WasHeld"]
            assert sorted(outside.done) == sorted(
                (f"Room/{record.stream[1]}@{record.version}", trips[records.index(record) - 1]) for record in behind
            )


async def _copy(files: list[Path], folder: Path) -> None:
    for file in files:
        shutil.copy(file, folder / file.name)


@pytest.mark.parametrize("seed", range(8))
async def test_killed_again_and_again_it_handles_all_in_order(seed: int, outside: Outside) -> None:
    """At least once: without the repeats, each key's events are all there, in order."""
    rng = Random(seed)
    async with Runtime("memory:", [Room, Mail]) as runtime:
        told: dict[str, list[str]] = {room: [] for room in "abcd"}
        for n in range(60):
            room = rng.choice("abcd")
            told[room].append(f"{room}{n}")
            await tell(runtime, f"{room}{n}")
            if rng.random() < 0.2:
                await runtime.kill(Mail.at())
            for _ in range(rng.randrange(8)):
                await asyncio.sleep(0)
        await runtime.caught_up(Mail.at())
    for room, trips in told.items():
        assert list(dict.fromkeys(outside.of(room))) == trips
        done = outside.of(room)
        for before, after in pairwise(done):  # a repeat goes back, and on from there without a gap
            assert trips.index(after) <= trips.index(before) + 1
