"""Anything at any time: random mail, crashes, kills, ends, watches, outages and pauses, held against what must be true.

Each example is a list of steps played on one runtime. A few rules are checked while it runs, by the actors themselves;
the rest in the end, when all has been mended and the runtime is quiet.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import Backoff, Group, Parked, Passivation, RestartPolicy, Stopped
from actors.address import AnyAddress
from runtime import ManualClock, Runtime, seen
from runtime.cells import Phase
from runtime.plain_cell import PlainCell
from tests.runtime.company import BROKEN, LOG, Ledger, Quick, QuickWorker, Say, Slow, clear_the_stage, name, passes
from tests.runtime.tools import HeldJournal, check_once, content, node_of, of, quiet

POLICY = RestartPolicy(
    restarts=2,
    within=timedelta(seconds=30),
    backoff=Backoff(timedelta(seconds=1), jitter=0.1),
    parked_for=timedelta(seconds=40),
)

PROBLEMS: list[str] = []
"""What must never be, and was."""
CURRENT: dict[str, int] = {}
"""The incarnation of each actor that began last."""
WATCHES: Counter[tuple[str, int, AnyAddress]] = Counter()
"""How often each incarnation has watched whom: so often, at most, may it hear of an end."""
WAITS: set[tuple[str, int, AnyAddress]] = set()
"""Who has watched whom and has heard nothing since."""
HEARD: Counter[tuple[str, int, AnyAddress]] = Counter()
TOLD: list[Stopped] = []
NUMBERS = count(1)


def hear(actor: Any, message: Say | Stopped) -> None:
    if isinstance(message, Stopped):
        watch = (name(actor), actor.number, message.address)
        WAITS.discard(watch)
        again = any(message is other for other in TOLD)  # killed in the middle of it, one gets a message again
        TOLD.append(message)
        HEARD[watch] += not again
        if HEARD[watch] > WATCHES[watch]:
            PROBLEMS.append(f"{name(actor)} hears of {message.address}, which it doesn't watch")
    if CURRENT[name(actor)] != actor.number and actor.pool is None:
        PROBLEMS.append(f"an old {name(actor)} is at work beside the new one")


class Watcher:
    """Keeps the books of its watches."""

    key: str
    number: int

    def watch(self, address: AnyAddress) -> None:
        watch = (name(self), self.number, address)
        WATCHES[watch] += 1
        WAITS.add(watch)
        super().watch(address)  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]

    def unwatch(self, address: AnyAddress) -> None:
        WAITS.discard((name(self), self.number, address))
        super().unwatch(address)  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


class FastOne(Watcher, Quick):
    restart = POLICY
    passivation = Passivation(idle=timedelta(seconds=20))

    def started(self) -> None:
        self.number = CURRENT[name(self)] = next(NUMBERS)
        super().started()

    def receive(self, message: Say | Stopped) -> Any:
        hear(self, message)
        return super().receive(message)


class LateOne(Watcher, Slow):
    restart = POLICY
    passivation = Passivation(idle=timedelta(seconds=20))

    async def started(self) -> None:
        self.number = CURRENT[name(self)] = next(NUMBERS)
        await super().started()

    async def receive(self, message: Say | Stopped) -> Any:
        if name(self) in BUSY:
            PROBLEMS.append(f"{name(self)} handles two messages at once")
        BUSY.add(name(self))
        try:
            hear(self, message)
            reply = await super().receive(message)
            await asyncio.sleep(0)
            if CURRENT[name(self)] != self.number:
                PROBLEMS.append(f"a new {name(self)} began while the old one was at work")
            return reply
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # one that is killed takes its time
            await asyncio.sleep(0)
            raise
        finally:
            if CURRENT[name(self)] != self.number:
                PROBLEMS.append(f"a new {name(self)} began before the old one had ended")
            BUSY.discard(name(self))


BUSY: set[str] = set()


class Worker(QuickWorker):
    restart = POLICY


class Book(Ledger):
    restart = POLICY
    passivation = Passivation(idle=timedelta(seconds=20))
    snapshot_every = 3


PLAIN: list[Any] = [FastOne.at("1"), FastOne.at("2"), LateOne.at("1"), LateOne.at("2")]
BOOKS: list[Any] = [Book.at("1"), Book.at("2")]
GROUPED: list[Any] = [FastOne.at("g"), LateOne.at("g"), Book.at("g")]
EVERYONE: list[Any] = [*PLAIN, *BOOKS, *GROUPED, Worker.at("p")]
WATCHERS: list[Any] = [*PLAIN, *GROUPED[:2]]
WATCHED: list[Any] = [*PLAIN, *BOOKS, *GROUPED]
CASTS: list[type] = [FastOne, LateOne, Worker, Book]

ANYONE = st.sampled_from(EVERYONE)
TALKER = st.sampled_from(WATCHERS)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), ANYONE),
        st.tuples(st.just("ask"), ANYONE),
        st.tuples(st.just("relay"), TALKER, ANYONE),
        st.tuples(st.just("crash"), st.sampled_from([*WATCHERS, Worker.at("p")])),
        st.tuples(st.just("stop"), TALKER),
        st.tuples(st.just("kill"), ANYONE),
        st.tuples(st.just("unpark"), ANYONE),
        st.tuples(st.just("watch"), TALKER, st.sampled_from(WATCHED)),
        st.tuples(st.just("unwatch"), TALKER, st.sampled_from(WATCHED)),
        st.tuples(st.just("pounce"), st.sampled_from([*PLAIN, *GROUPED]), st.integers(0, 8)),
        st.tuples(st.just("lose"), st.sampled_from([*BOOKS, GROUPED[2]])),
        st.tuples(st.sampled_from(["break", "mend", "turn", "second", "minute"])),
        st.tuples(st.sampled_from(["turn", "second"])),
    ),
    max_size=50,
)


@pytest.fixture(autouse=True, scope="module")
def _few_ids() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen, "RECENT", 2)
        patch.setattr(seen, "FIRST_FILTER", 8)
        yield


@settings(max_examples=300, deadline=None)
@given(STEPS, st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]))
def test_whatever_happens_nothing_that_was_promised_is_broken(steps: list[tuple[Any, ...]], strategy: Any) -> None:
    asyncio.run(_play(steps, strategy))


class Play:
    """One example under way, and what was sent in it."""

    def __init__(self, runtime: Runtime, clock: ManualClock, journal: HeldJournal) -> None:
        self.runtime = runtime
        self.clock = clock
        self.journal = journal
        self.count = 0
        self.told: list[tuple[AnyAddress, str]] = []
        """From outside, in this order."""
        self.relayed: list[tuple[AnyAddress, AnyAddress, str]] = []
        self.asked: dict[tuple[AnyAddress, str], asyncio.Task[str]] = {}
        self.lossy = False

    def text(self) -> str:
        self.count += 1
        return f"m{self.count}"

    async def step(self, what: str, *who: Any) -> None:
        runtime, text = self.runtime, self.text()
        match what:
            case "tell":
                runtime.tell(who[0], Say(text), id=text)
                self.told.append((who[0], text))
            case "pounce":  # to kill it in the middle
                runtime.tell(who[0], Say(text), id=text)
                self.told.append((who[0], text))
                for _ in range(who[1]):
                    await asyncio.sleep(0)
                await runtime.kill(who[0])
            case "lose":
                self.lossy = True
                self.journal.fail = ["before"]
                self.asked[who[0], text] = asyncio.create_task(runtime.ask(who[0], Say(text), id=text))
            case "ask":
                self.asked[who[0], text] = asyncio.create_task(runtime.ask(who[0], Say(text), id=text))
            case "relay" if who[0] != who[1]:
                runtime.tell(who[0], Say(text, who[1]))
                self.relayed.append((who[0], who[1], text))
            case "crash" | "stop":
                runtime.tell(who[0], Say(what))
            case "watch" | "unwatch":
                runtime.tell(who[0], Say(what, who[1]))
            case "kill":
                await runtime.kill(who[0])
            case "unpark":
                runtime.unpark(who[0])
            case "break":
                BROKEN.update(("1", "g"))
            case "mend":
                BROKEN.clear()
            case "second" | "minute":
                self.clock.advance(1.1 if what == "second" else 61)
            case _:
                await asyncio.sleep(0)

    async def mend(self) -> None:
        BROKEN.clear()
        self.journal.fail.clear()  # who was to write may never have come to it
        await passes(self.runtime, self.clock, 100)
        for _ in range(100):  # each message that crashes its actor costs one pause
            await passes(self.runtime, self.clock, 100)
            if not any(cell.phase is Phase.RECOVERING for cell in node_of(self.runtime).directory):
                return
        raise AssertionError("somebody never comes back")

    def check_mail(self, recorded: dict[AnyAddress, list[str]]) -> None:
        heard = {address: recorded.get(address, said(address)) for address in EVERYONE}
        for address, texts in heard.items():
            once = Counter(texts)
            repeats = [text for text, times in once.items() if times > 1 and text.startswith("m")]
            # Told by an async one that was killed in the middle, or handled by one, it may come again; not to a book.
            told_again = {text for by, to, text in self.relayed if by.actor == "LateOne" and to.actor != "Book"}
            assert address.actor == "LateOne" or told_again >= set(repeats), f"{address} has handled {repeats} again"
            if address.actor != "Worker":
                assert in_order([text for to, text in self.told if to == address], texts)
                for sender in WATCHERS:
                    mine = {text for by, to, text in self.relayed if (by, to) == (sender, address)}
                    sent = [text for text in dict.fromkeys(said(sender)) if text in mine]
                    assert in_order(sent, texts)
        for (address, text), task in self.asked.items():
            if task.exception() is None:
                assert text in heard[address], f"{text} was acknowledged by {address}, and is lost"
        if not self.lossy:
            lost = [(to, text) for to, text in self.told if text not in heard[to]]
            turned_away = [letter for letter in self.runtime.dead_letters() if "is parked" in letter.error]
            assert len(lost) <= len(turned_away), f"nobody was told that these are lost: {lost}"


def said(address: AnyAddress) -> list[str]:
    """What a plain actor has handled, in order."""
    begin = f"{address}: "
    return [line.removeprefix(begin) for line in LOG if line.startswith(begin)]


def in_order(sent: list[str], heard: list[str]) -> bool:
    """Whether messages were first heard in the order in which they were sent; some may be missing."""
    first = {text: place for place, text in reversed(list(enumerate(heard)))}
    places = [first[text] for text in sent if text in first]
    return places == sorted(places)


async def _play(steps: list[tuple[Any, ...]], strategy: Any) -> None:
    clear_the_stage()
    for store in (PROBLEMS, CURRENT, WATCHES, WAITS, HEARD, TOLD, BUSY):
        store.clear()
    journal, clock = HeldJournal(), ManualClock()
    groups = [Group(tuple(GROUPED), strategy, POLICY)]
    async with Runtime(journal, CASTS, clock=clock, groups=groups) as runtime:
        play = Play(runtime, clock, journal)
        for what, *who in steps:
            await play.step(what, *who)
        await play.mend()
        assert all(task.done() for task in play.asked.values()), "somebody waits for ever"
        for task in play.asked.values():
            assert not isinstance(task.exception(), (AssertionError, TypeError, KeyError))
        recorded = {
            book: [content(record)["text"] for record in of(journal.records, "Said") if record.stream[1] == book.key]
            for book in (*BOOKS, GROUPED[2])
        }
        _all_members_are_there(runtime, {who[0] for what, *who in steps if what == "stop"})
        play.check_mail(recorded)
        await _all_are_well(runtime, recorded)
        await _all_watches_are_answered(runtime)
        assert node_of(runtime).idle
    assert PROBLEMS == []
    check_once(journal.records)


def _all_members_are_there(runtime: Runtime, finished: set[AnyAddress]) -> None:
    """A group starts its members again whether or not there is mail for them."""
    for member in GROUPED[:2]:
        cell = node_of(runtime).find(member)
        there = cell is not None and cell.phase is not Phase.STOPPED
        assert there or member in finished, f"nobody has started {member} again"


async def _all_are_well(runtime: Runtime, recorded: dict[AnyAddress, list[str]]) -> None:
    """After the faults have ended everybody works again, and the books are what the journal says."""
    for address in EVERYONE:
        runtime.unpark(address)
        try:
            reply = await runtime.ask(address, Say("well?"))
        except Parked as parked:
            raise AssertionError(f"{address} is still parked") from parked
        if address in recorded:
            assert reply.split() == [*recorded[address], "well?"]
            assert list((await runtime.state_of(address)).texts) == reply.split()


async def _all_watches_are_answered(runtime: Runtime) -> None:
    node = node_of(runtime)
    for watched, watchers in node.watches._watchers.items():  # pyright: ignore[reportPrivateUsage]
        for watcher in watchers:
            cell: Any = node.find(watcher)
            assert watched in (cell._watching or ()), f"{watcher} has ended, and its watch of {watched} has not"
    for watched in list(node.watches):
        runtime.tell(watched, Say("well?"))
        await quiet(runtime)
        await runtime.kill(watched)
        await quiet(runtime)
    assert not list(node.watches)
    cells: list[Any] = [cell for cell in node.directory if isinstance(cell, PlainCell)]
    alive = {str(cell.address): cell.actor.number for cell in cells if isinstance(cell.actor, Watcher)}
    never = [watch for watch in WAITS if alive.get(watch[0]) == watch[1]]
    assert not never, f"never told of an end: {never}"
