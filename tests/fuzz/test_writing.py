"""Commands that write: whatever follows them, they answer in one line, and harm neither the journal nor other files."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence import SqliteJournal
from persistence.command_line import PROGRAM, main
from tests.fuzz.mutations import examples, mutated, texts
from tests.unit.journals import everything, fill

OPTIONS = ["--json", "--salvage", "--actors", "--views", "--lenient", "--journal", "--", "-", "--nonsense"]
FILES = ["new", "new.db", "j.db", "whole.archive", "cut.archive", "old.db", "folder", "folder/new", "no/new", ""]
"""Some are there, and some are not."""
URLS = ["sqlite:j.db", "sqlite:empty.db", "sqlite:new.db", "sqlite:no/j.db", "sqlite:whole.archive", "memory:"]
NAMES = ["Trips", "demos.trip", "demos.trip:ACTORS", "demos.nowhere", "0"]
# Nothing is written elsewhere: no text leads out of the folder.
words = st.one_of(
    st.sampled_from([*OPTIONS, *FILES, *URLS, *NAMES]),
    texts.filter(lambda text: not set("\0/:").intersection(text) and ".." not in text),
)


async def _filled(path: Path) -> Any:
    journal = SqliteJournal(path)
    await journal.open()
    try:
        if not journal.position:
            await fill(journal)
        return await everything(journal)
    finally:
        await journal.close()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with journals and archives, and what the journal says."""
    folder = tmp_path_factory.mktemp("writing") / "kept"
    (folder / "folder").mkdir(parents=True)
    said = asyncio.run(_filled(folder / "j.db"))
    assert main(["export", f"sqlite:{folder}/j.db", f"{folder}/whole.archive"]) == 0
    whole = (folder / "whole.archive").read_bytes()
    (folder / "cut.archive").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "old.db").write_text("something else")
    return folder, said


@pytest.fixture
def folder(kept: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands run."""
    monkeypatch.delenv("UNDERSTUDY_JOURNAL", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _laid_out(kept: Path, folder: Path) -> Path:
    shutil.rmtree(place := folder / "place", ignore_errors=True)
    shutil.copytree(kept, place)
    return place


def answer(line: list[str], capsys: pytest.CaptureFixture[str]) -> int:
    """Return the exit code of a command line that is answered as it should be."""
    try:
        code = main(line)
    except SystemExit as ended:  # --help
        code = int(ended.code or 0)
    _, err = capsys.readouterr()
    assert code in (0, 1, 2), line
    assert "Traceback" not in err
    assert code in (0, 1) or err.startswith(PROGRAM), (line, err)
    return code


LINES = [
    ["seal", "sqlite:j.db"],
    ["export", "sqlite:j.db", "new"],
    ["import", "sqlite:empty.db", "whole.archive"],
    ["import", "sqlite:empty.db", "cut.archive", "--salvage"],
    ["backup", "sqlite:j.db", "new.db"],
    ["rebuild", "sqlite:j.db", "Trips", "--actors", "demos.trip"],
]


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """Return a command line in which up to three words behind the command are others, more, or left out."""
    line = list(draw(st.sampled_from(LINES)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(1, len(line)))
        line[at : at + draw(st.integers(0, 1))] = draw(st.lists(words, max_size=1))
    return line


@given(lines())
@examples(40, slow=4)
def test_a_command_that_writes(
    capsys: pytest.CaptureFixture[str], kept: tuple[Path, Any], folder: Path, line: list[str]
) -> None:
    source, said = kept
    place = _laid_out(source, folder)
    with pytest.MonkeyPatch.context() as there:
        there.chdir(place)
        answer(line, capsys)
    assert [one.name for one in folder.iterdir()] == ["place"]
    assert asyncio.run(_filled(place / "j.db")) == said
    for name in ("whole.archive", "cut.archive", "old.db"):
        assert (place / name).read_bytes() == (source / name).read_bytes()


@given(st.data(), st.booleans())
@examples(25, slow=4)
def test_an_archive_is_brought_in_whole_or_said_to_be_damaged(
    capsys: pytest.CaptureFixture[str], kept: tuple[Path, Any], folder: Path, data: st.DataObject, salvage: bool
) -> None:
    source, said = kept
    place = _laid_out(source, folder)
    archive = place / "whole.archive"
    archive.write_bytes(data.draw(mutated(archive.read_bytes())))
    line = ["import", f"sqlite:{place}/empty.db", str(archive), *(["--salvage"] if salvage else [])]
    if answer(line, capsys) == 0 and not salvage:
        assert asyncio.run(_filled(place / "empty.db")) == said
