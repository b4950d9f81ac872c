"""The commands that keep a journal safe: verify, seal, export, import and backup."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path

from persistence.archiving import export_to, import_from
from persistence.chain import seal, verify
from persistence.checked import Checked
from persistence.command_line_job import FOUND, OK, BadUsage, Command, Job
from persistence.journal import Journal, Seal
from persistence.sqlite_backup import back_up
from persistence.sqlite_reading import SqliteReading

_SEAL = re.compile(r"([0-9]{1,18}):([0-9a-fA-F]{64})")


def _pinned(text: str) -> Seal:
    found = _SEAL.fullmatch(text)
    if found is None:
        raise ArgumentTypeError(f"it must be POSITION:HASH, as seal and verify write it, not {text!r}")
    return Seal(int(found[1]), found[2].lower())


def _verify_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--pinned", type=_pinned, metavar="POSITION:HASH", help="what the journal must have been at that position"
    )


async def _verify(job: Job) -> int:
    head = await verify(job.journal, job.options.pinned, job.page.progress)
    if isinstance(job.journal, Checked):
        await job.journal.check(job.page.progress)
    sealed = await job.journal.last_seal()
    if job.page.as_json:
        job.page.object(
            {
                "journal": job.journal.url,
                "verified": head.position,
                "head": str(head),
                "last_seal": None if sealed is None else str(sealed),
                "pinned": None if job.options.pinned is None else str(job.options.pinned),
            }
        )
        return OK
    said = [f"all {head.position:,} events are what was written"]
    if sealed is not None:
        said.append(f"up to position {min(sealed.position, head.position):,} what was sealed")
    if job.options.pinned is not None:
        said.append(f"up to position {job.options.pinned.position:,} what was pinned")
    job.page.line(", ".join(said))
    job.page.line(f"head  {head}")
    return OK


VERIFY = Command(
    "verify",
    "read the whole journal, and compare it with its seals",
    _verify,
    add_options=_verify_options,
    examples=("sqlite:trips.db", "sqlite:trips.db --pinned 12345:6dc7...e1"),
    more="Each event has a checksum, which finds damage; the indexes of an SQLite journal are compared with it.\n"
    "Seals find what somebody has changed on purpose; a head that was written down elsewhere and is given with\n"
    "--pinned also finds it where he has changed the seals too.",
)


async def _seal(job: Job) -> int:
    head = await seal(job.journal, job.page.progress)
    if job.page.as_json:
        job.page.object({"journal": job.journal.url, "position": head.position, "hash": head.hash, "head": str(head)})
    else:
        job.page.line(str(head))
    return OK


SEAL = Command(
    "seal",
    "seal all that is in the journal, and print the head of its hash chain",
    _seal,
    examples=("sqlite:trips.db",),
    more="It needs the journal for itself.",
    access="hold",
)


def _file_of(job: Job) -> Path:
    path = Path(job.options.operand)
    if path.is_dir() or not path.parent.is_dir():
        raise BadUsage(f"can't write {path}: " + ("it is a folder" if path.is_dir() else "no such folder"))
    return path


async def _export(job: Job) -> int:
    path = _file_of(job)
    position = await export_to(path, job.journal, job.page.progress)
    return _done(job, path, position, f"{position:,} events are in {path}")


def _done(job: Job, path: Path, position: int, said: str) -> int:
    if job.page.as_json:
        job.page.object({"journal": job.journal.url, "file": str(path), "position": position})
    else:
        job.page.line(said)
    return OK


EXPORT = Command(
    "export",
    "write the journal into an archive: one compressed file that any engine reads",
    _export,
    operand="FILE",
    examples=("sqlite:trips.db trips.archive",),
    more="It works beside the process that holds the journal. Where it is interrupted, the same command goes on.",
)


def _import_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--salvage", action="store_true", help="bring in what is whole of an archive that is damaged or was cut off"
    )


async def _import(job: Job) -> int:
    path = Path(job.options.operand)
    found = await import_from(path, job.journal, job.page.progress, salvage=job.options.salvage)
    said = f"{job.journal.url} holds the {found.position:,} events of {path}"
    if found.fault:
        job.page.note(f"{path} is damaged: {found.fault}; every saga and reminder counts as unfinished")
    _done(job, path, found.position, said)
    return FOUND if found.fault else OK


IMPORT = Command(
    "import",
    "bring an archive into an empty journal",
    _import,
    operand="FILE",
    add_options=_import_options,
    examples=("postgresql://me@host/trips trips.archive",),
    more="The archive is checked whole first. Where it is interrupted, the same command goes on.",
    access="hold",
)


async def _backup(job: Job) -> int:
    path = _file_of(job)
    position = await back_up(_file_journal(job.journal), path, job.page.progress)
    return _done(job, path, position, f"{path} is a copy of {job.journal.url} up to position {position:,}")


def _file_journal(journal: Journal) -> SqliteReading:
    if not isinstance(journal, SqliteReading):
        raise BadUsage(f"{journal.url} is no file; use export, or what its server has (pg_dump)")
    return journal


BACKUP = Command(
    "backup",
    "copy an SQLite journal, also while it is being written to",
    _backup,
    operand="FILE",
    examples=("sqlite:trips.db /backup/trips-monday.db",),
    more="FILE is a journal itself: restore it by copying it back. Where it is interrupted, begin again.",
)
