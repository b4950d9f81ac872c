"""Any steps of any sagas at any time, kills between them: a lock has one holder, and nobody waits for ever.

The sagas are stand-ins that end only when all their steps, and the sagas that they have asked, have come to an end. So
if, when nothing new is asked any more, all of them that can end do, and somebody is left over, then these wait for each
other: a circle that was not found.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import Address, Deadlock, MailboxFull, OutcomeUnknown, Refused
from runtime import Runtime
from runtime.lock_waits import LockWaits, Waiting
from runtime.service_cell import ServiceCell
from tests.runtime.locking import ALL, Page, Queued, Tear, Write, check_locks, release, step
from tests.runtime.tools import HeldJournal, check_once, node_of, quiet

PAGES: tuple[Address[Page], ...] = (Queued.at("p"), Queued.at("q"), Queued.at("r"))
WORDS = ("one", "two")


class Player:
    """A saga, as far as services know of it."""

    def __init__(self, key: str, parent: "Player | None" = None) -> None:
        self.address = Address[Any]("Tale", key)
        self.path: tuple[Address[Any], ...] = (*(parent.path if parent else ()), self.address)
        self.children: list[Player] = []
        self.steps: list[tuple[Address[Page], Write, bool]] = []
        self.pending: list[asyncio.Future[Any]] = []
        self.ended = False
        if parent is not None:
            parent.children.append(self)

    @property
    def can_end(self) -> bool:
        return all(one.done() for one in self.pending) and all(child.ended for child in self.children)


class Play:
    """One example: a runtime, and sagas that ask it."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.players: list[Player] = []
        self.asked: list[asyncio.Future[Any]] = []
        for key in "abc":
            player = Player(key)
            self.players += [player, Player(f"{key}.0", player)]

    async def move(self, what: str, who: int, where: int, which: int, lock: bool, rest: bool) -> None:
        player, page, word = self.players[who % len(self.players)], PAGES[where % 3], WORDS[which % 2]
        node = node_of(self.runtime)
        if what == "kill":
            await self.runtime.kill(page)
        elif what == "outside":
            promise = node.send(page, Write(f"{word} outside"), f"c{which}" if lock else None)
            if promise is not None:
                self.asked.append(promise.future)
        elif what == "step" and not player.ended:
            command = Write(f"{word} {len(player.steps)}", str(player.address))
            player.steps.append((page, command, lock))
            self._send(player, len(player.steps) - 1)
        elif what == "again" and not player.ended and player.steps:
            self._send(player, which % len(player.steps))
        elif what == "undo" and not player.ended and player.steps:
            number = which % len(player.steps)
            page, command, _ = player.steps[number]
            undo = Tear(command.line)
            player.pending.append(step(self.runtime, page, undo, *player.path, lock=False, undoes=str(number)))
        elif what == "end" and player.can_end:
            self.end(player)
        if rest:
            await quiet(self.runtime)

    def _send(self, player: Player, number: int) -> None:
        page, command, lock = player.steps[number]
        player.pending.append(step(self.runtime, page, command, *player.path, name=str(number), lock=lock))

    def end(self, player: Player) -> None:
        if player.ended:
            return
        player.ended = True
        pages = dict.fromkeys(page for page, _, lock in player.steps if lock)
        for page in pages:
            steps = [str(number) for number, (to, _, lock) in enumerate(player.steps) if to == page and lock]
            self.asked.append(release(self.runtime, page, player.address, *steps))

    def leave(self) -> None:
        """Wait for nobody any more, as nobody will look at what comes of it."""
        for one in [*self.asked, *(one for player in self.players for one in player.pending)]:
            one.add_done_callback(lambda done: done.exception())

    async def finish(self) -> None:
        """Let all that can end do so, until all have."""
        while not all(player.ended for player in self.players):
            await quiet(self.runtime)
            can = [player for player in self.players if not player.ended and player.can_end]
            assert can, "these wait for each other: " + ", ".join(
                str(player.address) for player in self.players if not player.ended
            )
            for player in can:
                self.end(player)
        await quiet(self.runtime)
        for one in [*self.asked, *(one for player in self.players for one in player.pending)]:
            assert one.done()
            with suppress(Refused, MailboxFull, OutcomeUnknown, Deadlock):
                one.result()


MOVES = st.tuples(
    st.sampled_from(["step", "step", "step", "step", "outside", "again", "undo", "end", "kill"]),
    st.integers(0, 5),
    st.integers(0, 2),
    st.integers(0, 7),
    st.booleans(),
    st.booleans(),
)


async def play(moves: Sequence[tuple[str, int, int, int, bool, bool]]) -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        game = Play(runtime)
        try:
            for move in moves:
                await game.move(*move)
            await game.finish()
        finally:
            game.leave()
        assert node_of(runtime).lock_waits.tally == {}
        for page in PAGES:
            cell = node_of(runtime).cell(page)
            assert isinstance(cell, ServiceCell)
            assert len(cell.locking.lines) == 0
    check_locks(journal.records)
    check_once(journal.records)


@settings(max_examples=300, deadline=None)
@given(st.lists(MOVES, max_size=60))
def test_nobody_waits_for_ever_and_a_lock_has_one_holder(moves: list[tuple[str, int, int, int, bool, bool]]) -> None:
    asyncio.run(play(moves))


@pytest.mark.parametrize("lock", [True, False])
async def test_the_play_finds_those_who_wait_for_each_other(lock: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks for what must never be has to see it when it is there."""
    circle = [("step", 0, 0, 0, True, True), ("step", 2, 1, 0, True, True), ("step", 0, 1, 0, lock, True)]
    circle.append(("step", 2, 0, 0, lock, True))
    await play(circle)

    def no_circle(_: LockWaits, waiting: Waiting) -> str | None:
        del waiting
        return None

    monkeypatch.setattr(LockWaits, "circle", no_circle)
    with pytest.raises(AssertionError, match="these wait for each other: Tale/a, Tale/b"):
        await play(circle)
