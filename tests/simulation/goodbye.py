"""A client who signs people up and has one forgotten, for the tests of personal data in the simulation."""

from contextlib import suppress
from datetime import timedelta

from actors import CommandIdReused, Personal, SubjectForgotten
from runtime.simulation import Explored, Simulation, World, always, finally_
from tests.runtime.people import (
    ALL,
    ANA,
    BOB,
    SECRET,
    Customer,
    Domain,
    People,
    SignUp,
    Use,
    Welcome,
    WelcomeSaga,
    leave,
)

BOBS = "bob@example.com"


async def forgets_ana(world: World) -> None:
    with suppress(CommandIdReused):  # she was forgotten in an attempt before, and this would be another Ana
        await world.runtime.ask(Customer.at("ana"), SignUp(Personal(ANA, SECRET)), id="sign up")
    await world.runtime.ask(Customer.at("bob"), SignUp(Personal(BOB, BOBS)), id="sign up")
    await world.runtime.start(WelcomeSaga.at("bob"), Welcome(Personal(BOB, BOBS)))
    await world.runtime.forget_subject(ANA)
    assert await world.runtime.ask(Customer.at("ana"), Domain()) == ""
    assert await world.runtime.ask(Customer.at("bob"), Use()) == len(BOBS)
    await world.sleep(timedelta(days=2))


def nobody_is_in_the_clear(world: World) -> bool:
    secrets = SECRET.encode(), BOBS.encode()
    return not any(secret in record.data + record.meta for record in world.records for secret in secrets)


def ana_is_gone(world: World) -> None:
    # With a key of the second Ana as well, who has not come in, where she has tried to.
    assert {event.subject for event in world.events(SubjectForgotten)} == {ANA}
    assert world.rows(People, "select subject, email from people order by subject") == [(ANA, None), (BOB, BOBS)]
    customer = world.state_of(Customer.at("ana"))
    assert customer.email is not None
    assert customer.email.forgotten


def explored(depth: int = 1, runs: int = 20) -> Explored:
    return Simulation().explore(
        forgets_ana,
        actors=ALL,
        invariants=[always(nobody_is_in_the_clear), finally_(ana_is_gone)],
        outside=leave,
        depth=depth,
        runs=runs,
    )
