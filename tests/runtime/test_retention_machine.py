"""Anything at any time to what is kept: commands and their repeats, crashes, snapshots, truncation, deletion, damage.

Each example is a list of steps, played one after the other on one journal, beside a model of what must be true.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import OutcomeUnknown, Parked, Refused, ReplyErased, RestartPolicy
from persistence import Snapshot
from runtime import ManualClock, Runtime
from runtime import retention as module
from tests.runtime.cast import ALL, Hold, Room
from tests.runtime.keeping import keep_often, set_snapshot, snapshot_of, undo
from tests.runtime.tools import HeldJournal, check_once

KEYS = ["a", "b"]
NUMBERS = st.integers(0, 9)
KEY = st.sampled_from(KEYS)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("hold"), KEY, NUMBERS),
        st.tuples(st.just("hold"), KEY, NUMBERS),
        st.tuples(st.just("undo"), KEY, NUMBERS),
        st.tuples(st.just("both"), st.just("a"), NUMBERS),
        st.tuples(st.sampled_from(["kill", "snapshot", "delete", "damage", "misfit"]), KEY, st.just(0)),
        st.tuples(st.just("truncate"), KEY, st.integers(0, 4)),
        st.tuples(st.sampled_from(["restart", "change", "lose", "doubt"]), st.just("a"), st.just(0)),
    ),
    max_size=40,
)


class Model(msgspec.Struct):
    """What is true of one room."""

    version: int = 0
    held: list[str] = []
    count: int = 0
    first: int = 1
    """The version of the first event that can be read."""
    taken: dict[str, tuple[int, Any]] = {}
    """Ids, the versions of their events, and their replies."""
    fenced: set[str] = set()
    broken: bool = False
    """Whether it may be that no snapshot stands for what was erased."""
    doubtful: set[str] = set()
    """What was fenced, and that only a damaged snapshot knew, perhaps."""


class Play:
    """One example under way."""

    def __init__(self, journal: HeldJournal) -> None:
        self.journal = journal
        self.models = {key: Model() for key in KEYS}
        self.runtime: Runtime

    async def asked(self, request: Any) -> Any:
        """Ask until the outcome is known, and return it, or what was raised."""
        for _ in range(10):
            try:
                return await request()
            except OutcomeUnknown:
                continue
            except (Refused, ReplyErased, Parked) as error:
                return error
        raise AssertionError("the outcome is never known")

    async def is_parked(self, key: str, outcome: Any) -> bool:
        """Whether it was parked for what was erased; then it is deleted, so that it begins anew."""
        if not isinstance(outcome, Parked):
            return False
        assert "were erased, and no snapshot stands for them whose state" in str(outcome)
        assert self.models[key].broken
        await self.delete(key)
        return True

    def check(self, key: str, command_id: str, outcome: Any) -> None:
        """Check the outcome of a command that is a repeat."""
        model = self.models[key]
        version, reply = model.taken[command_id]
        if version < model.first and reply is not None:
            assert isinstance(outcome, ReplyErased)
        else:
            assert outcome == reply

    async def hold(self, key: str, number: int) -> None:
        model, command_id = self.models[key], f"hold {number}"
        outcome = await self.asked(lambda: self.runtime.ask(Room.at(key), Hold(f"t{number}"), id=command_id))
        if await self.is_parked(key, outcome):
            return
        if command_id in model.taken:
            self.check(key, command_id, outcome)
        elif command_id in model.fenced - model.doubtful:
            assert isinstance(outcome, Refused)
        elif isinstance(outcome, Refused):
            assert command_id in model.fenced
        else:
            model.version += 1
            model.count += 1
            model.held.append(f"t{number}")
            model.taken[command_id] = (model.version, outcome)
            assert outcome.number == model.count

    async def undo(self, key: str, number: int) -> None:
        model, step, command_id = self.models[key], f"hold {number}", f"undo {number}"
        outcome = await self.asked(lambda: undo(self.runtime, Room.at(key), f"t{number}", step, command_id).wait(0))
        if await self.is_parked(key, outcome):
            return
        if command_id in model.taken:
            self.check(key, command_id, outcome)
        elif step in model.taken and f"t{number}" not in model.held:
            assert isinstance(outcome, Refused)  # it was undone by a deletion
        else:
            assert outcome is None
            model.version += 1
            model.taken[command_id] = (model.version, None)
            if step in model.taken:
                model.held.remove(f"t{number}")
            else:
                model.fenced.add(step)

    async def both(self, _key: str, number: int) -> None:
        requests = [(Room.at(key), Hold(f"both {number}")) for key in KEYS]
        command_id = f"both {number}"
        outcome = await self.asked(lambda: self.runtime.transact(*requests, id=command_id))
        if isinstance(outcome, Parked):
            for key in KEYS:
                if self.models[key].broken:
                    await self.delete(key)
            return
        if command_id in self.models["a"].taken:
            if any(model.taken[command_id][0] < model.first for model in self.models.values()):
                assert isinstance(outcome, ReplyErased)
            else:
                assert outcome == tuple(model.taken[command_id][1] for model in self.models.values())
            return
        for model, reply in zip(self.models.values(), outcome, strict=True):
            model.version += 1
            model.count += 1
            model.held.append(f"both {number}")
            model.taken[command_id] = (model.version, reply)
            assert reply.number == model.count

    async def kill(self, key: str, _: int) -> None:
        await self.runtime.kill(Room.at(key))

    async def snapshot(self, key: str, _: int) -> None:
        outcome = await self.asked(lambda: self.runtime.snapshot(Room.at(key)))
        if not await self.is_parked(key, outcome):
            self.models[key].broken = False

    async def truncate(self, key: str, back: int) -> None:
        model = self.models[key]
        before = model.version - back
        if before <= model.first:
            return
        outcome = await self.asked(lambda: self.runtime.truncate(Room.at(key), before))
        if not await self.is_parked(key, outcome):
            model.first = before
            model.broken = False  # a new snapshot was taken

    async def delete(self, key: str, _: int = 0) -> None:
        model = self.models[key]
        while True:
            try:
                await self.runtime.delete(Room.at(key))
                break
            except OutcomeUnknown:  # it may be deleted twice then
                continue
        head = (await self.journal.heads([("Room", key)])).get(("Room", key), 0)
        assert head > model.version or not head
        model.version = model.first = head
        model.first = model.first or 1
        model.held, model.count = [], 0
        model.broken = False

    async def damage(self, key: str, _: int) -> None:
        snapshot = await snapshot_of(self.journal, Room.at(key))
        if snapshot is not None:
            set_snapshot(self.journal, ("Room", key), Snapshot(snapshot.version, snapshot.fingerprint, None))
            self.journal.fail.clear()  # what is in doubt could not be resolved by asking again
            self.models[key].broken = True
            self.models[key].doubtful |= self.models[key].fenced

    async def misfit(self, key: str, _: int) -> None:
        snapshot = await snapshot_of(self.journal, Room.at(key))
        if snapshot is not None:
            set_snapshot(self.journal, ("Room", key), Snapshot(snapshot.version, "other/fold/1", snapshot.data))
            self.journal.fail.clear()
            self.models[key].broken = True

    def check_at_the_end(self) -> None:
        check_once(self.journal.records)


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        keep_often(patch)
        patch.setattr(Room, "restart", RestartPolicy(restarts=0))
        patch.setattr(module, "ERASED_AT_ONCE", 3)
        yield


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_whatever_is_erased_nothing_that_was_promised_is_broken(steps: list[tuple[str, str, int]]) -> None:
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[str, str, int]]) -> None:
    play = Play(HeldJournal())
    todo = iter(steps)
    with pytest.MonkeyPatch.context() as patch:
        more = True
        while more:
            more = False
            async with Runtime(play.journal, ALL, clock=ManualClock()) as play.runtime:
                for what, key, number in todo:
                    if what in ("restart", "change"):
                        if what == "change":
                            patch.setattr(Room, "snapshot_version", Room.snapshot_version + 1)
                        more = True
                        break
                    if what in ("lose", "doubt"):
                        if not any(model.broken and model.first > 1 for model in play.models.values()):
                            play.journal.fail = ["before" if what == "lose" else "after"]
                    else:
                        await getattr(play, what)(key, number)
                play.journal.fail.clear()
                if not more:
                    await _all_is_well(play)
    play.check_at_the_end()


async def _all_is_well(play: Play) -> None:
    for key, model in play.models.items():
        for number in range(10):
            for what in ("hold", "undo"):
                await getattr(play, what)(key, number)
        state = await play.runtime.state_of(Room.at(key))
        assert (list(state.held), state.count) == (model.held, model.count)
        entries = [entry async for entry in play.runtime.history(Room.at(key))]
        versions = [entry.meta.version for entry in entries if entry.type != "journal.erased"]
        assert versions == list(range(model.first, model.version + 1))
