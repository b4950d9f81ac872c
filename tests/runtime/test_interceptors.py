"""Interceptors stand before every door, in order; what they refuse is not written, and a retry takes effect once."""

from datetime import timedelta
from typing import Any

import pytest

from actors import (
    Actor,
    Call,
    Command,
    Decision,
    DefinitionError,
    Event,
    Failed,
    InterceptorMisuse,
    NotTaken,
    OutcomeUnknown,
    Proceed,
    Refused,
    Service,
    State,
    UnknownActor,
)
from actors.verbs import Kill, Retry
from runtime import Runtime
from tests.runtime.cast import (
    ALL,
    Account,
    Approve,
    Begin,
    Board,
    BookTrip,
    Deposit,
    Deposited,
    Desk,
    Held,
    Hold,
    Lines,
    Note,
    Play,
    Room,
    Trip,
    Where,
    Withdraw,
)
from tests.runtime.intercepting import R, Seen, doors, waits
from tests.runtime.tools import HeldJournal, node_of, quiet


async def no_deposits(call: Call, proceed: Proceed) -> object:
    if isinstance(call.request, Deposit) and call.request.amount > 100:
        raise Refused("too much")
    return await proceed(call)


class Paid(Event):
    amount: int


class Pay(Command["Till", int]):
    amount: int


class Empty(State):
    total: int = 0


TILL = Seen("class")


class Till(Service[Empty, Pay, Paid]):
    initial = Empty()
    interceptors = [TILL]

    def decide(self, state: Empty, command: Pay) -> Decision:
        return command.reply(state.total + command.amount, Paid(command.amount))

    def evolve(self, state: Empty, event: Paid) -> Empty:
        return Empty(state.total + event.amount)


@pytest.fixture(autouse=True)
def till() -> None:
    TILL.notes, TILL.calls = [], []


# -- order and scope ----------------------------------------------------------------------------------------------


async def test_the_runtimes_come_first_the_first_one_outermost_then_the_classs() -> None:
    notes = TILL.notes
    async with Runtime("memory:", [Till], interceptors=[Seen("a", notes), Seen("b", notes)]) as runtime:
        assert await runtime.ask(Till.at("t"), Pay(3)) == 3
    assert notes == ["a in", "b in", "class in", "class out", "b out", "a out"]


async def test_a_classs_own_stand_around_that_class_only() -> None:
    async with Runtime("memory:", [Till, Room]) as runtime:
        await runtime.ask(R, Hold("t"))
        assert TILL.calls == []
        await runtime.ask(Till.at("t"), Pay(3))
    assert TILL.came == [("ask", "Till/t", "Pay")]


async def test_without_any_requests_go_the_same_way_as_ever() -> None:
    async with Runtime("memory:", ALL) as runtime:
        node = node_of(runtime)
        assert runtime._plain is node  # pyright: ignore[reportPrivateUsage]
        assert runtime._doors is None  # pyright: ignore[reportPrivateUsage]
        assert node.ask_inside == node.ask
    async with Runtime("memory:", [Till]) as runtime:
        assert runtime._plain is None  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("wrong", [[3], "abc", no_deposits, {no_deposits}])
def test_what_can_not_be_interceptors_is_found_where_it_is_written(wrong: Any) -> None:
    with pytest.raises(DefinitionError, match="interceptors are functions"):
        Runtime("memory:", ALL, interceptors=wrong)
    with pytest.raises(DefinitionError, match="Odd: interceptors are functions"):
        type("Odd", (Actor,), {"interceptors": wrong})


# -- every door ---------------------------------------------------------------------------------------------------


async def test_they_stand_before_every_door() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.receive(Approve)
        await self.ask("desk", Desk.at("slow"), Note("x"))
        return Held(1)

    Desk.script, Play.script = waits, story
    seen = Seen()
    async with Runtime("memory:", ALL, interceptors=[seen], shutdown_timeout=0.01) as runtime:
        await runtime.ask(R, Hold("t"))
        await runtime.tell(R, Hold("u"))
        await runtime.transact((Account.at("a"), Withdraw(1)), (Account.at("b"), Deposit(1)))
        await runtime.ask(Board.at(), Lines())
        await runtime.start(Play.at("p"), Begin())
        await runtime.ask(Play.at("p"), Where())
        await runtime.ask(Play.at("p"), Approve("ana"))
        await runtime.remind(R, "later", Hold("v"), after=timedelta(days=1))
        await runtime.saga(Play.at("p")).retry(by="ops", reason="stuck")
        await runtime.saga(Play.at("p")).kill(by="ops", reason="enough")
    assert seen.came == [
        ("ask", "Room/r", "Hold"),
        ("tell", "Room/r", "Hold"),
        ("transact", "Account/a", "Withdraw"),
        ("transact", "Account/b", "Deposit"),
        ("ask", "Board", "Lines"),
        ("start", "Play/p", "Begin"),
        ("ask", "Play/p", "Where"),
        ("ask", "Play/p", "Approve"),
        ("remind", "Room/r", "Hold"),
        ("verb", "Play/p", "Retry"),
        ("verb", "Play/p", "Kill"),
    ]
    assert [call.request for call in seen.calls[-2:]] == [Retry("ops", "stuck"), Kill("ops", "enough")]


async def test_a_plain_actors_asks_are_intercepted_and_steps_of_sagas_are_not() -> None:
    async def asks(self: Desk, message: Note) -> str:
        return str(await self.ask(R, Hold(message.text)))

    Desk.script = asks
    seen = Seen()
    async with Runtime("memory:", ALL, interceptors=[seen]) as runtime:
        await runtime.ask(Desk.at("d"), Note("n"))
        assert seen.calls.pop().sender == Desk.at("d")
        await runtime.ask(Trip.at("t"), BookTrip(["a", "b"]))
    assert seen.came == [("ask", "Desk/d", "Note"), ("ask", "Trip/t", "BookTrip")]
    assert seen.calls[0].sender is None


@pytest.mark.parametrize("door", range(8))
async def test_what_is_refused_is_told_so_and_nothing_is_written(door: int) -> None:
    async def closed(call: Call, proceed: Proceed) -> object:
        if isinstance(call.request, Hold):
            return await proceed(call)
        raise Refused("closed")

    journal = HeldJournal()
    async with Runtime(journal, ALL, interceptors=[closed]) as runtime:
        with pytest.raises(Refused, match="closed"):
            await doors(runtime)[door]()
        await quiet(runtime)
    assert journal.records == []


async def test_a_command_is_judged_in_a_transaction_too() -> None:
    async with Runtime("memory:", ALL, interceptors=[no_deposits]) as runtime:
        with pytest.raises(Refused, match="too much"):
            await runtime.transact((Account.at("a"), Withdraw(99)), (Account.at("b"), Deposit(101)))
        assert await runtime.transact((Account.at("a"), Withdraw(99)), (Account.at("b"), Deposit(99))) == (1, 199)


async def test_who_is_not_there_and_what_is_not_taken_is_told_as_ever() -> None:
    room: Any = R
    async with Runtime("memory:", ALL, interceptors=[Seen()]) as runtime:
        with pytest.raises(NotTaken):
            await runtime.ask(room, Deposit(1))
        with pytest.raises(NotTaken):
            runtime.tell(room, Deposit(1))
        with pytest.raises(NotTaken):
            await runtime.transact((Trip.at("t"), BookTrip([])))
        with pytest.raises(UnknownActor):
            await runtime.ask(Till.at(), Pay(1))
        with pytest.raises(UnknownActor):
            runtime.tell(Till.at(), Pay(1))
        assert await runtime.transact() == ()


# -- what they can do ---------------------------------------------------------------------------------------------


async def test_a_request_can_be_replaced_and_a_reply_too() -> None:
    async def doubles(call: Call, proceed: Proceed) -> object:
        if isinstance(call.request, Deposit):
            reply = await proceed(call.with_(request=Deposit(2 * call.request.amount)))
            assert isinstance(reply, int)
            return -reply
        return await proceed(call)

    async with Runtime("memory:", ALL, interceptors=[doubles]) as runtime:
        assert await runtime.ask(Account.at("a"), Deposit(1)) == -102
        assert await runtime.transact((R, Hold("t")), (Account.at("a"), Deposit(1))) == (Held(1), -104)


async def test_an_answer_of_its_own_keeps_the_actor_out_of_it() -> None:
    async def cached(call: Call, proceed: Proceed) -> object:
        return [(7, "seven")] if isinstance(call.request, Lines) else await proceed(call)

    async with Runtime("memory:", ALL, interceptors=[cached]) as runtime:
        assert await runtime.ask(Board.at(), Lines()) == [(7, "seven")]


async def test_a_transaction_is_not_half_answered() -> None:
    async def cached(call: Call, proceed: Proceed) -> object:
        return 7 if isinstance(call.request, Deposit) else await proceed(call)

    journal = HeldJournal()
    async with Runtime(journal, ALL, interceptors=[cached]) as runtime:
        with pytest.raises(Failed, match=r"answered Deposit for Account/b by itself; .* nothing was written"):
            await runtime.transact((Account.at("a"), Withdraw(1)), (Account.at("b"), Deposit(1)))
    assert journal.records == []


async def test_a_retry_takes_effect_once() -> None:
    attempts: list[object] = []

    async def twice(call: Call, proceed: Proceed) -> object:
        call = call.identified()
        attempts.append(await proceed(call))
        attempts.append(await proceed(call))
        return attempts[-1]

    async with Runtime("memory:", ALL, interceptors=[twice]) as runtime:
        assert await runtime.ask(Account.at("a"), Deposit(5)) == 105
        assert attempts == [105, 105]
        both = await runtime.transact((Account.at("a"), Withdraw(1)), (Account.at("b"), Deposit(1)))
        assert both == (104, 101)
        assert await runtime.ask(Account.at("a"), Deposit(0), id="mine") == 104
        assert await runtime.ask(Account.at("a"), Deposit(0), id="mine") == 104
        await runtime.tell(Account.at("a"), Deposit(3))
        assert await runtime.ask(Account.at("a"), Deposit(0)) == 107


@pytest.mark.parametrize("door", range(3))
async def test_a_retry_without_an_id_is_none(door: int) -> None:
    async def twice(call: Call, proceed: Proceed) -> object:
        if isinstance(call.request, Hold):
            return await proceed(call)
        await proceed(call)
        return await proceed(call)

    async with Runtime("memory:", ALL, interceptors=[twice]) as runtime:
        with pytest.raises(OutcomeUnknown, match="may have taken effect") as caught:
            await doors(runtime)[door]()
        assert isinstance(caught.value.__cause__, InterceptorMisuse)
        assert "call = call.identified()" in str(caught.value)
        await quiet(runtime)
        assert [entry.event async for entry in runtime.history(Account.at("a"))] == [Deposited(1)]


async def test_a_query_may_be_sent_as_often_as_one_likes() -> None:
    async def twice(call: Call, proceed: Proceed) -> object:
        await proceed(call)
        return await proceed(call)

    async with Runtime("memory:", ALL, interceptors=[twice]) as runtime:
        assert await runtime.ask(Board.at(), Lines(), consistent=True) == []
