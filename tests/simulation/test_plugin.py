"""The pytest plugin: a fixture, three options, a line to run a report again, and nothing for who doesn't ask."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEST = """
from actors import Actor, Command
from runtime.simulation import Effects

class Send(Command["Mailer", None]):
    text: str

class Mailer(Actor):
    calls = 0

    async def receive(self, message: Send) -> None:
        Mailer.calls += 1
        Mailer.post.do(self.message_id if KEEPS_IDS else str(Mailer.calls), message.text)

def outside():
    Mailer.post = Effects()
    return Mailer.post

async def sends(world):
    await world.runtime.ask(Mailer.at("m"), Send("hello"), id="1")

def test_letters(simulation):
    explored = simulation.explore(sends, actors=[Mailer], outside=outside)
    print(explored.runs, "runs with seed", simulation.seed)
"""


def pytest_in(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "error", *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_test_that_passes(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(f"KEEPS_IDS = True\n{TEST}")
    done = pytest_in(tmp_path, "-s", "--understudy-seed=7", "--understudy-runs=3")
    assert done.returncode == 0, done.stdout
    (runs,) = map(int, re.findall(r"(\d+) runs with seed 7", done.stdout))
    more = pytest_in(tmp_path, "-s", "--understudy-seed=7", "--understudy-runs=13")
    assert f"{runs + 10} runs with seed 7" in more.stdout


def test_the_header_says_what_makes_the_runs(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(f"KEEPS_IDS = True\n{TEST}")
    done = pytest_in(tmp_path, "-s", "--understudy-seed=random", "--understudy-runs=2")
    said = re.search(r"understudy: --understudy-seed=(\d+) --understudy-runs=2\n", done.stdout)
    assert said is not None, done.stdout
    assert said[1] != "0"
    assert f"runs with seed {said[1]}\n" in done.stdout


def test_a_test_that_fails_says_how_to_run_it_again(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(f"KEEPS_IDS = False\n{TEST}")
    done = pytest_in(tmp_path)
    assert done.returncode == 1
    assert "broken: no effect twice" in done.stdout
    line = re.search(r"pytest test_x.py::test_letters (--understudy-replay=\S+)", done.stdout)
    assert line is not None, done.stdout
    assert "runtime/simulation/explore.py" not in done.stdout  # the traceback ends at the test's own line
    again = pytest_in(tmp_path, "test_x.py::test_letters", line[1])
    assert again.returncode == 1
    assert "broken: no effect twice" in again.stdout
    (tmp_path / "test_x.py").write_text(f"KEEPS_IDS = True\n{TEST}")
    assert pytest_in(tmp_path, "test_x.py::test_letters", line[1]).returncode == 0


def test_a_plan_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(f"KEEPS_IDS = True\n{TEST}")
    done = pytest_in(tmp_path, "--understudy-replay=hello")
    assert done.returncode == 1
    assert "'hello' is no part of a plan; copy the whole line" in done.stdout


def test_who_asks_for_nothing_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        "import sys\n\ndef test_x():\n    assert 'pytest_understudy' in sys.modules\n"
        "    assert not {'runtime', 'actors', 'persistence', 'anyio', 'msgspec'} & sys.modules.keys()\n"
    )
    done = pytest_in(tmp_path, "-p", "no:anyio", "-p", "no:hypothesispytest")
    assert done.returncode == 0, done.stdout


def test_the_ten_lines_of_the_guide(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "testing.md").read_text()
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "test_transfers" in code]
    (tmp_path / "test_transfers.py").write_text(example)
    done = pytest_in(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    (tmp_path / "test_transfers.py").write_text(example.replace("undo=Move(-n)", "undo=Move(0)"))
    done = pytest_in(tmp_path)
    assert "broken: money is neither made nor lost" in done.stdout
