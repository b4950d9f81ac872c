"""Drawings of sagas: a dry run of the code, in which nothing happens, and what Mermaid makes of it."""

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec
import pytest

from actors import Command, DefinitionError, Message, Personal, Refused, Saga, SagaMisuse
from runtime.__main__ import main
from runtime.drawing import draw
from runtime.samples import sample
from tests.runtime.cast import Account, BookTrip, Held, Hold, Release, Room, Trip, TripBooked, Withdraw

ROOT = Path(__file__).parents[2]


class Approve(Command["Journey", None]):
    by: str


class Travel(Command["Journey", TripBooked]):
    rooms: list[str]


class Journey(Saga[Travel, TripBooked]):
    receives = Approve

    async def run(self, command: Travel) -> TripBooked:
        await self.parallel(
            self.ask('the "first"', Room.at("a"), Hold(self.key), undo=Release(self.key)),
            self.sleep("nap", timedelta(seconds=3)),
        )
        chosen = await self.select(
            self.receive(Approve, timeout=timedelta(days=1)), self.sleep_until("end", datetime(2036, 1, 1, tzinfo=UTC))
        )
        if chosen.name == "end":
            raise Refused("nobody approved")
        await self.optional(self.ask("gift", Room.at("b"), Hold(self.key)))
        await self.ask("trip", Trip.at("t"), BookTrip(command.rooms))
        await self.pivot("pay", Account.at("ann"), Withdraw(10))
        await self.ask("again", Trip.at("u"), BookTrip(command.rooms))
        return TripBooked(self.key, command.rooms)


def test_the_steps_in_order_with_their_undos() -> None:
    assert draw(Journey) == (
        """\
flowchart TD
    begin(["Journey: Travel"])
    subgraph parallel1 [parallel]
    step1["the #34;first#34;<br/>Hold to Room"]
    step2[/"sleep nap<br/>0:00:03"/]
    end
    begin --> step1
    unstep1["undo the #34;first#34;<br/>Release"]
    step1 -.- unstep1
    begin --> step2
    subgraph select3 [select]
    step3[/"receive Approve<br/>within 1 day, 0:00:00"/]
    step4[/"sleep end<br/>2036-01-01 00:00:00+00:00"/]
    end
    step1 --> step3
    step2 --> step3
    step1 --> step4
    step2 --> step4
    step5["gift (optional)<br/>Hold to Room"]
    step3 --> step5
    step4 --> step5
    step6["trip<br/>BookTrip to Trip"]
    step5 --> step6
    unstep6["undo trip<br/>compensate Trip"]
    step6 -.- unstep6
    step7{{"pay<br/>Withdraw to Account"}}
    step6 --> step7
    step8["again<br/>BookTrip to Trip"]
    step7 --> step8
    step8 --> completed
    completed(["completed: TripBooked"])
    unstep6 -.-> unstep1
    unstep1 -.-> compensated
    compensated(["compensated"])
"""
    )


def test_replies_that_are_given_lead_the_code_another_way() -> None:
    drawn = draw(Journey, Travel(["r"]), replies={"end": None})
    assert "gift" not in drawn
    assert "step4 --> refused" in drawn
    assert 'refused(["refused"])' in drawn


def test_a_saga_without_undos_has_no_way_back() -> None:
    class Plain(Saga[BookTrip, Held]):
        async def run(self, command: BookTrip) -> Held:
            return await self.ask("one", Room.at("a"), Hold("t"))

    assert "compensated" not in draw(Plain)


def test_a_loop_without_an_end_is_told() -> None:
    class Looping(Saga[BookTrip, Held]):
        async def run(self, command: BookTrip) -> Held:
            number = 0
            while True:
                number += 1
                await self.sleep(f"{number}", timedelta(seconds=1))

    with pytest.raises(SagaMisuse, match=r"Looping has more than 1,000 steps; it seems to loop"):
        draw(Looping)


def test_what_is_no_step_is_told() -> None:
    class Wild(Saga[BookTrip, Held]):
        async def run(self, command: BookTrip) -> Held:
            await _Other()
            return Held(1)

    with pytest.raises(SagaMisuse, match="Wild awaited a int, which is no step"):
        draw(Wild)


class _Other:
    def __await__(self) -> Any:
        yield 1


# -- made-up values -----------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(NamedTuple):
    x: int
    y: int


class Inner(Message):
    name: str
    size: int = 7


class Everything(Message):
    text: str
    number: int
    real: float
    yes: bool
    data: bytes
    when: datetime
    day: date
    hour: time
    span: timedelta
    key: UUID
    price: Decimal
    colour: Colour
    one: Literal["a", "b"]
    maybe: int | None
    either: str | int
    several: list[Inner]
    pair: tuple[int, str]
    point: Point
    table: dict[str, int]
    inner: Inner
    secret: Personal[str]
    anything: Any
    also: int = 3


def test_a_value_of_each_type_can_be_made_up() -> None:
    made: Everything = sample(Everything)
    assert made.text == "text"
    assert made.inner == Inner("name")
    assert made.several == [Inner("name")]
    assert (made.colour, made.one, made.maybe, made.point) == (Colour.RED, "a", 1, Point(1, 1))
    assert made.secret.subject == "somebody"
    assert made.also == 3


def test_replies_are_made_up_too() -> None:
    assert sample(None) is None
    assert sample(list[int]) == [1]
    assert sample(Held) == Held(1)


class Endless(Message):
    more: "Endless"


class Own: ...


class Strange(Message):
    own: Own


@pytest.mark.parametrize("annotation", [Endless, Strange])
def test_what_can_not_be_made_up_is_told(annotation: Any) -> None:
    with pytest.raises(DefinitionError, match=rf"no {annotation.__name__} can be made up \(.*\); give one"):
        sample(annotation)


# -- the command line ---------------------------------------------------------------------------------------------


def test_the_command_line_prints_a_drawing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", "tests.runtime.cast:Trip"]) == 0
    assert capsys.readouterr().out == draw(Trip)
    command = msgspec.json.encode(BookTrip(["a", "b"])).decode()
    assert main(["draw", "tests.runtime.cast:Trip", "--command", command]) == 0
    assert "unstep2" in capsys.readouterr().out


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runtime", "draw", "demos.trip.sagas:TripSaga"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith('flowchart TD\n    begin(["TripSaga: BookTrip"])\n')


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("draw", "tests.runtime.cast:Room"), "names no saga; write a saga, as in demos.trip.sagas:TripSaga"),
        (("draw", "tests.runtime.cast"), "names no saga"),
        (("draw", "tests.runtime.nothing:Trip"), "No module named 'tests.runtime.nothing'"),
        (("draw", "tests.runtime.cast:Trip", "--command", "{}"), "Object missing required field `rooms`"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
