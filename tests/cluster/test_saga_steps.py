"""P8 between nodes, feature by feature: optional steps, revised undos, steps at once of which one is here."""

from typing import Any

from actors import Refused
from tests.cluster.plays import NODES, PLAY, end_of, open_all, whatever_happens
from tests.cluster.village import Village, play
from tests.runtime.cast import (
    TOLD,
    Account,
    Begin,
    Deposit,
    Desk,
    Held,
    Hold,
    Note,
    Play,
    Release,
    Room,
    Withdraw,
)
from tests.runtime.playing import hold, stands
from tests.runtime.tools import of, steps_of


def rooms_of(village: Village) -> dict[str, int]:
    """Return how often each room is held."""
    return stands(village.journals["rooms"].records)


def paid(village: Village) -> int:
    """Return what is missing from the account on the front's own node."""
    amounts = [(record.type, record.data) for record in of(village.journals["front"].records, "Withdrawn", "Deposited")]
    return 10 * sum(1 if what == "Withdrawn" else -1 for what, _ in amounts)


def test_an_optional_step_that_is_refused_is_a_value() -> None:
    async def story(self: Play, command: Begin) -> Held:
        held = await self.optional(hold(self, "a"))
        refused, other = await self.parallel(self.optional(hold(self, "full")), hold(self, "b"))
        TOLD.append((type(held), type(refused), type(other)))
        return Held(1)

    def check(village: Village) -> None:
        assert TOLD[-1] == (Held, Refused, Held)
        assert end_of(village) == "saga.completed"
        assert rooms_of(village) == {"a": 1, "b": 1}

    whatever_happens(story, check)


def test_an_optional_refusal_is_undone_where_it_is_uncertain() -> None:
    """The desk's node dies when the first copy has taken effect, and the second one is refused."""

    async def story(self: Play, command: Begin) -> Held:
        TOLD.append(await self.optional(self.ask("do", Desk.at(), Note("do"), undo=Note("undo"))))
        return Held(1)

    async def main(village: Village) -> None:
        async def refuses(desk: Desk, note: Note) -> str:
            if note.text == "do" and len(Desk.inbox) == 1:
                village.kill("rooms")
            elif note.text == "do":
                raise Refused("not twice")
            return note.text

        Play.script, Desk.script = story, refuses
        await open_all(village)
        await village.ask_all({PLAY: Begin()})
        assert end_of(village) == "saga.completed"

    play(main, NODES)
    assert isinstance(TOLD[0], Refused)
    assert Desk.inbox == [("Play/p#do", "do"), ("Play/p#do", "do"), ("Play/p!do", "undo")]


def test_an_undo_is_revised_by_what_another_node_has_replied() -> None:
    async def story(self: Play, command: Begin) -> Held:
        held = await self.ask("a", Room.at("a"), Hold("by another name"))
        self.revise_undo("a", Release(f"nobody {held.number}"))
        self.revise_undo("a", Release("by another name"))
        await hold(self, "b")
        raise Refused("the weather")

    def check(village: Village) -> None:
        assert end_of(village) == "saga.compensated"
        assert rooms_of(village) == {}
        assert len(of(village.journals["front"].records, "saga.undorevised")) == 2

    whatever_happens(story, check)


def both(room: str, amount: int) -> Any:
    async def story(self: Play, command: Begin) -> Held:
        there, _ = await self.parallel(
            hold(self, room), self.ask("pay", Account.at("ana"), Withdraw(amount), undo=Deposit(amount))
        )
        return there  # type: ignore[no-any-return]

    return story


def test_of_two_at_once_the_one_that_is_here_is_undone_when_the_one_elsewhere_is_refused() -> None:
    def check(village: Village) -> None:
        assert end_of(village) == "saga.compensated"
        assert (rooms_of(village), paid(village)) == ({}, 0)

    whatever_happens(both("full", 10), check)


def test_of_two_at_once_the_one_elsewhere_is_undone_when_the_one_that_is_here_is_refused() -> None:
    def check(village: Village) -> None:
        assert end_of(village) == "saga.compensated"
        assert (rooms_of(village), paid(village)) == ({}, 0)
        assert steps_of(village.journals["front"].records, PLAY, "undone") == ["a"]

    whatever_happens(both("a", 1000), check)


def test_two_at_once_here_and_elsewhere_are_both_done() -> None:
    def check(village: Village) -> None:
        assert end_of(village) == "saga.completed"
        assert (rooms_of(village), paid(village)) == ({"a": 1}, 10)

    whatever_happens(both("a", 10), check)
