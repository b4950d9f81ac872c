"""A refusal counts only for a step that was sent once: a copy may still be under way, and be taken."""

from typing import Any

from actors import Command, Decision, Event, Refused, Saga, Service, State
from runtime import Chaos, Runtime


class Taken(Event):
    who: str


class Given(Event):
    who: str


class Take(Command["Room", None]):
    who: str


class Give(Command["Room", None]):
    who: str


class Holder(State):
    who: str = ""


class Room(Service[Holder, Take | Give, Taken | Given]):
    initial = Holder()

    def decide(self, state: Holder, command: Take | Give) -> Decision:
        if isinstance(command, Give):
            return command.reply(None, *([Given(command.who)] if state.who == command.who else []))
        if state.who:
            raise Refused("taken")
        return command.reply(None, Taken(command.who))

    def evolve(self, state: Holder, event: Taken | Given) -> Holder:
        return Holder(event.who if isinstance(event, Taken) else "")


class Stay(Command["Visit", str]): ...


class Visit(Saga[Stay, str]):
    async def run(self, command: Stay) -> str:
        await self.ask("room", Room.at("r"), Take(self.key), undo=Give(self.key))
        return "stayed"


class AtTurn(Chaos):
    """Kills the actor whose turn is the n-th, and lets something else happen at that moment."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        self.then: Any = None

    def strikes(self) -> bool:
        if self.left:
            self.left -= 1
            if not self.left:
                self.then()
                return True
        return False


async def test_a_refusal_of_one_copy_does_not_leave_the_effect_of_the_other() -> None:
    chaos = AtTurn()
    async with Runtime("memory:", [Room, Visit], chaos=chaos) as runtime:
        await runtime.ask(Room.at("r"), Take("someone"))
        # Turns: the saga begins, the room refuses, and before the saga takes that in it is killed and the room is free.
        chaos.left, chaos.then = 3, lambda: runtime.tell(Room.at("r"), Give("someone"))
        try:
            ended = await runtime.ask(Visit.at("v"), Stay())
        except Refused:
            ended = "refused"
        held = (await runtime.state_of(Room.at("r"))).who
    assert (ended, held) in (("stayed", "v"), ("refused", ""))
