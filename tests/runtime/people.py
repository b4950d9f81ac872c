"""Actors that know people: what the tests of personal data play with."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar, assert_never

from msgspec.structs import replace

from actors import (
    Actor,
    Command,
    Decision,
    Event,
    Message,
    Meta,
    Personal,
    Query,
    ReadModel,
    Refused,
    Saga,
    Service,
    State,
    SubjectForgotten,
    sql,
)
from actors.read_model import Statement

ANA, BOB = "customer:7", "customer:8"
SECRET = "ana@example.org"
SECRETS = (SECRET, "Rue de la Paix 7", "06-7788")


class Home(Message):
    street: str
    numbers: list[str] = []


class Greeting(Message):
    to: Personal[str]


class SignUp(Command["Customer", Personal[str]]):
    email: Personal[str]
    home: Personal[Home] | None = None


class Greet(Command["Customer", Greeting]):
    """Needs the address, to answer with it."""


class Use(Command["Customer", int]):
    """Needs the address itself."""


class Domain(Command["Customer", str]):
    pass


class Nudge(Command["Customer", None]):
    """Has the customer remind itself, and the mailer, of somebody."""

    email: Personal[str]
    after: timedelta


class Nudged(Command["Customer", None]):
    email: Personal[str]


class SignOff(Command["Customer", None]):
    email: Personal[str]


class SignedUp(Event):
    email: Personal[str]
    home: Personal[Home] | None = None


class Greeted(Event):
    email: Personal[str]


class SignedOff(Event):
    pass


class Profile(State):
    email: Personal[str] | None = None
    home: Personal[Home] | None = None
    greeted: tuple[Personal[str], ...] = ()
    domain: str = ""
    """Made of the address, and no personal value any more."""


AnyCommand = SignUp | Greet | Use | Domain | Nudge | Nudged | SignOff


class Customer(Service[Profile, AnyCommand, SignedUp | Greeted | SignedOff]):
    initial = Profile()

    def decide(self, state: Profile, command: AnyCommand) -> Decision:
        match command:
            case SignUp(email, home):
                return command.reply(email, SignedUp(email, home))
            case Nudge(email, after):
                decision = command.reply(None).remind("self", Nudged(email), after=after)
                return decision.remind("mail", Send(email), after=after, to=Mailer.at())
            case Nudged(email):
                return command.reply(None, Greeted(email))
            case SignOff():
                return command.reply(None, SignedOff())
            case Domain():
                return command.reply(state.domain)
            case Greet() | Use():
                if state.email is None:
                    raise Refused("nobody has signed up")
                if isinstance(command, Use):
                    return command.reply(len(state.email.value))
                return command.reply(Greeting(state.email), Greeted(state.email))  # it need not be known for that
            case _:
                assert_never(command)

    def evolve(self, state: Profile, event: SignedUp | Greeted | SignedOff) -> Profile:
        match event:
            case SignedUp(email, home):
                return Profile(email, home, state.greeted, str(email.get("")).partition("@")[2])
            case Greeted(email):
                return replace(state, greeted=(*state.greeted, email))
            case SignedOff():
                return Profile()
            case _:
                assert_never(event)


class Send(Command["Mailer", Personal[str]]):
    to: Personal[str]


class Mailer(Actor):
    sent: ClassVar[list[Any]] = []
    """What has left the house: the address, or None where it was forgotten."""
    fails: ClassVar[bool] = False

    async def receive(self, message: Send) -> Personal[str]:
        if type(self).fails:
            raise OSError("no connection")
        self.sent.append(message.to.get())
        return message.to


class Welcomed(Event):
    email: Personal[str]


class Welcome(Command["WelcomeSaga", Welcomed]):
    email: Personal[str]
    opens: bool = False
    """Whether the saga needs the address itself."""


class WelcomeSaga(Saga[Welcome, Welcomed]):
    async def run(self, command: Welcome) -> Welcomed:
        email = await self.ask("sign up", Customer.at(self.key), SignUp(command.email), undo=SignOff(command.email))
        await self.sleep("settle in", timedelta(days=1))
        if command.opens:
            email = Personal(email.subject, email.value.upper())
        await self.ask("mail", Mailer.at(), Send(email))
        return Welcomed(email)


class Row(Query["People", list[tuple[str, str | None, str | None]]]):
    """All rows."""


class People(ReadModel):
    schema = "create table people (subject text primary key, email text, street text)"

    def project(self, event: SignedUp | Welcomed | SubjectForgotten, meta: Meta) -> Iterator[Statement]:
        match event:
            case SignedUp(email, home):
                street = None if home is None or home.forgotten else home.value.street
                yield sql("insert or replace into people values (?, ?, ?)", email.subject, email.get(), street)
            case Welcomed(email):
                yield sql("update people set email = ? where subject = ?", email.get(), email.subject)
            case SubjectForgotten(subject):
                yield sql("update people set email = null, street = null where subject = ?", subject)
            case _:
                assert_never(event)

    async def answer(self, db: Any, query: Row) -> list[tuple[str, str | None, str | None]]:
        return [tuple(row) for row in await db.execute_fetchall("select * from people order by subject")]


ALL = [Customer, Mailer, WelcomeSaga, People]


def leave() -> None:
    """Begin anew."""
    Mailer.sent.clear()
    Mailer.fails = False
