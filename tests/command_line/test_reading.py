"""info, streams, show, tail: what they say is what the journal holds."""

import asyncio
import json
from pathlib import Path

import pytest

from actors import context
from persistence.command_line import VARIABLE
from persistence.command_line_page import local, utc
from runtime import Runtime
from tests.command_line.conftest import Run
from tests.runtime.cast import ALL, Hold, Room
from tests.unit.journals import NOON

EVENTS = 19


def test_info_for_people(run: Run, url: str, path: Path) -> None:
    done = run("info", url)
    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == f"journal      {url}"
    assert done.lines[2].startswith(f"position     {EVENTS}, written ")
    assert "first event  2023-11-14 22:13:20.123+00:00" in done.lines
    assert "streams      6" in done.lines
    assert "unfinished   1 streams" in done.lines
    assert "sleeping     2 streams, the first until 2023-11-14 22:13:20.123+00:00" in done.lines
    assert "last seal    none" in done.lines
    assert done.lines[-5:] == [
        "category  streams  events  unfinished",
        "                1       1           0",
        "Flight          3      14           0",
        "Hotel           1       2           0",
        "TripSaga        1       2           1",
    ]


def test_info_for_programs(run: Run, url: str) -> None:
    (found,) = run("info", url, "--json").objects
    assert found["position"] == EVENTS
    assert (found["streams"], found["unfinished"], found["sleeping"]) == (6, 1, 2)
    assert found["first_event"] == "2023-11-14T22:13:20.123456Z"
    assert found["next_wake"] == "2023-11-14T22:13:20.123456Z"
    assert found["last_seal"] is None
    assert {"category": "Flight", "streams": 3, "events": 14, "unfinished": 0} in found["categories"]


def test_the_journal_may_be_named_in_several_ways(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run("info", url, "--json")
    for arguments in (
        (url, "info", "--json"),
        ("info", "--json", url),
        ("info", "--journal", url, "--json"),
        ("info", f"--journal={url}", "--json"),
        ("--journal", url, "info", "--json"),
        ("--json", url, "info"),
    ):
        assert run(*arguments) == expected
    monkeypatch.setenv(VARIABLE, url)
    assert run("info", "--json") == expected
    assert run("show", "TripSaga/trip-7") == run("show", url, "TripSaga/trip-7")
    assert run("show", url, "--from", "2", "TripSaga/trip-7") == run("show", "TripSaga/trip-7", "--from", "2")


def test_streams(run: Run, url: str) -> None:
    done = run("streams", url)
    assert done.lines[0].split() == ["stream", "version", "erased", "to", "be", "woken"]
    assert done.lines[1] == "Flight/LH441                  5          2023-11-14 22:13:20.123+00:00"
    assert done.lines[2].split() == ["TripSaga/trip-7", "2", "at", "once"]
    assert done.lines[5].split() == ["Flight/old", "6", "3"]
    found = run("streams", url, "--json", "--category", "Flight").objects
    assert [each["key"] for each in found] == ["LH441", "old", "gone"]
    assert found[0] == {
        "number": 1, "category": "Flight", "key": "LH441", "version": 5, "first": 1, "wake": utc(NOON + 5),
    }  # fmt: skip
    assert run("streams", url, "--category", "Nothing").out == ""


def test_show(run: Run, url: str) -> None:
    done = run("show", url, "Flight/LH441")
    assert done.lines[0].split() == ["version", "position", "time", "type", "data"]
    assert len(done.lines) == 6
    assert done.lines[1].split()[:2] == ["1", "1"]
    assert '{"n":1,"text":"\\n é 🪑 \\u2028"}' in done.lines[1]
    found = run("show", url, "Flight/LH441", "--json").objects
    assert [each["version"] for each in found] == [1, 2, 3, 4, 5]
    assert found[1] == {
        "position": 2, "category": "Flight", "key": "LH441", "version": 2, "type": "SeatHeld", "time": utc(NOON),
        "command": None, "id": "two", "tags": ["a", "b\0"], "data": {"n": 2, "text": "\n é 🪑 \u2028"},
        "meta": {"by": "test 2"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "versions"),
    [
        (("--from", "2"), [2, 3, 4, 5]),
        (("--to", "3"), [1, 2, 3]),
        (("--from", "2", "--to", "3"), [2, 3]),
        (("--from", "4", "--to", "3"), []),
        (("--from", "99"), []),
        (("--to", "99"), [1, 2, 3, 4, 5]),
        (("--backwards",), [5, 4, 3, 2, 1]),
        (("--backwards", "--from", "2", "--to", "4"), [4, 3, 2]),
    ],
)
def test_a_part_of_a_stream(run: Run, url: str, options: tuple[str, ...], versions: list[int]) -> None:
    found = run("show", url, "Flight/LH441", "--json", *options).objects
    assert [each["version"] for each in found] == versions


def test_a_long_stream_comes_in_pages(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run("show", url, "Flight/LH441", "--json")
    monkeypatch.setattr("persistence.command_line_reading.PAGE", 2)
    assert run("show", url, "Flight/LH441", "--json") == whole
    back = run("show", url, "Flight/LH441", "--json", "--backwards")
    assert back.objects == whole.objects[::-1]


def test_what_was_erased_is_said(run: Run, url: str) -> None:
    done = run("show", url, "Flight/old")
    assert done.err == "versions 1 to 3 are erased\n"
    assert [line.split()[0] for line in done.lines] == ["version", "4", "5", "6"]
    assert [line.split()[-1] for line in run("tail", url, "--after", "8").lines[1:4]] == ["(erased)"] * 3


def test_long(run: Run, url: str) -> None:
    said = run("show", url, "Flight/LH441", "--from", "2", "--to", "2", "--long").lines
    assert said[1] == "stream    Flight/LH441, version 2"
    assert "id        two" in said
    assert "tags      a, b\\x00" in said
    assert 'meta      { "by": "test 2" }' in said


def test_no_character_of_a_journal_does_anything_to_a_terminal(run: Run, url: str) -> None:
    for arguments in (("streams",), ("tail", "-n", "99"), ("tail", "-n", "99", "--long"), ("streams", "--json")):
        out = run(arguments[0], url, *arguments[1:]).out
        assert "\x1b" not in out
        assert "\0" not in out
        assert "\u2028" not in out
        assert len(out.splitlines()) == out.count("\n")
    assert "\\x1b[31m" in run("streams", url).out


def test_a_stream_may_have_any_name(run: Run, url: str) -> None:
    keys = [(each["category"], each["key"]) for each in run("streams", url, "--json").objects]
    for category, key in keys:
        assert run("show", url, "--json", "--", f"{category}/{key}").objects[0]["key"] == key


def test_tail(run: Run, url: str) -> None:
    assert [each["position"] for each in run("tail", url, "--json").objects] == list(range(EVENTS - 9, EVENTS + 1))
    assert [each["position"] for each in run("tail", url, "--json", "-n", "2").objects] == [EVENTS - 1, EVENTS]
    assert run("tail", url, "-n", "0").out == ""
    assert [each["position"] for each in run("tail", url, "--json", "--after", "17").objects] == [18, 19]
    assert run("tail", url, "--after", "1000").out == ""
    assert len(run("tail", url, "--after", "0").lines) == EVENTS + 1
    assert run("tail", url, "-n", "1").lines[1].startswith(f"      {EVENTS}  {local(NOON + 1)}  Hotel/Ritz/42  ")


@pytest.mark.parametrize(
    ("options", "positions"),
    [
        (("--type", "Started"), [3]),
        (("--type", "Started", "--type", "journal.buried"), [3, 17]),
        (("--category", "Hotel"), [4, 19]),
        (("--category", "Hotel", "--category", "TripSaga"), [3, 4, 18, 19]),
        (("--category", "Hotel", "--type", "Started"), []),
        (("--tag", "x"), [12, 13]),
        (("--tag", "x", "--tag", "y"), []),
        (("--category", "Flight", "-n", "2"), [14, 17]),
        (("--category", "Flight", "--after", "14"), [17]),
    ],
)
def test_tail_of_some_events(run: Run, url: str, options: tuple[str, ...], positions: list[int]) -> None:
    assert [each["position"] for each in run("tail", url, "--json", *options).objects] == positions


def test_json_is_one_object_a_line_in_ascii(run: Run, url: str) -> None:
    out = run("tail", url, "-n", "99", "--json").out
    assert out.isascii()
    assert all(isinstance(json.loads(line), dict) for line in out.splitlines())


def test_a_time_that_no_calendar_has_is_a_number() -> None:
    for time in (2**63, -(2**63)):
        assert local(time) == str(time)
        assert utc(time) == time


def test_show_tells_who_it_was(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'who.db'}"

    async def hold() -> None:
        async with Runtime(url, ALL) as runtime:
            with context(user="ana"):
                await runtime.ask(Room.at("r"), Hold("t"))

    asyncio.run(hold())
    (found,) = run("show", url, "Room/r", "--json").objects
    assert found["meta"]["context"] == {"user": "ana"}
    assert '"context":{"user":"ana"}' in run("show", url, "Room/r", "--long").out
