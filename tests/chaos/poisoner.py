"""Does work that kills its process, beside work that doesn't; made to be started again and again.

``python -m tests.chaos.poisoner JOURNAL WHAT begin`` leaves all of it unfinished, and dies. With ``go`` in place of
``begin`` it goes on with what it finds. It says ``done`` when nothing is left to do.
"""

import asyncio
import os
import sys
from datetime import timedelta
from typing import Any

from actors import Actor, Command, Decision, Event, Parked, Saga, Service, State
from runtime import Runtime

INNOCENTS = 20
DEADLY = 9
"""What a process ends with that was killed by its own work."""

armed = False


class Tasted(Event):
    by: str


class Taste(Command["Cup | Taster", None]):
    """Is poison where the text says so, when all is armed; before that it fails."""

    text: str


def swallow(text: str) -> None:
    if not armed:
        raise ConnectionError("not yet")
    if text == "poison":
        os._exit(DEADLY)


class Rinse(Command["Cup", None]):
    """Changes nothing, but takes a commit."""


class Cup(Service[State, Taste | Rinse, Tasted]):
    initial = State()

    def decide(self, state: State, command: Taste | Rinse) -> Decision:
        if isinstance(command, Rinse):
            return command.reply(None)
        swallow(command.text)
        return command.reply(None, Tasted(command.text))

    def evolve(self, state: State, event: Tasted) -> State:
        return state


class Taster(Actor):
    async def receive(self, message: Taste) -> None:
        swallow(message.text)


class Drink(Command["Meal", None]):
    what: str


class Meal(Saga[Drink, None]):
    async def run(self, command: Drink) -> None:
        await self.ask("soup", Cup.at("soup"), Taste(self.key))
        if command.what == "code":
            os._exit(DEADLY)
        await self.ask("cup", Cup.at(self.key), Taste("poison" if command.what == "service" else "tea"))
        await self.ask("guest", Taster.at(self.key), Taste("poison" if command.what == "actor" else "tea"))


POISON = Meal.at("poison")


async def begin(runtime: Runtime, what: str) -> None:
    soon = timedelta(milliseconds=1)
    for number in range(INNOCENTS):
        await runtime.tell(Meal.at(f"{number}"), Drink("tea"))
        if what == "reminder":
            await runtime.remind(Cup.at("cup"), f"{number}", Taste(f"{number}"), after=soon)
        if number == INNOCENTS // 2:
            if what == "reminder":
                await runtime.remind(Taster.at("cup"), "poison", Taste("poison"), after=soon)
            else:
                await runtime.tell(POISON, Drink(what))
    while len(await runtime.unfinished()) < INNOCENTS + (what != "reminder"):
        await runtime.ask(Cup.at("water"), Rinse(), id=os.urandom(6).hex())  # until what was told is durable
    os._exit(DEADLY)


async def end(runtime: Runtime, what: str) -> None:
    for number in range(INNOCENTS):
        await runtime.result(Meal.at(f"{number}"))
    if what == "reminder":
        while await runtime.reminders(Cup.at("cup")) + await runtime.reminders(Taster.at("cup")):
            await runtime.ask(Cup.at("water"), Rinse(), id=os.urandom(6).hex())
    else:
        try:
            await runtime.result(POISON)
        except Parked as parked:
            print(parked, flush=True)


async def main(journal: str, what: str, act: str) -> None:
    global armed
    armed = act == "go"
    actors: list[type[Any]] = [Cup, Taster, Meal]
    async with Runtime(journal, actors) as runtime:
        await (end if armed else begin)(runtime, what)
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
