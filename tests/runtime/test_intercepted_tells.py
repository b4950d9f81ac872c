"""P4: messages keep their order through interceptors, however long these take; and nobody need wait for them."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import Call, MailboxFull, NotTaken, Proceed, Refused, RuntimeClosed, context
from runtime import Runtime, doors
from tests.runtime.cast import ALL, Desk, Hold, Look, Note, Room
from tests.runtime.tools import HeldJournal, comes, content, node_of, of, quiet

R = Room.at("r")


def held(journal: HeldJournal) -> list[str]:
    return [content(record)["trip"] for record in of(journal.records, "WasHeld")]


WAYS = ["tell", "tell refused", "ask", "transact", "ask nothing"]


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(WAYS))))
@settings(max_examples=60, deadline=None)
def test_what_one_sender_sends_keeps_its_order(messages: Sequence[tuple[int, str]]) -> None:
    async def dawdles(call: Call, proceed: Proceed) -> object:
        if isinstance(call.request, Hold):
            number, rounds, how = call.request.trip.split()[:3]
            for _ in range(int(rounds)):
                await asyncio.sleep(0)
            if how == "refused":
                raise Refused(f"not {number}")
        reply = await proceed(call)
        await asyncio.sleep(0)
        return reply

    async def play() -> tuple[list[str], list[str]]:
        journal, sent = HeldJournal(), list[str]()
        async with Runtime(journal, ALL, interceptors=[dawdles]) as runtime:
            for number, (rounds, how) in enumerate(messages):
                refused = "refused" if "refused" in how else "sent"
                message = Hold(f"{number} {rounds} {refused}")
                if how != "ask nothing" and refused == "sent":
                    sent.append(message.trip)
                if how.startswith("tell"):
                    runtime.tell(R, message)
                elif how == "ask":
                    await runtime.ask(R, message)
                elif how == "transact":
                    await runtime.transact((R, message))
                else:
                    assert await runtime.ask(R, Look()) == len(sent)
            await quiet(runtime)
        return held(journal), sent

    came, sent = asyncio.run(play())
    assert came == sent


async def test_an_actor_that_an_interceptor_asks_may_ask_whom_is_being_told() -> None:
    async def looks(self: Desk, message: Note) -> str:
        return str(await self.ask(R, Look()))

    async def by_the_desk(call: Call, proceed: Proceed) -> object:
        if call.kind == "tell":
            there.append(await runtime.ask(Desk.at(), Note("how many?")))
        return await proceed(call)

    Desk.script, there = looks, list[str]()
    async with Runtime("memory:", ALL, interceptors=[by_the_desk], shutdown_timeout=0.01) as runtime:
        for trip in ("a", "b"):
            await asyncio.wait_for(runtime.tell(R, Hold(trip)), 60)
    assert there == ["0", "1"]


async def test_tells_to_others_do_not_wait() -> None:
    gate = asyncio.Event()

    async def gated(call: Call, proceed: Proceed) -> object:
        if call.address == R:
            await gate.wait()
        return await proceed(call)

    journal = HeldJournal()
    async with Runtime(journal, ALL, interceptors=[gated]) as runtime:
        first = runtime.tell(R, Hold("first"))
        await runtime.tell(Room.at("other"), Hold("second"))
        asked = asyncio.ensure_future(runtime.ask(R, Hold("third")))
        await quiet_but_for_tasks()
        assert held(journal) in ([], ["second"])
        gate.set()
        await first
        await asked
    assert held(journal) == ["second", "first", "third"]


async def quiet_but_for_tasks() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_is_refused_is_a_dead_letter_for_nobody_need_wait_for_it() -> None:
    async def no(call: Call, proceed: Proceed) -> object:
        raise Refused("no")

    async with Runtime("memory:", ALL, interceptors=[no]) as runtime:
        runtime.tell(R, Hold("a"))
        with pytest.raises(Refused, match="no"):
            await runtime.tell(R, Hold("b"))
        await quiet(runtime)
        letters = runtime.dead_letters()
    assert [(letter.address, letter.message) for letter in letters] == [(R, "Hold"), (R, "Hold")]


async def test_a_request_of_another_class_that_nobody_takes_is_one_too() -> None:
    async def changes(call: Call, proceed: Proceed) -> object:
        return await proceed(call.with_(request=Note("x")))

    async with Runtime("memory:", ALL, interceptors=[changes]) as runtime:
        with pytest.raises(NotTaken):
            await runtime.tell(R, Hold("b"))
        assert len(runtime.dead_letters()) == 1


async def test_who_stops_waiting_takes_the_message_back_and_those_behind_it_go_on() -> None:
    async def gated(call: Call, proceed: Proceed) -> object:
        if call.request == Hold("first"):
            await asyncio.Event().wait()
        return await proceed(call)

    journal = HeldJournal()
    async with Runtime(journal, ALL, interceptors=[gated]) as runtime:
        first = asyncio.ensure_future(runtime.tell(R, Hold("first")))
        second = runtime.tell(R, Hold("second"))
        await quiet_but_for_tasks()
        first.cancel()
        await second
    assert held(journal) == ["second"]


async def test_an_interceptor_may_ask_the_actor_that_it_stands_before() -> None:
    async def once(call: Call, proceed: Proceed) -> object:
        if isinstance(call.request, Hold) and call.request.trip != "between":
            assert await runtime.ask(R, Look()) == 0
            await runtime.tell(R, Hold("between"))
        return await proceed(call)

    journal = HeldJournal()
    async with Runtime(journal, ALL, interceptors=[once]) as runtime:
        await runtime.tell(R, Hold("told"))
    assert held(journal) == ["between", "told"]


async def test_interceptors_that_ask_each_others_actors_do_not_wait_in_a_circle() -> None:
    other = Room.at("other")

    async def crosses(call: Call, proceed: Proceed) -> object:
        if isinstance(call.request, Hold):
            await asyncio.sleep(0)
            assert await runtime.ask(other if call.address == R else R, Look()) == 0
        return await proceed(call)

    journal = HeldJournal()
    async with Runtime(journal, ALL, interceptors=[crosses]) as runtime:
        sent = [runtime.tell(R, Hold("here")), runtime.tell(other, Hold("there"))]
        await asyncio.gather(*map(asyncio.ensure_future, sent))
    assert sorted(held(journal)) == ["here", "there"]


async def test_so_many_may_be_with_interceptors_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "MOST_WAITING", 3)
    gate = asyncio.Event()

    async def gated(call: Call, proceed: Proceed) -> object:
        await gate.wait()
        return await proceed(call)

    async with Runtime("memory:", ALL, interceptors=[gated]) as runtime:
        last = [runtime.tell(R, Hold(str(number))) for number in range(3)][-1]
        with pytest.raises(MailboxFull, match="3 messages"):
            runtime.tell(R, Hold("one more"))
        gate.set()
        await last
        await runtime.tell(R, Hold("room again"))
        way_in = runtime._doors  # pyright: ignore[reportPrivateUsage]
        assert way_in is not None
        await quiet(runtime)
        assert not way_in._lines  # pyright: ignore[reportPrivateUsage]
        assert not way_in._telling  # pyright: ignore[reportPrivateUsage]


async def test_closing_waits_for_what_is_with_interceptors() -> None:
    gate = asyncio.Event()

    async def gated(call: Call, proceed: Proceed) -> object:
        await gate.wait()
        return await proceed(call)

    journal = HeldJournal()
    async with Runtime(journal, ALL, interceptors=[gated]) as runtime:
        runtime.tell(R, Hold("a"))
        asyncio.get_running_loop().call_later(0.01, gate.set)
    assert held(journal) == ["a"]


async def test_what_does_not_come_to_its_end_is_cut_off_and_said_so() -> None:
    async def never(call: Call, proceed: Proceed) -> object:
        await asyncio.Event().wait()
        return await proceed(call)

    async with Runtime("memory:", ALL, interceptors=[never], shutdown_timeout=0.01) as runtime:
        sent = runtime.tell(R, Hold("a"))
        behind = runtime.tell(R, Hold("b"))
    for lost in (sent, behind):
        with pytest.raises(RuntimeClosed, match="before interceptors had let"):
            await lost


async def test_a_message_that_waits_for_room_holds_nobody_up_longer_than_that() -> None:
    gate = asyncio.Event()

    async def slow(self: Desk, message: Note) -> str:
        await gate.wait()
        return ""

    async def passes(call: Call, proceed: Proceed) -> object:
        return await proceed(call)

    Desk.script = slow
    async with Runtime("memory:", ALL, interceptors=[passes]) as runtime:
        for number in range(5):
            runtime.tell(Desk.at(), Note(str(number)))
        await comes(lambda: Desk.inbox)
        gate.set()
        await quiet(runtime)
    assert [text for _, text in Desk.inbox] == ["0", "1", "2", "3", "4"]


async def test_what_an_actor_tells_by_the_runtime_is_nothing_that_it_waits_for() -> None:
    """What its interceptors ask is in no circle with the actor, and not bound to the deadline of who asked that."""
    gate, found = asyncio.Event(), list[object]()

    async def tells(self: Desk, message: Note) -> str:
        if message.text == "begin":
            runtime.tell(R, Hold("a"))
            await gate.wait()  # it is at it all the while
        return message.text

    async def asks_the_desk(call: Call, proceed: Proceed) -> object:
        if call.kind == "tell":
            asked = asyncio.ensure_future(runtime.ask(Desk.at(), Note("may I?")))
            found.append(node_of(runtime).deadline(None))
            await quiet_but_for_tasks()
            gate.set()
            found.append(await asked)
        return await proceed(call)

    Desk.script, journal = tells, HeldJournal()
    async with Runtime(journal, ALL, interceptors=[asks_the_desk]) as runtime:
        with context(user="ana"):
            assert await runtime.ask(Desk.at(), Note("begin"), timeout=60) == "begin"
        await comes(lambda: held(journal) or runtime.dead_letters())
        assert runtime.dead_letters() == []
    assert found == [0, "may I?"]
    (record,) = of(journal.records, "WasHeld")
    assert b'"user":"ana"' in record.meta  # though it goes on in its request context
