"""The group-commit writer: one order in, one order out, and nothing is released before it is durable."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from persistence import (
    ANY,
    EXISTS,
    NONE,
    Append,
    AppendFailed,
    Batch,
    JournalError,
    MemoryJournal,
    NewEvent,
    Record,
    Stream,
    VersionConflict,
    Written,
)
from persistence.records import to_records
from persistence.writer import GROUP_LIMIT, HIGH_WATER, Writer

DEADLINE = 30.0


class SlowJournal(MemoryJournal):
    """Writes a group when the test lets it, or fails with what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[list[Batch]] = []
        """The groups handed in, in order."""
        self._arrived = asyncio.Semaphore(0)
        self._answers: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def append(self, batches: list[Batch]) -> int:  # type: ignore[override]
        self.groups.append(list(batches))
        self._arrived.release()
        error = await self._answers.get()
        if error is not None:
            raise error
        return await super().append(batches)

    async def arrived(self) -> list[Batch]:
        """Wait for the next group to be handed in, and return it."""
        await asyncio.wait_for(self._arrived.acquire(), DEADLINE)
        return self.groups[-1]

    def let_through(self, groups: int = 1) -> None:
        for _ in range(groups):
            self._answers.put_nowait(None)

    def fail(self, error: Exception) -> None:
        self._answers.put_nowait(error)


class Stage:
    """A running writer on a slow journal, and what it has told so far, in order."""

    def __init__(self) -> None:
        self.journal = SlowJournal()
        self.told: list[object] = []
        self.on_failure: Callable[[], None] = lambda: None
        self.recovering: asyncio.Event | None = None
        self.writer = Writer(self.journal, self._durable, self._failed)

    def _durable(self, batches: list[Batch], first: int) -> None:
        self.told.append([record.position for record in to_records(batches, first)])

    async def _failed(self, error: BaseException) -> None:
        self.told.append(error)
        self.on_failure()
        if self.recovering is not None:
            await self.recovering.wait()

    def hold(self, name: str) -> None:
        self.writer.hold(lambda durable: self.told.append((name, durable)))

    async def settled(self) -> None:
        """Wait until all that is enqueued has been told about."""
        assert await asyncio.wait_for(self.writer.barrier(), DEADLINE)


@asynccontextmanager
async def running(stage: Stage) -> AsyncGenerator[Stage]:
    task = asyncio.create_task(stage.writer.run())
    try:
        yield stage
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE)


def batch(key: str, expected: int = 0, events: int = 1) -> Batch:
    return (Append(("Flight", key), expected, [NewEvent("T", b"1", b"1")] * events, 0),)


# -- order and groups -------------------------------------------------------------------------------------------


async def test_nothing_is_written_before_the_kick() -> None:
    async with running(Stage()) as stage:
        stage.writer.enqueue(batch("a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert stage.journal.groups == []
        stage.writer.kick()
        assert await stage.journal.arrived() == [batch("a")]
        stage.journal.let_through()


async def test_all_that_queues_up_meanwhile_is_one_group() -> None:
    async with running(Stage()) as stage:
        stage.writer.enqueue(batch("a"))
        stage.writer.kick()
        assert await stage.journal.arrived() == [batch("a")]
        for key in "bcd":
            stage.writer.enqueue(batch(key))
            stage.writer.kick()
        stage.journal.let_through()
        assert await stage.journal.arrived() == [batch("b"), batch("c"), batch("d")]
        stage.journal.let_through()
        await stage.settled()
        assert stage.told == [[1], [2, 3, 4]]
        assert [record.stream[1] for record in stage.journal.records] == ["a", "b", "c", "d"]
        assert stage.writer.groups == 2


async def test_the_next_group_needs_no_kick_of_its_own() -> None:
    async with running(Stage()) as stage:
        stage.writer.enqueue(batch("a"))
        stage.writer.kick()
        await stage.journal.arrived()
        stage.writer.enqueue(batch("b"))
        stage.journal.let_through()
        assert await stage.journal.arrived() == [batch("b")]
        stage.journal.let_through()


async def test_subscribers_get_the_events_as_the_writer_had_them() -> None:
    stage, got = Stage(), list[Record]()
    stage.writer = Writer(
        stage.journal, lambda batches, first: got.extend(to_records(batches, first)), lambda error: asyncio.sleep(0)
    )
    async with running(stage):
        value = object()
        append = Append(("Flight", "a"), 0, [NewEvent("T", b"1", b"2", value), NewEvent("U", b"3", b"4")], 9, "c1")
        stage.writer.enqueue((append,))
        stage.journal.let_through()
        await stage.settled()
        assert got == [
            Record(1, ("Flight", "a"), 1, "T", 9, "c1", b"1", b"2", value),
            Record(2, ("Flight", "a"), 2, "U", 9, None, b"3", b"4"),
        ]
        assert got[0].value is value


async def test_a_full_group_is_closed_and_the_next_begun() -> None:
    async with running(Stage()) as stage:
        for n in range(GROUP_LIMIT + 10):
            stage.writer.enqueue(batch(f"{n}"))
        stage.writer.kick()
        assert len(await stage.journal.arrived()) == GROUP_LIMIT
        stage.journal.let_through()
        assert len(await stage.journal.arrived()) == 10
        stage.journal.let_through()
        await stage.settled()
        assert [record.stream[1] for record in stage.journal.records] == [f"{n}" for n in range(GROUP_LIMIT + 10)]


@pytest.mark.parametrize("before", [0, 1, GROUP_LIMIT - 1])
async def test_a_batch_is_never_split(before: int) -> None:
    large = batch("large", events=GROUP_LIMIT + 1)
    async with running(Stage()) as stage:
        for n in range(before):
            stage.writer.enqueue(batch(f"{n}"))
        stage.writer.enqueue(large)
        stage.writer.enqueue(batch("after"))
        stage.writer.kick()
        assert (await stage.journal.arrived())[-1] == large
        stage.journal.let_through()
        assert await stage.journal.arrived() == [batch("after")]
        stage.journal.let_through()
        await stage.settled()


# -- what is held -----------------------------------------------------------------------------------------------


async def test_an_idle_writer_holds_nothing() -> None:
    stage = Stage()
    stage.hold("at once")
    assert stage.told == [("at once", True)]
    assert await stage.writer.barrier()


async def test_what_is_held_is_released_in_order_once_it_is_durable() -> None:
    async with running(Stage()) as stage:
        stage.writer.enqueue(batch("a"))
        stage.hold("after a")
        stage.writer.kick()
        await stage.journal.arrived()
        stage.hold("after a, while it is written")
        stage.writer.enqueue(batch("b"))
        stage.hold("after b")
        stage.writer.enqueue(batch("c"))
        stage.hold("after c")
        assert stage.told == []
        stage.journal.let_through()
        await stage.journal.arrived()
        assert stage.told == [("after a", True), ("after a, while it is written", True), [1]]
        stage.hold("last")
        stage.journal.let_through()
        await stage.settled()
        assert stage.told[3:] == [("after b", True), ("after c", True), ("last", True), [2, 3]]
        stage.hold("idle again")
        assert stage.told[-1] == ("idle again", True)


async def test_nothing_is_released_before_the_journal_has_it() -> None:
    async with running(Stage()) as stage:
        positions: list[int] = []
        for key in "ab":
            stage.writer.enqueue(batch(key))
            stage.writer.hold(lambda durable: positions.append(stage.journal.position))
            stage.writer.kick()
            await stage.journal.arrived()
            stage.journal.let_through()
            await stage.settled()
        assert positions == [1, 2]


async def test_a_release_may_enqueue_and_hold_again() -> None:
    async with running(Stage()) as stage:

        def again(durable: bool) -> None:
            stage.told.append(("first", durable))
            stage.writer.enqueue(batch("b"))
            stage.hold("second")
            stage.writer.kick()

        stage.writer.enqueue(batch("a"))
        stage.writer.hold(again)
        stage.writer.kick()
        await stage.journal.arrived()
        stage.journal.let_through()
        assert await stage.journal.arrived() == [batch("b")]
        assert stage.told == [("first", True), [1]]
        stage.journal.let_through()
        await stage.settled()
        assert stage.told == [("first", True), [1], ("second", True), [2]]


async def test_a_barrier_waits_for_all_that_was_enqueued_before_it() -> None:
    async with running(Stage()) as stage:
        stage.writer.enqueue(batch("a"))
        first = asyncio.create_task(stage.writer.barrier())  # it kicks by itself
        await stage.journal.arrived()
        stage.writer.enqueue(batch("b"))
        second = asyncio.create_task(stage.writer.barrier())
        await asyncio.sleep(0)
        stage.journal.let_through()
        await stage.journal.arrived()
        assert await asyncio.wait_for(first, DEADLINE)
        assert not second.done()
        stage.journal.let_through()
        assert await asyncio.wait_for(second, DEADLINE)


async def test_a_barrier_that_is_given_up_harms_nobody() -> None:
    async with running(Stage()) as stage:
        stage.writer.enqueue(batch("a"))
        waiting = asyncio.create_task(stage.writer.barrier())
        await stage.journal.arrived()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        stage.hold("after a")
        stage.journal.let_through()
        await stage.settled()
        assert stage.told == [("after a", True), [1]]


# -- backpressure -----------------------------------------------------------------------------------------------


async def test_it_is_full_at_the_high_water_mark_until_the_disk_has_caught_up() -> None:
    async with running(Stage()) as stage:
        stage.writer.enqueue(batch("a", events=10_000))
        stage.writer.enqueue(batch("b", events=HIGH_WATER - 10_001))
        assert (stage.writer.pending, stage.writer.full) == (HIGH_WATER - 1, False)
        stage.writer.enqueue(batch("c"))
        assert (stage.writer.pending, stage.writer.full) == (HIGH_WATER, True)
        stage.writer.kick()
        await stage.journal.arrived()
        assert (stage.writer.pending, stage.writer.full) == (HIGH_WATER, True)
        stage.journal.let_through()
        await stage.journal.arrived()
        assert (stage.writer.pending, stage.writer.full) == (HIGH_WATER - 10_000, False)
        stage.journal.let_through()
        stage.journal.let_through()
        await stage.settled()
        assert stage.writer.pending == 0


# -- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [AppendFailed("disk"), VersionConflict(("Flight", "a"), 0, 1), ZeroDivisionError()])
async def test_when_a_group_fails_all_that_is_queued_is_lost_and_told_so(error: Exception) -> None:
    async with running(Stage()) as stage:
        stage.writer.enqueue(batch("a"))
        stage.hold("after a")
        stage.writer.kick()
        await stage.journal.arrived()
        stage.writer.enqueue(batch("b", events=GROUP_LIMIT))
        stage.hold("after b")
        stage.writer.enqueue(batch("c"))
        waiting = asyncio.create_task(stage.writer.barrier())
        await asyncio.sleep(0)
        stage.journal.fail(error)
        assert await asyncio.wait_for(waiting, DEADLINE) is False
        assert stage.told == [("after a", False), ("after b", False), error]
        assert stage.writer.pending == 0
        assert not stage.writer.full
        stage.journal.let_through()
        stage.writer.enqueue(batch("d"))
        stage.hold("after d")
        await stage.settled()
        assert stage.told[3:] == [("after d", True), [1]]
        assert stage.journal.groups == [[batch("a")], [batch("d")]]
        assert stage.writer.groups == 1


async def test_what_is_enqueued_while_the_failure_is_dealt_with_is_written_after_it() -> None:
    async with running(Stage()) as stage:
        stage.recovering = asyncio.Event()
        dealing = asyncio.Event()
        stage.on_failure = dealing.set
        stage.writer.enqueue(batch("a"))
        stage.writer.kick()
        await stage.journal.arrived()
        stage.journal.fail(AppendFailed("disk"))
        await asyncio.wait_for(dealing.wait(), DEADLINE)
        stage.writer.enqueue(batch("b"))
        stage.hold("after b")
        stage.writer.kick()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert stage.journal.groups == [[batch("a")]]
        stage.recovering.set()
        assert await stage.journal.arrived() == [batch("b")]
        assert ("after b", True) not in stage.told
        stage.journal.let_through()
        await stage.settled()
        assert stage.told[-2:] == [("after b", True), [1]]


async def test_it_goes_on_after_several_failures() -> None:
    async with running(Stage()) as stage:
        for _ in range(3):
            stage.writer.enqueue(batch("a"))
            waiting = asyncio.create_task(stage.writer.barrier())
            await stage.journal.arrived()
            stage.journal.fail(AppendFailed("disk"))
            assert await asyncio.wait_for(waiting, DEADLINE) is False
        stage.writer.enqueue(batch("a"))
        stage.journal.let_through()
        await stage.settled()
        assert stage.journal.position == 1


async def test_when_the_writer_ends_nobody_is_left_waiting() -> None:
    stage = Stage()
    async with running(stage):
        stage.writer.enqueue(batch("a"))
        stage.hold("after a")
        stage.writer.kick()
        await stage.journal.arrived()
        stage.writer.enqueue(batch("b"))
        stage.hold("after b")
        waiting = asyncio.create_task(stage.writer.barrier())
        await asyncio.sleep(0)
    assert await asyncio.wait_for(waiting, DEADLINE) is False
    assert stage.told == [("after a", False), ("after b", False)]


async def test_a_failure_that_can_not_be_dealt_with_ends_the_writer() -> None:
    stage = Stage()

    def give_up() -> None:
        raise RuntimeError("no way on")

    stage.on_failure = give_up
    task = asyncio.create_task(stage.writer.run())
    stage.writer.enqueue(batch("a"))
    stage.hold("after a")
    stage.writer.kick()
    stage.journal.fail(AppendFailed("disk"))
    with pytest.raises(RuntimeError, match="no way on"):
        await asyncio.wait_for(task, DEADLINE)
    assert stage.told[0] == ("after a", False)


async def test_what_comes_after_the_end_is_told_so() -> None:
    stage = Stage()
    async with running(stage):
        await asyncio.sleep(0)
    stage.writer.enqueue(batch("a"))
    stage.hold("too late")
    assert stage.told == [("too late", False)]
    assert await asyncio.wait_for(stage.writer.barrier(), DEADLINE) is False


# -- what is submitted -------------------------------------------------------------------------------------------------


async def test_of_what_is_submitted_each_is_for_itself_and_in_the_order() -> None:
    journal = MemoryJournal()
    told: list[tuple[int, list[tuple[Stream, int]]]] = []

    def durable(batches: list[Batch], first: int) -> None:
        told.append((first, [(record.stream, record.version) for record in to_records(batches, first)]))

    async def failed(error: BaseException) -> None:
        raise AssertionError from error

    writer = Writer(journal, durable, failed)
    running = asyncio.create_task(writer.run())
    a, b = ("A", "1"), ("B", "1")
    new = [NewEvent("It", b"{}", b"{}")]
    writer.enqueue((Append(a, 0, new, 1),))
    good = writer.submit((Append(a, ANY, new, 1), Append(b, NONE, new, 1)))
    bad = writer.submit((Append(b, NONE, new, 1),))
    more = writer.submit((Append(b, EXISTS, [*new, *new], 1),))
    check = writer.submit((Append(a, EXISTS, [], 1),))
    writer.enqueue((Append(("C", "1"), 0, new, 1),))
    try:
        assert await asyncio.wait_for(writer.barrier(), DEADLINE)
        assert await good == Written(2, (2, 1))
        assert isinstance(await bad, VersionConflict)
        assert await more == Written(4, (3,))
        assert await check == Written(5, (2,))
        assert told == [(1, [(a, 1)]), (2, [(a, 2), (b, 1), (b, 2), (b, 3)]), (6, [(("C", "1"), 1)])]
        assert writer.pending == 0
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    with pytest.raises(AppendFailed):
        await writer.submit((Append(a, ANY, new, 1),))


async def test_what_is_submitted_and_lost_is_told_so() -> None:
    class Broken(MemoryJournal):
        async def append_each(self, batches: Sequence[Batch]) -> list[Written | JournalError]:
            raise AppendFailed("the disk is gone")

    failures: list[BaseException] = []

    async def failed(error: BaseException) -> None:
        failures.append(error)

    writer = Writer(Broken(), lambda _batches, _first: None, failed)
    running = asyncio.create_task(writer.run())
    outcome = writer.submit((Append(("A", "1"), ANY, [], 1),))
    held: list[bool] = []
    writer.hold(held.append)
    writer.kick()
    try:
        with pytest.raises(AppendFailed):
            await asyncio.wait_for(outcome, DEADLINE)
        assert held == [False]
        assert len(failures) == 1
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
