"""P3, P9: a command takes effect once, a repeat gets the first reply, and an undo that overtakes its step wins."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors import (
    Command,
    CommandIdReused,
    Decision,
    Event,
    Failed,
    Message,
    NotTaken,
    OutcomeUnknown,
    Refused,
    RestartPolicy,
    Saga,
    Service,
    State,
    UnknownActor,
)
from persistence import Journal, MemoryJournal, SqliteJournal
from runtime import ManualClock, Runtime
from runtime.mailbox import Envelope
from tests.runtime.cast import (
    ALL,
    DOWN,
    Account,
    BookTrip,
    Deposit,
    Held,
    Hold,
    Look,
    Odd,
    Release,
    Room,
    Trip,
    Withdraw,
)
from tests.runtime.tools import HeldJournal, check_once, node_of, quiet, restart_of

ROOM = Room.at("r")


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Journal]:
    """Open the same journal again and again."""
    memory = MemoryJournal()
    return (lambda: memory) if request.param == "memory" else (lambda: SqliteJournal(tmp_path / "journal.db"))


# -- reply, refusal, failure --------------------------------------------------------------------------------------


async def test_reply_refusal_and_failure(journal: Callable[[], Journal]) -> None:
    async with Runtime(journal(), ALL) as runtime:
        assert await runtime.ask(ROOM, Hold("t")) == Held(1)
        with pytest.raises(Refused, match="r won't release u") as refused:
            await runtime.ask(ROOM, Release("u"))
        assert refused.value.reason == "r won't release u"
        DOWN.add("r")
        with pytest.raises(Failed, match="Room/r failed at Hold: ConnectionError: r is down") as failed:
            await runtime.ask(ROOM, Hold("u"))
        assert isinstance(failed.value.__cause__, ConnectionError)
        DOWN.clear()
        assert await runtime.ask(ROOM, Look()) == 1
        assert runtime.position == 1


@pytest.mark.parametrize("how", ["not a decision", "second can't be stored", "second can't be applied"])
async def test_what_can_not_be_applied_or_stored_is_never_written(how: str) -> None:
    """Nor is what stands before it in the same decision; and the state is as it was."""
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(ROOM, Hold("t"))
        for id_ in (None, "one"):
            with pytest.raises(Failed, match="Room/r failed at Odd"):
                await runtime.ask(ROOM, Odd(how), id=id_)
            with pytest.raises(Failed, match="Room/r failed at Odd"):
                await runtime.transact((Room.at("other"), Hold("x")), (ROOM, Odd(how)), id=id_)
        assert await runtime.ask(ROOM, Look()) == 1
        assert await runtime.ask(ROOM, Hold("u")) == Held(2)
        assert await runtime.ask(Room.at("other"), Look()) == 0
    assert [record.type for record in journal.records] == ["WasHeld", "WasHeld"]
    check_once(journal.records)


async def test_a_failed_command_may_come_again_with_its_id() -> None:
    async with Runtime("memory:", ALL) as runtime:
        DOWN.add("r")
        with pytest.raises(Failed):
            await runtime.ask(ROOM, Hold("t"), id="one")
        DOWN.clear()
        assert await runtime.ask(ROOM, Hold("t"), id="one") == Held(1)
        assert await runtime.ask(ROOM, Hold("t"), id="one") == Held(1)
        assert await runtime.ask(ROOM, Look()) == 1


async def test_who_takes_what() -> None:
    async with Runtime("memory:", [Room, Account, Trip]) as runtime:
        anyone: Any = runtime
        with pytest.raises(NotTaken, match="Account doesn't take Hold, only Deposit, Withdraw"):
            await anyone.ask(Account.at("a"), Hold("t"))
        with pytest.raises(NotTaken):
            anyone.tell(Trip.at("a"), Hold("t"))
        with pytest.raises(NotTaken, match="Trip doesn't take Deposit, only BookTrip"):
            await anyone.transact((Trip.at("t"), Deposit(1)))

        class Nobody(Service[State, Hold, Event]):
            initial = State()

        with pytest.raises(UnknownActor, match="no actor 'Nobody' here, only Account, Room, Trip; add its class"):
            await anyone.ask(Nobody.at("x"), Hold("t"))
        with pytest.raises(UnknownActor):
            await runtime.kill(Nobody.at("x"))
        assert len(node_of(runtime).directory) == 0


ODD_KEYS = [
    "",
    " ",
    "a/b",
    "a#b",
    "a!b",
    "Trip/t#flight",
    "é",
    "\u202e",
    "🛫",
    "\0",
    "a\0b",
    "'; drop table events; --",
]


@pytest.mark.parametrize("key", [*ODD_KEYS, "k" * 1_019], ids=lambda key: repr(key)[:20])
async def test_any_text_is_a_key(key: str, journal: Callable[[], Journal]) -> None:
    room = key and f"room {key}"
    for number in (1, 2):
        async with Runtime(journal(), ALL) as runtime:
            assert await runtime.ask(Room.at(room), Hold(key)) == Held(2 * number - 1)
            await runtime.kill(Room.at(room))
            assert await runtime.ask(Room.at(room), Hold(key), id=f"{key} {number}") == Held(2 * number)
            assert (await runtime.state_of(Room.at(room))).held == (key,) * 2 * number
            with pytest.raises(Refused):
                await runtime.ask(Trip.at(key), BookTrip(["hotel", "full"]))
            assert (await runtime.state_of(Room.at("hotel"))).held == ()


async def test_text_that_utf8_can_not_hold_is_no_key() -> None:
    async with Runtime("memory:", ALL) as runtime:
        with pytest.raises(UnknownActor, match="text that UTF-8 can hold"):
            await runtime.ask(Room.at("\ud800"), Hold("t"))


# -- ids ----------------------------------------------------------------------------------------------------------


async def test_a_repeat_gets_the_first_reply(journal: Callable[[], Journal]) -> None:
    async with Runtime(journal(), ALL) as runtime:
        assert await runtime.ask(ROOM, Hold("t"), id="one") == Held(1)
        assert await runtime.ask(ROOM, Hold("u"), id="two") == Held(2)
        assert await runtime.ask(ROOM, Hold("t"), id="one") == Held(1)  # live
        await runtime.kill(ROOM)
        assert await runtime.ask(ROOM, Hold("t"), id="one") == Held(1)  # after a kill
    async with Runtime(journal(), ALL) as runtime:
        assert await runtime.ask(ROOM, Hold("t"), id="one") == Held(1)  # by another process
        assert await runtime.ask(ROOM, Look()) == 2
        assert runtime.position == 2


async def test_the_same_id_with_another_payload_is_an_error(journal: Callable[[], Journal]) -> None:
    async with Runtime(journal(), ALL) as runtime:
        await runtime.ask(ROOM, Hold("t"), id="one")
    async with Runtime(journal(), ALL) as runtime:
        with pytest.raises(CommandIdReused, match="Room/r has already handled another command with the id 'one'"):
            await runtime.ask(ROOM, Hold("u"), id="one")
        with pytest.raises(CommandIdReused):
            await runtime.ask(ROOM, Release("t"), id="one")
        assert await runtime.ask(ROOM, Look()) == 1


async def test_a_command_that_wrote_no_event_is_answered_the_same_again(journal: Callable[[], Journal]) -> None:
    async with Runtime(journal(), ALL) as runtime:
        assert await runtime.ask(ROOM, Look(), id="look") == 0
        await runtime.ask(ROOM, Hold("t"))
        assert await runtime.ask(ROOM, Look(), id="look") == 0
    async with Runtime(journal(), ALL) as runtime:
        assert await runtime.ask(ROOM, Look(), id="look") == 0
        assert await runtime.ask(ROOM, Look()) == 1
        assert (await runtime.state_of(ROOM)).held == ("t",)


async def test_ids_are_per_service() -> None:
    async with Runtime("memory:", ALL) as runtime:
        assert await runtime.ask(Room.at("a"), Hold("t"), id="one") == Held(1)
        assert await runtime.ask(Room.at("b"), Hold("u"), id="one") == Held(1)
        assert await runtime.ask(Account.at("a"), Deposit(1), id="one") == 101


async def test_a_refused_command_may_come_again_with_its_id() -> None:
    """Nothing was written for it, so it has no first reply."""
    async with Runtime("memory:", ALL) as runtime:
        with pytest.raises(Refused):
            await runtime.ask(Account.at("a"), Withdraw(150), id="one")
        await runtime.ask(Account.at("a"), Deposit(100))
        assert await runtime.ask(Account.at("a"), Withdraw(150), id="one") == 50
        assert await runtime.ask(Account.at("a"), Withdraw(150), id="one") == 50


async def test_many_repeats_at_once_take_effect_once() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        asked = [runtime.ask(ROOM, Hold(f"t{n % 3}"), id=f"id {n % 3}") for n in range(60)]
        replies = await asyncio.gather(*asked)
        assert [reply.number for reply in replies] == [n % 3 + 1 for n in range(60)]
        for _ in range(5):
            await runtime.tell(ROOM, Hold("t0"), id="id 0")
        assert await runtime.ask(ROOM, Look()) == 3
    check_once(journal.records)


# -- undo before its step -----------------------------------------------------------------------------------------


async def undo(runtime: Runtime, step: str, trip: str, id_: str | None = None) -> None:
    """Send an undo the way a saga does."""
    node = node_of(runtime)
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    class Reply:
        gone = False

        def done(self, value: Any) -> None:
            done.set_result(value)

        def failed(self, error: Exception) -> None:
            done.set_exception(error)

    node.directory.cell(ROOM).put(Envelope(Release(trip), id_ or f"undo {step}", Reply(), undoes=step))
    await done


async def test_an_undo_behind_its_step_undoes_it(journal: Callable[[], Journal]) -> None:
    async with Runtime(journal(), ALL) as runtime:
        await runtime.ask(ROOM, Hold("t"), id="step")
        await undo(runtime, "step", "t")
        assert await runtime.ask(ROOM, Look()) == 0
        await undo(runtime, "step", "t")
        assert await runtime.ask(ROOM, Hold("t"), id="step") == Held(1)  # the first reply, and no effect
        assert await runtime.ask(ROOM, Look()) == 0


@pytest.mark.parametrize("between", ["nothing", "kill", "reopen"])
async def test_an_undo_that_overtakes_its_step_wins(between: str, journal: Callable[[], Journal]) -> None:
    async with Runtime(journal(), ALL) as runtime:
        await undo(runtime, "step", "t")
        if between == "kill":
            await runtime.kill(ROOM)
        if between != "reopen":
            await late(runtime)
            return
    async with Runtime(journal(), ALL) as runtime:
        await late(runtime)


async def late(runtime: Runtime) -> None:
    for _ in range(2):
        with pytest.raises(Refused, match="step step was undone before it arrived at Room/r"):
            await runtime.ask(ROOM, Hold("t"), id="step")
    await undo(runtime, "step", "t")  # once more: the same undo, the same nothing
    await undo(runtime, "step", "t", "another id")
    assert await runtime.ask(ROOM, Look()) == 0
    assert (await runtime.state_of(ROOM)).count == 0
    assert await runtime.ask(ROOM, Hold("u"), id="other") == Held(1)


class Freed(Message):
    how: str


class Freeing(Event):
    pass


class Take(Command["Shelf", None]):
    pass


class Free(Command["Shelf", Freed]):
    pass


class Shelf(Service[State, Take | Free, Freeing]):
    initial = State()

    def decide(self, state: State, command: Take | Free) -> Decision:
        match command:
            case Take():
                raise ConnectionError("no hands free")
            case Free():
                return command.reply(Freed("by hand"), Freeing())

    def evolve(self, state: State, event: Freeing) -> State:
        return state


class Clear(Command["Clearing", None]):
    pass


class Clearing(Saga[Clear, None]):
    async def run(self, command: Clear) -> None:
        await self.parallel(
            self.ask("shelf", Shelf.at(), Take(), undo=Free()),
            self.ask("full", Room.at("full"), Hold(self.key)),
        )


async def test_an_undo_whose_reply_is_a_value_can_be_repeated_when_it_was_fenced() -> None:
    """The fence has no reply of the author's to give, and a repeat after a crash must not fail for that."""
    journal = HeldJournal()
    actors = [Shelf, Room, Clearing]
    async with Runtime(journal, actors) as runtime:
        with pytest.raises(Refused, match="full is full"):
            await runtime.ask(Clearing.at("c"), Clear())
    fenced = next(n for n, record in enumerate(journal.records, 1) if record.type == "service.fenced")
    async with Runtime(restart_of(journal.records[:fenced]), actors) as runtime:
        await quiet(runtime)
        with pytest.raises(Refused, match="full is full"):
            await runtime.result(Clearing.at("c"), timeout=5)


# -- what nobody expects --------------------------------------------------------------------------------------------


class Panic(BaseException):
    """What a library that is written in another language raises."""


async def test_a_panic_in_decide_crashes_one_actor_and_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    decide = Room.decide

    def panics(self: Room, state: Any, command: Any) -> Decision:
        if command == Odd("panic"):
            raise Panic("at the bottom")
        return decide(self, state, command)

    monkeypatch.setattr(Room, "decide", panics)
    monkeypatch.setattr(Room, "restart", RestartPolicy())
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        bad = asyncio.create_task(runtime.ask(ROOM, Odd("panic")))
        behind = asyncio.create_task(runtime.ask(ROOM, Hold("t")))
        other = asyncio.create_task(runtime.ask(Room.at("other"), Hold("t")))
        await quiet(runtime)
        with pytest.raises(OutcomeUnknown, match="Panic"):
            await bad
        assert await other == Held(1)
        clock.advance(5)
        assert await behind == Held(1)


async def test_a_journal_that_can_not_be_read_for_a_while_parks_no_service() -> None:
    journal, clock = HeldJournal(), ManualClock()
    journal.unreadable = {("Room", "r")}
    async with Runtime(journal, ALL, clock=clock) as runtime:
        held = asyncio.create_task(runtime.ask(ROOM, Hold("t")))
        for _ in range(30):
            await quiet(runtime)
            clock.advance(10)
        assert not held.done()
        journal.unreadable.clear()
        clock.advance(10)
        assert await held == Held(1)


async def test_a_repeat_whose_first_reply_can_not_be_read_now_may_come_again() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        assert await runtime.ask(ROOM, Hold("t"), id="one") == Held(1)
        journal.unreadable = {("Room", "r")}
        with pytest.raises(OutcomeUnknown, match="disk I/O error"):
            await runtime.ask(ROOM, Hold("t"), id="one")
        journal.unreadable.clear()
        assert await runtime.ask(ROOM, Hold("t"), id="one") == Held(1)


class Tag(Command["Tags", int]):
    tags: frozenset[int] = frozenset()
    weights: dict[str, int] = {}


class Tagged(Event):
    tags: list[int]


class Tags(Service[State, Tag, Tagged]):
    initial = State()

    def decide(self, state: State, command: Tag) -> Decision:
        tags: Any = tuple(command.tags) if self.key == "sloppy" else sorted(command.tags)
        return command.reply(len(command.tags), Tagged(tags))

    def evolve(self, state: State, event: Tagged) -> State:
        return state


async def test_a_repeat_after_a_reopen_may_name_its_parts_in_another_order(journal: Callable[[], Journal]) -> None:
    first = Tag(frozenset([0, 8]), {"a": 1, "b": 2})
    again = Tag(frozenset([8, 0]), {"b": 2, "a": 1})
    assert list(first.tags) != list(again.tags)
    async with Runtime(journal(), [Tags]) as runtime:
        assert await runtime.ask(Tags.at(), first, id="one") == 2
    async with Runtime(journal(), [Tags]) as runtime:
        assert await runtime.ask(Tags.at(), again, id="one") == 2
        with pytest.raises(CommandIdReused):
            await runtime.ask(Tags.at(), Tag(frozenset([8]), {"b": 2, "a": 1}), id="one")


async def test_an_event_that_would_read_back_as_another_value_is_not_written() -> None:
    journal = HeldJournal()
    async with Runtime(journal, [Tags]) as runtime:
        with pytest.raises(Failed, match="read back as another value"):
            await runtime.ask(Tags.at("sloppy"), Tag(frozenset([1])))
        assert await runtime.ask(Tags.at("exact"), Tag(frozenset([1]))) == 1
    assert len(journal.records) == 1
