"""The command line beside a runtime that holds the journal: it sees all, keeps nobody out, and changes nothing."""

import json
import signal
from asyncio.subprocess import Process
from pathlib import Path
from typing import Any

import pytest

from demos.page import Page
from demos.trip import ACTORS, load
from runtime import Runtime
from tests.command_line.conftest import Begin, Beside, Run, Start


async def book(runtime: Runtime, trips: int, seed: int) -> None:
    await load.run(runtime, trips, seed, Page(None))


async def test_all_that_reads_works_beside_a_runtime(trips: str, beside: Beside, tmp_path: Path) -> None:
    async with Runtime(trips, ACTORS) as runtime:
        await book(runtime, 20, 1)
        done = await beside("info", trips, "--json")
        (found,) = done.objects
        position = found["position"]
        assert (found["streams"], found["unfinished"]) == (50 + 9, 0)
        done = await beside("tail", trips, "--after", "0", "--json")
        assert [each["position"] for each in done.objects] == list(range(1, position + 1))
        assert (await beside("verify", trips)).code == 0
        assert len((await beside("streams", trips)).lines) == 1 + found["streams"]
        archive, copy = tmp_path / "archive", tmp_path / "copy.db"
        assert (await beside("export", trips, archive)).code == 0
        assert (await beside("backup", trips, copy)).code == 0
        done = await beside("seal", trips)
        assert done.code == 2
        assert "is in use by process" in done.complaint
        # Nobody has noticed.
        await book(runtime, 5, 2)
        again = await beside("info", trips, "--json")
        assert again.objects[0]["position"] > position
    async with Runtime(f"sqlite:{copy}", ACTORS) as runtime:
        await book(runtime, 5, 3)


async def test_a_journal_that_was_imported_runs(trips: str, beside: Beside, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    assert (await beside("export", trips, archive)).code == 0
    for salvage in (False, True):
        copy = tmp_path / f"copy{salvage}.db"
        if salvage:  # all sagas count as unfinished, and find that they are not
            archive.write_bytes(archive.read_bytes()[:-20])
        done = await beside("import", f"sqlite:{copy}", archive, *(("--salvage",) if salvage else ()))
        assert done.code == salvage
        async with Runtime(f"sqlite:{copy}", ACTORS) as runtime:
            report = await load.run(runtime, 5, 3, Page(None))
            assert report.books.problems == []


async def line_of(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(await process.stdout.readline())
    return found


async def test_tail_follows_what_another_process_writes(trips: str, begin: Begin) -> None:
    async with Runtime(trips, ACTORS) as runtime:
        process = await begin("tail", trips, "-f", "-n", "1", "--json")
        last = (await line_of(process))["position"]
        for seed in (1, 2):
            await book(runtime, 1, seed)
            for _ in range(5):
                assert (await line_of(process))["position"] == last + 1
                last += 1
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert (process.returncode, err) == (130, b"")


async def test_tail_follows_some_events_only(trips: str, begin: Begin) -> None:
    async with Runtime(trips, ACTORS) as runtime:
        process = await begin("tail", trips, "-f", "-n", "1", "--category", "Hotel", "--json")
        last = await line_of(process)
        await book(runtime, 3, 1)
        found = await line_of(process)
        assert found["position"] > last["position"]
        assert found["category"] == "Hotel"
        process.terminate()
        await process.communicate()


@pytest.mark.parametrize("arguments", [("tail", "-n", "500"), ("streams",), ("tail", "--after", "0", "--json")])
def test_a_reader_that_goes_away_is_no_error(trips: str, start: Start, arguments: tuple[str, ...]) -> None:
    with start(arguments[0], trips, *arguments[1:], PYTHONUNBUFFERED="1") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait() == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_reader_that_was_never_there(trips: str, start: Start) -> None:
    with start("info", trips) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait() == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_text_that_the_terminal_can_not_show(process: Run, url: str) -> None:
    done = process("tail", url, "--after", "0", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (done.code, done.err) == (0, "")
    assert "\\xe9 \\U0001fa91" in done.out


def test_reading_leaves_the_file_as_it_is(process: Run, path: Path, url: str) -> None:
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    for arguments in (("info",), ("streams",), ("tail",), ("verify",), ("show",)):
        done = process(arguments[0], url, *(("Flight/LH441",) if arguments == ("show",) else ()))
        assert done.code == 0
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert not Path(f"{path}.lock").exists()
