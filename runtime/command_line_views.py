"""The commands of ``python -m persistence`` for read models: which tables there are, and building them anew."""

from argparse import ArgumentParser

from actors import UnderstudyError
from persistence.command_line_job import FOUND, OK, BadUsage, Command, Job
from persistence.command_line_page import local, utc
from persistence.views import Shelf
from runtime.command_line import actors_of, actors_option
from runtime.kinds import Kind
from runtime.offline_build import build_beside, kinds_of
from runtime.personal import holds_personal
from runtime.views import Views, fingerprint


def _options(parser: ArgumentParser) -> None:
    actors_option(parser)
    parser.add_argument("--views", metavar="URL", help="where read models are, if the runtime is told so")


def _rebuild_options(parser: ArgumentParser) -> None:
    _options(parser)
    parser.add_argument(
        "--lenient", action="store_true", help="set aside what can't be projected, in place of stopping there"
    )


def _models(job: Job) -> tuple[dict[str, Kind], list[Kind]]:
    try:
        models, producers = kinds_of(actors_of(job.options.actors))
    except UnderstudyError as error:
        raise BadUsage(str(error)) from error
    if not models:
        raise BadUsage(f"{job.options.actors} has no read models")
    return {kind.name: kind for kind in models}, producers


def _shelf(job: Job, kind: Kind) -> Shelf:
    return Views(job.options.views).shelf(kind, job.journal)


async def _read_models(job: Job) -> int:
    models, producers = _models(job)
    if not job.page.as_json:
        job.page.heading("read model", "tables", "state", " position", " behind", "begun")
    for name, kind in models.items():
        today = fingerprint(kind, producers, job.journal)
        for build in await _shelf(job, kind).builds(name):
            if build.journal != job.journal.identity:
                continue
            tables = f"{build.fingerprint}.{build.generation}" if build.generation else build.fingerprint
            behind = job.journal.position - build.position
            state = "of other code" if build.fingerprint != today else "ready" if build.ready else "being built"
            if job.page.as_json:
                job.page.object(
                    {
                        "read_model": name,
                        "tables": tables,
                        "today": build.fingerprint == today,
                        "ready": build.ready,
                        "position": build.position,
                        "behind": behind,
                        "begun": utc(build.made),
                    }
                )
            else:
                job.page.rows([(name, tables, state, f"{build.position:,}", f"{behind:,}", local(build.made))])
    return OK


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
    "list the tables of read models, and how far they are",
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
