"""A service, a read model and others that the tests ask, and watch."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any, ClassVar, assert_never

from actors import (
    Actor,
    Backoff,
    Command,
    Decision,
    Event,
    Mailbox,
    Meta,
    Query,
    ReadModel,
    Refused,
    RestartPolicy,
    RetryPolicy,
    Saga,
    Service,
    State,
    Statement,
    sql,
)


class Added(Event):
    number: int


class Add(Command["Tally", int]):
    """Add a number; the reply is the sum. With ``once`` only if nobody else has said the same."""

    number: int
    once: str = ""


class Take(Command["Tally", None]):
    """Take a number back."""

    number: int


class Sum(Query["Tally", int]):
    """What is it now?"""


class Last(Query["Tally", "list[int]"]):
    """The last numbers."""

    most: int = 3


class Odd(Query["Tally", Any]):
    """A question that is answered as the test says."""


class Sure(Query["Tally", int]):
    """A question that wants a number, and is answered as the test says."""


class Numbers(State):
    added: tuple[int, ...] = ()


class Tally(Service[Numbers, Add | Take, Added]):
    initial = Numbers()
    restart = RestartPolicy(restarts=0)
    mailbox = Mailbox(priority={Odd: 1})
    odd: ClassVar[Callable[["Tally", Numbers], Any] | None] = None
    broken: ClassVar[set[str]] = set()
    """Keys of tallies that can't be read back."""

    def decide(self, state: Numbers, command: Add | Take) -> Decision:
        match command:
            case Add(number, once):
                decision = command.reply(sum(state.added) + number, Added(number))
                return decision.unless("somebody has", Added, tags=[f"once:{once}"]) if once else decision
            case Take(number):
                return command.reply(None, Added(-number))
            case _:
                assert_never(command)

    def evolve(self, state: Numbers, event: Added) -> Numbers:
        if self.key in Tally.broken:
            raise ValueError(f"{self.key} is broken")
        return Numbers((*state.added, event.number))

    def answer(self, state: Numbers, query: Sum | Last | Odd | Sure) -> Any:
        match query:
            case Sum():
                return sum(state.added)
            case Last(most):
                return list(state.added[-most:])
            case Odd() | Sure():
                assert Tally.odd is not None
                return Tally.odd(self, state)
            case _:
                assert_never(query)


class Total(Query["Totals", int]):
    tally: str


class Everything(Query["Totals", list[tuple[str, int]]]):
    """All totals, by tally."""


class Totals(ReadModel):
    """The sum of each tally; a number of 666 can't be projected, one of 0 needs no rows."""

    schema = "create table total (tally text primary key, sum integer not null)"
    retry = RetryPolicy(Backoff(timedelta(seconds=1), jitter=0.0), budget=timedelta(0))
    asked: ClassVar[list[str]] = []
    """Whose totals were asked for."""

    def project(self, event: Added, meta: Meta) -> Iterator[Statement]:
        if event.number == 666:
            raise ValueError("the number of the beast")
        if event.number:
            yield sql(
                "insert into total values (?, ?) on conflict (tally) do update set sum = sum + excluded.sum",
                meta.key,
                event.number,
            )

    def key(self, event: Added, meta: Meta) -> str:
        return meta.key

    def about(self, query: Total | Everything) -> str | None:
        return query.tally if isinstance(query, Total) else None

    async def answer(self, db: Any, query: Total | Everything) -> Any:
        if isinstance(query, Everything):
            Totals.asked.append("*")
            async with db.execute("select * from total order by tally") as rows:
                return [tuple(row) async for row in rows]
        Totals.asked.append(query.tally)
        if query.tally == "nobody":
            raise LookupError("there is no such tally")
        async with db.execute("select sum from total where tally = ?", (query.tally,)) as rows:
            row = await rows.fetchone()
        return 0 if row is None else row[0]


class Sent(Command["Asker", Any]):
    """What the asker does is up to the test."""


class Mood(Query["Asker", str]):
    """How are you?"""


class Asker(Actor):
    script: ClassVar[Callable[["Asker"], Awaitable[Any]] | None] = None

    async def receive(self, message: Sent | Mood) -> Any:
        if isinstance(message, Mood):
            return f"fine, as {self.message_id[-1:].isdigit()} as can be"
        assert Asker.script is not None
        return await Asker.script(self)


class Start(Command["Story", int]):
    pass


class Far(Query["Story", int]):
    """How far has it come?"""


class Story(Saga[Start, int]):
    """A saga whose story the test writes."""

    retry = RetryPolicy(Backoff(timedelta(seconds=1), jitter=0.0), budget=timedelta(seconds=60))
    script: ClassVar[Callable[["Story"], Awaitable[int]] | None] = None
    far = 0

    async def run(self, command: Start) -> int:
        assert Story.script is not None
        return await Story.script(self)

    def answer(self, query: Far) -> int:
        if self.far < 0:
            raise Refused("it is not told")
        return self.far


ASKED: list[type] = [Tally, Totals, Asker, Story]


def clear_the_stage() -> None:
    """Forget what an earlier test has set up."""
    Tally.odd = Asker.script = Story.script = None
    Tally.broken.clear()
    Totals.asked.clear()
