"""The story that ``python -m demos.profile`` tells, ``--updates N``, and what its books find."""

import re
from pathlib import Path

import pytest

from demos.profile import ACTORS
from demos.profile.books import audit, wrong_copies
from demos.profile.load import wishes
from demos.profile.profile import Profile, ProfileState, SaveProfile
from demos.profile.search import Copy, Found
from runtime import Runtime
from tests.demos.conftest import Run, Start, check_complaint, check_help, kill_at_work, stop_by_signal, totals
from tests.demos.test_story import scene
from tests.postgres import a_schema, needs_server, url_of

SCENES = (
    "One profile, two ways to read it",
    "As much as you want to see",
    "What the copy is for",
    "A search that goes on",
    "A copy can be thrown away",
    "How far behind is it?",
    "Do the books balance?",
)
READ = re.compile(r"^ +\d  (.+?)  +Ana Reis  (\w+) +(\d+) +(\d+) +([\d.]+) ms$", re.M)


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'profiles.db'}"


def the_story(told: str) -> None:
    assert [scene(told, number).splitlines()[0] for number in range(1, 8)] == list(SCENES)
    assert "\033" not in told
    assert max(len(line) for line in told.splitlines() if "sqlite" not in line and "postgres" not in line) <= 88
    copy, itself = READ.findall(scene(told, 1))
    assert itself[:3] == ("the profile", "Porto", "2")
    assert copy[:3] in (("the copy", "Porto", "2"), ("the copy", "Lisbon", "1"))
    late = int(copy[3]) < int(itself[3])
    assert ("did not know yet" in " ".join(scene(told, 1).split())) == late
    after, consistent, itself = READ.findall(scene(told, 2))
    assert [read[2] for read in (after, consistent, itself)] == ["3", "4", "4"]
    assert int(consistent[3]) == int(itself[3]) == int(after[3]) + 1
    names = re.findall(r"^ +\d  (\w+ \w+) +\w+  .*\[", scene(told, 3), re.M)
    assert set(names[:3]) == {"Ana Reis", "Cleo Marques", "Emil Garde"}
    assert set(names[3:5]) == {"Ana Reis", "Ben Okafor"}
    assert names[5:] == ["Dora Lind"]
    assert "finds no profiles of his" in " ".join(scene(told, 3).split())
    watched = re.findall(r"^ +\d  (\w+) \w+ +\w+ +\[Bakes\] (\w+)", scene(told, 4), re.M)
    assert watched[0] == ("Ben", "bread")
    assert [set(watched[1:3]), set(watched[3:])] == [{("Ben", "bread"), ("Dora", dish)} for dish in ("rye", "buns")]
    assert set(re.findall(r"^ +\d  (\w+ \w+) +\w+  .*\[", scene(told, 5), re.M)) == {"Ana Reis", "Cleo Marques"}
    (behind,) = re.findall(r"(\d+) times it answered with what was there before", " ".join(scene(told, 6).split()))
    assert 0 <= int(behind) <= 300
    assert re.search(r"p50 +[\d.]+ ms .*\n +p99 +[\d.]+ ms", scene(told, 6))
    assert "The books balance." in scene(told, 7)


def test_the_whole_story(profile: Run) -> None:
    done = profile()
    assert (done.returncode, done.stderr) == (0, "")
    the_story(done.stdout)


def test_a_journal_is_carried_on_with_while_actors_are_killed(profile: Run, journal: str) -> None:
    for people in (4, 8):
        done = profile("--journal", journal, "--kill", "0.1", "--seed", "3")
        assert (done.returncode, done.stderr) == (0, "")
        the_story(done.stdout)
        assert f"{people} people have profiles" in " ".join(done.stdout.split())


@needs_server
async def test_on_postgres(profile: Run) -> None:
    async with a_schema() as schema:
        url = url_of(schema)
        told = profile("--journal", url, "--views", url)
        assert (told.returncode, told.stderr) == (0, "")
        the_story(told.stdout)
        found = totals(profile, "--updates", "100", "--kill", "0.05", "--journal", url, "--views", url)
        assert found["saved"] + found["refused"] == 100


def test_the_totals_as_json(profile: Run, journal: str) -> None:
    found = totals(profile, "--updates", "400", "--kill", "0.02", "--seed", "7", "--journal", journal)
    assert found["saved"] + found["refused"] == 400
    assert found["saved"] > found["refused"] > 0
    assert (found["parked"], found["books_balance"], found["journal"]) == (0, True, journal)
    assert 0 < found["visible_ms"]["p50"] <= found["visible_ms"]["p99"]
    assert 0 < found["search_ms"]["p50"] <= found["search_ms"]["p99"]


def test_the_totals_for_people(profile: Run) -> None:
    done = profile("--updates", "60", "--kill", "0.1")
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("Journal: sqlite:", "saved", "updates a second", "searches a second", "seen by then", "were killed"):
        assert word in done.stdout
    assert profile("--updates", "0").returncode == 0


def test_killed_at_work(profile: Run, start: Start, journal: str) -> None:
    kill_at_work(start, "demos.profile", journal, "--updates", "5000", word="updates are saved")
    found = totals(profile, "--updates", "10", "--journal", journal)
    assert (found["saved"] + found["refused"], found["books_balance"]) == (10, True)


def test_stopped_by_a_signal(start: Start, journal: str) -> None:
    stop_by_signal(start, "demos.profile", journal, "--updates", "5000")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--updates", "many"), "argument --updates: it must be a whole number from 0 to 1,000,000, not 'many'"),
        (("--at", "2026-01-31"), "unrecognized arguments: --at 2026-01-31 (see --help)"),
        (("--journal", "profiles.db"), "'profiles.db' is no journal's URL; write 'sqlite:"),
        (("--views", "nowhere"), "there is no place for read models 'nowhere'; write 'sqlite:FOLDER'"),
    ],
)
def test_bad_options(profile: Run, arguments: tuple[str, ...], said: str) -> None:
    check_complaint(profile, "demos.profile", *arguments, said=said)


def test_help(profile: Run, bank: Run) -> None:
    check_help(profile, "--updates N", "--kill P", "--seed S", "--journal URL", "--views URL", "--json")
    assert "--views" not in bank("--help").stdout


def test_wishes_follow_from_the_seed() -> None:
    assert list(wishes(50, 7, "run0")) == list(wishes(50, 7, "run0"))
    assert list(wishes(50, 7, "run0")) != list(wishes(50, 8, "run0"))
    assert {w.person for w in wishes(50, 7, "run0")}.isdisjoint(w.person for w in wishes(50, 7, "run9"))


# -- the books ----------------------------------------------------------------------------------------------------

ANA = ProfileState("Ana", "Porto", "tea", 2)
COPY = Copy("Ana", "Porto", "tea", 2, 2, 0)
FOUND = [Found("ana", "Ana", "Porto", "")]


@pytest.mark.parametrize(
    ("state", "copy", "found", "wrong"),
    [
        (ANA, COPY, FOUND, []),
        (ProfileState(change=2), None, [], []),
        (ProfileState(change=2), COPY, [], ["ana's profile was removed, and the search copy still has it"]),
        (ANA, None, FOUND, ["ana's profile is missing in the search copy"]),
        (ANA, Copy("Ana", "Porto", "tea", 1, 1, 0), FOUND, ["saved 2 times, and the search copy has number 1"]),
        (ANA, Copy("Ana", "Porto", "coffee", 2, 2, 0), FOUND, ["saved 2 times, and the search copy has number 2"]),
        (ANA, COPY, [], ["ana's profile is not found by its own words"]),
    ],
)
def test_what_is_wrong_is_found(state: ProfileState, copy: Copy | None, found: list[Found], wrong: list[str]) -> None:
    problems = list(wrong_copies("ana", state, copy, found))
    assert len(problems) == len(wrong)
    assert all(part in problem for part, problem in zip(wrong, problems, strict=True))


async def test_the_journal_is_replayed(tmp_path: Path) -> None:
    async with Runtime(f"sqlite:{tmp_path / 'p.db'}", ACTORS) as runtime:
        assert await audit(runtime) == (0, 0, 0, [])
        await runtime.ask(Profile.at("ana"), SaveProfile("Ana", "Porto", "tea"))
        await runtime.ask(Profile.at("ana"), SaveProfile("Ana", "Porto", "coffee"))
        assert await audit(runtime) == (1, 2, 0, [])
