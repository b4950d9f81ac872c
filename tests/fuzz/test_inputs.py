"""What people write: URLs, cron expressions, time zones, reminders, and the command line's arguments."""

import asyncio
import tempfile
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence import SqliteJournal
from persistence.command_line import PROGRAM, main
from persistence.opening import journal_of
from persistence.postgres_url import parse_url, without_password
from runtime.schedule_times import Cron, Interval, Once, check_cron
from tests.extras import need
from tests.fuzz.mutations import check_ours, examples, texts
from tests.unit.journals import fill

SCHEMES = ["", "sqlite:", "sqlite:///", "memory:", "postgresql://", "postgres://", "mysql://", "file:", "sqlite"]
PARTS = ["host", ":5432", "/db", "?schema=", "&owner=", "&views=", "&notify=", "?", "&", "=", "#", "[::1]", "%"]
pieces = st.one_of(
    st.sampled_from(PARTS), texts, texts.map(lambda text: quote(text.encode("utf-8", "replace"))), st.just("ana@")
)
urls = st.tuples(st.sampled_from(SCHEMES), st.lists(pieces, max_size=6)).map(lambda two: two[0] + "".join(two[1]))


def read(url: str) -> str:
    """Return all that is said of a URL."""
    said = [without_password(url)]
    for reads in (journal_of, parse_url):
        try:
            said.append(repr(reads(url)))
        except Exception as error:  # noqa: BLE001 (looked at)
            check_ours(error)
            said.append(str(error))
    return "\n".join(said)


@given(urls)
@examples(150)
def test_urls(url: str) -> None:
    read(url)


@given(st.sampled_from([one for one in SCHEMES if not one.startswith("sqlite:")]), st.lists(pieces, max_size=3))
@examples(150)
def test_a_password_is_never_shown(scheme: str, rest: list[str]) -> None:
    assert "s3cret" not in read(f"{scheme}ana:s3cret@host{''.join(rest)}")


@given(texts)
@examples(100)
def test_a_journal_at_a_path_that_can_not_be(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:

        async def opened() -> None:
            journal = journal_of(f"sqlite:{folder}/{text}")
            try:
                await journal.open()
            finally:
                await journal.close()

        try:
            asyncio.run(opened())
        except Exception as error:  # noqa: BLE001 (looked at)
            check_ours(error)


# -- times --------------------------------------------------------------------------------------------------------

fields = st.sampled_from(
    ["*", "0", "59", "60", "*/5", "*/0", "1-5", "5-1", "L", "1#5", "1#9", "?", "MON", "a", "", "1,2,,", "31"]
)
expressions = st.lists(fields, min_size=0, max_size=7).map(" ".join) | texts
zones = (
    st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "", "..", "/etc/passwd", "Nowhere/No", "\0", "UTC\n"])
    | texts
)
moments = st.integers(0, 250_000_000_000_000_000)


@given(expressions, zones, moments)
@examples(150)
def test_cron_expressions(expression: str, zone: str, now: int) -> None:
    need("cronsim")
    try:
        check_cron(expression, zone, now)
    except ValueError as error:
        if "cron=" in str(error) or "time zone" in str(error):
            return
        raise
    times = Cron(expression, zone)
    found = times.after(now)
    assert found == 0 or found > now
    if found:
        due = times.due(found, found + 3_600_000_000, 3)
        assert due.kept[0] >= found
        assert len(due.kept) <= 3


@given(st.integers(1, 2**62), st.integers(1, 2**62), st.integers(0, 2**62), st.integers(0, 5))
@examples(100)
def test_grids_and_single_times(anchor: int, every: int, now: int, keep: int) -> None:
    for times in (Interval(anchor, every), Once(anchor)):
        found = times.after(now)
        assert found == 0 or found > now
        due = times.due(anchor, now, keep)
        assert len(due.kept) <= keep
        assert all(one <= now for one in due.kept)


# -- the command line ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def journal_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A journal to look at, for all examples."""
    path = tmp_path_factory.mktemp("inputs") / "j.db"

    async def write() -> None:
        journal = SqliteJournal(path)
        await journal.open()
        await fill(journal)
        await journal.close()

    asyncio.run(write())
    return str(path)


READING = [
    "info",
    "streams",
    "show",
    "tail",
    "state",
    "check",
    "sagas",
    "timeline",
    "verify",
    "read-models",
    "nonsense",
    "",
]
"""Those that only read."""
OPTIONS = [
    "--json", "--after", "--from", "--to", "--backwards", "--long", "-n", "--type", "--category", "--tag", "--at",
    "--version", "--position", "--actors", "--status", "--mermaid", "--journal", "-h", "--", "-", "--nonsense",
]  # fmt: skip
OPERANDS = [
    "Flight/LH441",
    "TripSaga/trip-7",
    "0",
    "-1",
    "1e9",
    "9" * 40,
    "2026-01-01",
    "2026-13-45",
    "demos.trip:ACTORS",
]
words = st.one_of(
    st.sampled_from(OPTIONS), st.sampled_from(OPERANDS), texts.filter(lambda text: "\0" not in text and ":" not in text)
)


@given(st.sampled_from(READING), st.lists(words, max_size=5), st.booleans())
@examples(120, slow=2)
def test_the_command_line(
    capsys: pytest.CaptureFixture[str], journal_file: str, command: str, arguments: list[str], with_journal: bool
) -> None:
    """Whatever is written, there is an answer, or one line that says what is wrong; and a number for the shell."""
    line = [command, *([f"sqlite:{journal_file}"] if with_journal else []), *arguments]
    try:
        code = main(line)
    except SystemExit as ended:  # --help
        code = int(ended.code or 0)
    out, err = capsys.readouterr()
    assert code in (0, 1, 2, 130), line
    assert "Traceback" not in err
    assert code in (0, 1) or err.startswith(PROGRAM) or not command, line
    assert code or out or not err, line
