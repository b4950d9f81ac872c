"""Reminders for any actor, set from outside or by plain actors: kept by a service that every runtime has."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, assert_never

import msgspec

from actors import Address, Command, Decision, Event, NotTaken, Service, State, UnknownActor
from actors.reminders import EPOCH, Remind
from persistence import NotDecodable
from runtime.cells import World
from runtime.mailbox import Envelope
from runtime.origin import Origin
from runtime.promises import Promises
from runtime.reminder_events import Pending
from runtime.reminder_mail import Look


class PendingReminder(msgspec.Struct, frozen=True):
    """A reminder that waits for its time.

    ``due`` is when its command is sent next, and ``every`` the interval from then on. One that is ``own`` was set by
    the service's own ``decide``, which alone can drop it. A command that today's classes can't read is None.
    """

    name: str
    to: Address[Any]
    command: Command[Any, Any] | None
    due: datetime
    every: timedelta | None
    own: bool


class SetReminder(Command["Reminders", None], tag="runtime.remind"):
    """Have a command sent to the actor that these reminders are for."""

    reminder: Remind


class DropReminder(Command["Reminders", None], tag="runtime.forget"):
    """Drop the reminder of this name."""

    name: str


class Reminders(Service[State, SetReminder | DropReminder, Event]):
    """The reminders for one actor. It has no rules and no state: a reminder is all that there is to write."""

    initial = State()

    def decide(self, state: State, command: SetReminder | DropReminder) -> Decision:  # noqa: ARG002 (there is none)
        """Set a reminder, or drop it."""
        match command:
            case SetReminder(one):
                reply = command.reply(None)
                return reply.remind(one.name, one.command, after=one.after, at=one.at, every=one.every, to=one.to)
            case DropReminder(name):
                return command.reply(None).forget(name)
            case _:
                assert_never(command)


# A name with a dot is the runtime's own: no class of a user's can have it.
Reminders.__name__ = "runtime.reminders"


def reminders_for(address: Address[Any]) -> Address[Reminders]:
    """Return who keeps the reminders for an actor."""
    return Reminders.at(f"{address.actor}/{address.key}")


async def remind(world: World, reminder: Remind, origin: Origin | None) -> None:
    """Set a reminder for another actor; it is durable then.

    Raises:
        NotTaken, UnknownActor: nobody here takes this.
        Failed: it can't be stored, or too many are pending.
        OutcomeUnknown: it may or may not have been set; set it again.
    """
    assert reminder.to is not None
    world.check(reminder.to, reminder.command)
    if not isinstance(reminder.command, Command):
        raise NotTaken(f"{type(reminder.command).__name__} is no command; only commands can be sent later")
    await world.ask(reminders_for(reminder.to), SetReminder(reminder), origin=origin)


async def forget(world: World, address: Address[Any], name: str, origin: Origin | None) -> None:
    """Drop a reminder that :func:`remind` has set, if there is one; that is durable then.

    Raises:
        UnknownActor: there is no such class of actors.
        OutcomeUnknown: it may or may not have been dropped; drop it again.
    """
    world.kind(address.actor)
    await world.ask(reminders_for(address), DropReminder(name), origin=origin)


async def reminders_of(world: World, promises: Promises, address: Address[Any]) -> list[PendingReminder]:
    """Return the reminders that are pending for an actor, and those that it has set as a service; soonest first.

    Raises:
        UnknownActor: there is no such class of actors.
        Parked: they can't be read.
    """
    keepers: list[tuple[Address[Any], bool]] = [(reminders_for(address), False)]
    kind = world.kind(address.actor)
    if issubclass(kind.cls, Service) and not kind.remote:  # what a service of another node has set is told there
        keepers.append((address, True))
    found: list[PendingReminder] = []
    for keeper, own in keepers:
        promise = promises.make(keeper, Look())
        world.cell(keeper).put(Envelope(Look(), None, promise))
        found += _listed(world, keeper, await promise.wait(0), own=own)
    return sorted(found, key=lambda one: one.due)


def _listed(world: World, service: Address[Any], pending: Sequence[Pending], *, own: bool) -> list[PendingReminder]:
    return [
        PendingReminder(
            one.name,
            one.to or service,
            _command(world, one, one.to or service),
            EPOCH + timedelta(microseconds=one.due),
            timedelta(microseconds=one.every) if one.every else None,
            own,
        )
        for one in pending
    ]


def _command(world: World, one: Pending, to: Address[Any]) -> Command[Any, Any] | None:
    try:
        return world.kind(to.actor).command(msgspec.Raw(one.command))
    except (UnknownActor, NotDecodable):
        return None
