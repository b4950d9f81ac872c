"""verify, seal, export, import, backup: what they make can be used, and what they find is said."""

import asyncio
import json
import os
import pty
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

from persistence import SqliteJournal
from persistence.checksum import crc_of
from tests.command_line.conftest import ROOT, Run
from tests.unit.journals import grow

EVENTS = 19


def events(run: Run, url: str) -> str:
    return run("tail", url, "--after", "0", "--json").out + run("streams", url, "--json").out


def test_sealing_and_verifying(run: Run, url: str, path: Path) -> None:
    verified = run("verify", url)
    assert verified.lines[0] == f"all {EVENTS} events are what was written"
    sealed = run("seal", url)
    head = sealed.out.strip()
    assert head.startswith(f"{EVENTS}:")
    assert verified.lines[1] == f"head  {head}"
    assert run("seal", url, "--json").objects[0]["head"] == head
    assert run("info", url, "--json").objects[0]["last_seal"] == head
    done = run("verify", url, "--pinned", head)
    assert done.code == 0
    upto = f"up to position {EVENTS} what was"
    assert done.lines[0] == f"all {EVENTS} events are what was written, {upto} sealed, {upto} pinned"
    assert run("verify", url, "--json", "--pinned", head).objects == [
        {"journal": url, "verified": EVENTS, "head": head, "last_seal": head, "pinned": head}
    ]
    wrong = run("verify", url, "--pinned", f"{EVENTS}:{'0' * 64}")
    said = f"{url} is damaged: the events from position 1 to {EVENTS} are not what was pinned; restore it from a backup"
    assert (wrong.code, wrong.complaint) == (1, said)
    longer = run("verify", url, "--pinned", f"{EVENTS + 1}:{'0' * 64}")
    assert (longer.code, "it ends at position" in longer.complaint) == (1, True)


def test_a_change_that_fits_its_checksum_is_found(run: Run, url: str, path: Path) -> None:
    assert run("seal", url).code == 0
    data, meta = b'{"n":1000}', b"{}"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        (time,) = db.execute("select time from events where position = 4").fetchone()
        crc = crc_of(4, ("Hotel", "Ritz/42"), 1, "SeatHeld", time, None, data, meta)
        change = "update events set data = ?, meta = ?, crc = ? where position = 4"
        db.execute(change, (data.decode(), meta.decode(), crc))
    assert run("show", url, "Hotel/Ritz/42", "--json").objects[0]["data"] == {"n": 1000}
    done = run("verify", url)
    said = f"{url} is damaged: the events from position 1 to {EVENTS} are not what was sealed; restore it from a backup"
    assert (done.code, done.complaint) == (1, said)


def test_a_journal_goes_into_an_archive_and_comes_back(run: Run, url: str, tmp_path: Path) -> None:
    archive, copy = tmp_path / "archive", f"sqlite:{tmp_path}/copy.db"
    done = run("export", url, archive)
    assert (done.code, done.out, done.err) == (0, f"{EVENTS} events are in {archive}\n", "")
    done = run("import", copy, archive)
    assert (done.code, done.out, done.err) == (0, f"{copy} holds the {EVENTS} events of {archive}\n", "")
    assert events(run, copy) == events(run, url)
    assert run("import", copy, archive, "--json").objects == [
        {"journal": copy, "file": str(archive), "position": EVENTS}
    ]
    assert events(run, copy) == events(run, url)
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert run("verify", copy, "--pinned", run("seal", url).out.strip()).code == 0


def test_what_is_whole_of_an_archive_can_be_saved(run: Run, url: str, tmp_path: Path) -> None:
    archive, copy = tmp_path / "archive", f"sqlite:{tmp_path}/copy.db"
    run("export", url, archive)
    archive.write_bytes(archive.read_bytes()[:-10])
    done = run("import", copy, archive, "--salvage")
    assert done.code == 1
    assert done.err == (f"{archive} is damaged: it ends in the middle; every saga and reminder counts as unfinished\n")
    assert run("info", copy, "--json").objects[0]["position"] == EVENTS


def test_an_archive_does_not_go_on_top_of_something_else(run: Run, url: str, trips: str, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    run("export", url, archive)
    before = events(run, trips)
    done = run("import", trips, archive)
    assert done.code == 2
    assert "that are not the beginning of" in done.complaint
    assert events(run, trips) == before


def test_a_backup_is_a_journal(run: Run, url: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    done = run("backup", url, copy)
    assert (done.code, done.out) == (0, f"{copy} is a copy of {url} up to position {EVENTS}\n")
    assert events(run, f"sqlite:{copy}") == events(run, url)
    assert run("backup", url, copy).code == 2


def test_progress_is_shown_on_a_terminal_only(path: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    async def more() -> None:
        journal = SqliteJournal(path)
        await journal.open()
        await grow(journal, 3_000)
        await journal.close()

    asyncio.run(more())
    ours, theirs = pty.openpty()
    shown = b""
    command = [sys.executable, "-m", "persistence", "export", f"sqlite:{path}", str(tmp_path / "archive"), "--json"]
    try:
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=theirs, text=True
        ) as process:
            os.close(theirs)
            assert process.stdout is not None
            out = process.stdout.read()
            with suppress(OSError):
                while some := os.read(ours, 65536):
                    shown += some
        assert process.returncode == 0
    finally:
        os.close(ours)
    assert json.loads(out)["position"] == 3_000 + EVENTS
    assert "[##############################] 100%  3,019 of 3,019" in shown.decode()
    assert shown.decode().endswith("\r\x1b[K")  # and taken away again
