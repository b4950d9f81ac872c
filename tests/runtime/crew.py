"""Plain actors whose every message the test answers as it likes: one in turns, one with tasks."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

from actors import Actor, Backoff, Command, RestartPolicy, Stopped

NOW_AND_THEN = RestartPolicy(restarts=2, backoff=Backoff(timedelta(seconds=1), jitter=0.0))

HEARD: list[tuple[str, str]] = []
"""Who got what, in order: key and text."""
ENDED: list[tuple[str, str]] = []
"""Whose end was told, and the reason."""


class Say(Command[Any, str]):
    text: str = ""


class Shout(Command[Any, str]):
    """What a class may handle before all else."""

    text: str = ""


def heard(message: Any, key: str) -> None:
    if isinstance(message, Stopped):
        ENDED.append((str(message.address), message.reason))
        HEARD.append((key, f"{message.address} {message.reason}"))
    else:
        HEARD.append((key, message.text))


class Clerk(Actor):
    """Works in turns."""

    restart = NOW_AND_THEN
    script: ClassVar[Callable[[Any, Any], Any] | None] = None

    def receive(self, message: Say | Shout | Stopped) -> Any:
        heard(message, self.key)
        return Clerk.script(self, message) if Clerk.script is not None else getattr(message, "text", None)


class Agent(Actor):
    """May wait."""

    restart = NOW_AND_THEN
    script: ClassVar[Callable[[Any, Any], Any] | None] = None

    async def receive(self, message: Say | Shout | Stopped) -> Any:
        heard(message, self.key)
        return await Agent.script(self, message) if Agent.script is not None else getattr(message, "text", None)


CREW: list[type] = [Clerk, Agent]


def send_home() -> None:
    """Forget what an earlier test has set up."""
    HEARD.clear()
    ENDED.clear()
    Clerk.script = Agent.script = None
