"""Whatever is wrong: one line that says what, exit code 2 (1 for damage), no traceback, and no password."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.command_line.conftest import Run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("info",), "which journal? Write its URL, as in sqlite:trips.db, or set UNDERSTUDY_JOURNAL"),
        (("--json",), "write a command"),
        (("frobnicate",), "there is no command 'frobnicate'"),
        (("info", "trips.db"), "'trips.db' is no journal's URL; write 'sqlite:trips.db'"),
        (("trips.db", "info"), "'trips.db' is no journal's URL; write 'sqlite:trips.db'"),
        (("info", "mysql://me:s3cret@host/x"), "'mysql://me@host/x' is no journal's URL; write"),
        (("info", "http://x"), "'http://x' is no journal's URL; write 'sqlite:trips.db'"),
        (("info", "memory:"), "a journal in memory is gone with its process"),
        (("info", "sqlite:/no/such/trips.db"), "can't open /no/such/trips.db: there is no such file"),
        (("info", "sqlite:/tmp"), "can't open /tmp: it is a folder"),
        (("info", "sqlite:x.db", "y"), "unrecognized arguments: y"),
        (("info", "sqlite:x.db", "--loud"), "unrecognized arguments: --loud"),
        (("info", "--journal"), "argument --journal: expected one argument"),
        (("show", "sqlite:x.db"), "write STREAM behind the journal's URL"),
        (("show",), "STREAM is missing"),
        (
            ("show", "sqlite:x.db", "A/b", "--from", "x"),
            "argument --from: it must be a whole number from 1 on, not 'x'",
        ),
        (("show", "sqlite:x.db", "A/b", "--to", "0"), "argument --to: it must be a whole number from 1 on, not '0'"),
        (("tail", "sqlite:x.db", "-n", "-1"), "argument -n: "),
        (("tail", "sqlite:x.db", "-n", "9" * 30), "argument -n: it must be a whole number from 0 on"),
        (("verify", "sqlite:x.db", "--pinned", "3"), "argument --pinned: it must be POSITION:HASH"),
        (("verify", "sqlite:x.db", "--pinned", "3:abc"), "argument --pinned: it must be POSITION:HASH"),
        (("info", "postgresql://me:s3cret@[/x"), "the PostgreSQL URL can't be understood"),
        (("info", "postgresql://me:s3cret@127.0.0.1:1/x"), "can't open postgresql://me@127.0.0.1:1/x: "),
    ],
)
def test_bad_usage(run: Run, arguments: tuple[str, ...], said: str) -> None:
    for more in ((), ("--json",)):
        done = run(*arguments, *(more if arguments != ("info", "--journal") else ()))
        assert done.code == 2
        assert done.complaint.startswith(said)
        assert "s3cret" not in done.err


def test_a_stream_that_is_not_there(run: Run, url: str) -> None:
    done = run("show", url, "Flight/LH999")
    assert (done.code, done.complaint) == (
        2, f"there is no stream Flight/LH999 in {url}; the command streams lists those that there are",
    )  # fmt: skip
    done = run("show", url, "Flight")
    assert (done.code, done.complaint) == (
        2, "'Flight' names no stream; write its category and its key, as in Flight/LH441",
    )  # fmt: skip


def test_what_is_no_journal(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("milk, bread, eggs" * 100)
    done = run("info", f"sqlite:{path}")
    assert (done.code, done.complaint) == (2, f"{path} is not a journal of Understudy; use another file")
    assert run("info", path).complaint.startswith(f"'{path}' is no journal's URL; write 'sqlite:{path}'")
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as db:
        db.execute("create table notes (text)")
    assert run("tail", f"sqlite:{other}").complaint.startswith(f"{other} is a database, but not a journal")


def test_a_journal_of_tomorrow(run: Run, url: str, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma user_version = 99")
    done = run("info", url)
    assert done.code == 2
    assert "journal format 99" in done.complaint


def test_damage_is_a_finding(run: Run, url: str, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("update events set data = '{}' where position = 9")
    for arguments in (("verify",), ("tail", "-n", "99"), ("export", path.with_name("archive"))):
        done = run(arguments[0], url, *arguments[1:])
        assert done.code == 1
        assert done.complaint.startswith(f"{path} is damaged: the event at position 9, ")


def test_commands_that_make_files_replace_none(run: Run, url: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    for command in ("export", "backup"):
        for place, said in (
            (mine, f"{mine} is there already; use another name, or move it away"),
            (tmp_path, f"can't write {tmp_path}: it is a folder"),
            (tmp_path / "no" / "such", f"can't write {tmp_path}/no/such: no such folder"),
        ):
            done = run(command, url, place)
            assert (done.code, done.complaint) == (2, said)
    assert mine.read_text() == "mine"


def test_bad_archives(run: Run, url: str, tmp_path: Path) -> None:
    new = f"sqlite:{tmp_path}/new.db"
    done = run("import", new, tmp_path / "none")
    assert (done.code, done.complaint) == (2, f"can't read {tmp_path}/none: No such file or directory")
    (tmp_path / "notes").write_text("milk, bread, eggs")
    done = run("import", new, tmp_path / "notes")
    assert (done.code, done.complaint) == (2, f"{tmp_path}/notes: it is not compressed as an archive is")
    archive = tmp_path / "archive"
    assert run("export", url, archive).code == 0
    archive.write_bytes(archive.read_bytes()[:-10])
    done = run("import", new, archive)
    assert (done.code, done.complaint) == (
        1, f"{archive} is damaged: it ends in the middle; whole are the events up to 19",
    )  # fmt: skip
