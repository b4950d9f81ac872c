"""The commands of ``python -m persistence`` for read models and subscribers: how far they are, and building anew."""

from argparse import ArgumentParser

from actors import ReadModel, UnderstudyError
from persistence.command_line_job import FOUND, OK, BadUsage, Command, Job
from persistence.command_line_page import local, utc
from persistence.views import Build, Shelf, wall_time
from runtime.command_line import actors_of, actors_option
from runtime.fold_projection import schema_of
from runtime.kinds import Kind
from runtime.offline_build import build_beside, kinds_of
from runtime.personal import holds_personal
from runtime.views import Views, checkpoint_of, fingerprint


def _options(parser: ArgumentParser) -> None:
    actors_option(parser)
    parser.add_argument("--views", metavar="URL", help="where read models are, if the runtime is told so")


def _rebuild_options(parser: ArgumentParser) -> None:
    _options(parser)
    parser.add_argument(
        "--lenient", action="store_true", help="set aside what can't be projected, in place of stopping there"
    )


def _kinds(job: Job) -> tuple[list[Kind], list[Kind]]:
    try:
        return kinds_of(actors_of(job.options.actors))
    except UnderstudyError as error:
        raise BadUsage(str(error)) from error


def _models(job: Job) -> tuple[dict[str, Kind], list[Kind]]:
    followers, producers = _kinds(job)
    models = {kind.name: kind for kind in followers if issubclass(kind.cls, ReadModel)}
    if not models:
        raise BadUsage(f"{job.options.actors} has no read models")
    return models, producers


def _shelf(job: Job, kind: Kind) -> Shelf:
    views = Views(job.options.views)
    return views.shelf(kind, job.journal) if issubclass(kind.cls, ReadModel) else views.checkpoint(kind, job.journal)


async def _read_models(job: Job) -> int:
    followers, producers = _kinds(job)
    if not followers:
        raise BadUsage(f"{job.options.actors} has no read models and no subscribers")
    if not job.page.as_json:
        job.page.heading("read model", "tables", "state", " position", " behind", " seconds", " set aside", "begun")
    rows: list[tuple[str, ...]] = []
    for kind in followers:
        model = issubclass(kind.cls, ReadModel)
        today = fingerprint(kind, producers, job.journal) if model else checkpoint_of(job.journal)
        shelf = _shelf(job, kind)
        for build in await shelf.builds(kind.name):
            if build.journal == job.journal.identity:
                rows += await _tell(job, kind, build, shelf, today=build.fingerprint == today)
    job.page.rows(rows)
    return OK


async def _tell(job: Job, kind: Kind, build: Build, shelf: Shelf, *, today: bool) -> list[tuple[str, ...]]:
    """Tell of one database, to programs, or by a row for people: where it is, and what is to be done yet."""
    model = issubclass(kind.cls, ReadModel)
    tables = f"{build.fingerprint}.{build.generation}" if build.generation else build.fingerprint
    behind = max(0, job.journal.position - build.position)
    late = await _late(job, build) if behind else 0.0
    aside = await _set_aside(job, kind, build, shelf)
    if job.page.as_json:
        job.page.object(
            {
                "read_model" if model else "subscriber": kind.name,
                "tables": tables,
                "today": today,
                "ready": build.ready,
                "position": build.position,
                "behind": behind,
                "behind_seconds": late,
                "set_aside": aside,
                "begun": utc(build.made),
            }
        )
        return []
    state = "of other code" if not today else "ready" if build.ready else "being built"
    state = state if model else "subscriber"
    numbers = (f"{build.position:,}", f"{behind:,}", f"{late:,.1f}", f"{aside:,}")
    return [(kind.name, tables, state, *numbers, local(build.made))]


async def _late(job: Job, build: Build) -> float:
    """Return the age in seconds of the first event that a database has not come to."""
    page = await job.journal.read_all(build.position, 1)
    return max(0.0, (wall_time() - page[0].time) / 1e6) if page else 0.0


async def _set_aside(job: Job, kind: Kind, build: Build, shelf: Shelf) -> int:
    view = shelf.view(
        kind.name, build, schema_of(kind) if issubclass(kind.cls, ReadModel) else "", job.journal.identity, wall_time
    )
    try:
        await view.open_for_reading()
        return len(await view.parked())
    finally:
        await view.close()


async def _rebuild(job: Job) -> int:
    models, producers = _models(job)
    kind = models.get(job.options.operand)
    if kind is None:
        raise BadUsage(
            f"{job.options.actors} has no read model {job.options.operand}, only {', '.join(sorted(models))}"
        )
    if any(holds_personal(event) for event in kind.cls.follows.values()):
        raise BadUsage(f"{kind.name} follows personal data, for which there are no keys here; use runtime.rebuild")
    shelf = _shelf(job, kind)
    if not shelf.keeps:
        raise BadUsage("these read models are in memory, and built at each start; name their place with --views")
    try:
        build = await build_beside(
            job.journal, kind, producers, shelf, job.page.progress, strict=not job.options.lenient
        )
    except UnderstudyError as error:
        job.page.note(str(error))
        return FOUND
    finally:
        job.page.clear()
    tables = f"{build.fingerprint}.{build.generation}" if build.generation else build.fingerprint
    if job.page.as_json:
        job.page.object({"read_model": kind.name, "tables": tables, "position": job.journal.position})
    else:
        job.page.line(f"{kind.name} is built anew ({tables}); the next start of the runtime takes it over")
    return OK


READ_MODELS = Command(
    "read-models",
    "list the tables of read models and the checkpoints of subscribers, and how far they are",
    _read_models,
    add_options=_options,
    examples=("sqlite:trips.db --actors demos.trip",),
)
REBUILD = Command(
    "rebuild",
    "build a read model anew beside its tables; the next start takes it over",
    _rebuild,
    operand="NAME",
    add_options=_rebuild_options,
    examples=(
        "sqlite:trips.db Trips --actors demos.trip",
        "sqlite:trips.db Trips --actors demos.trip --views 'postgresql://me@host/trips?schema=views'",
    ),
    more="With tomorrow's code, before a deployment, it spares the time that building takes then. It exits with 1\n"
    "where it comes to an event that can't be projected.",
)
