"""Help that helps: all commands, their options, and examples that work."""

import shlex

import pytest

from persistence.command_line import OURS, parse, parser_of
from tests.command_line.conftest import Run


def test_help(run: Run) -> None:
    done = run("--help")
    assert (done.code, done.err) == (0, "")
    for command in OURS:
        assert f"\n  {command.name} " in done.out
    assert max(map(len, done.lines)) <= 120
    assert run("-h") == run("help") == done
    assert run().out == done.out
    assert run().code == 2


@pytest.mark.parametrize("command", OURS, ids=lambda command: command.name)
def test_each_command_says_more(run: Run, command: object, capsys: pytest.CaptureFixture[str]) -> None:
    name = getattr(command, "name", "")
    with pytest.raises(SystemExit) as ended:
        run(name, "--help")
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert out.startswith(f"usage: python -m persistence {name} [URL]")
    assert "--json" in out
    assert "examples:\n" in out


@pytest.mark.parametrize("command", OURS, ids=lambda command: command.name)
def test_the_examples_can_be_understood(command: object) -> None:
    found = next(each for each in OURS if each is command)
    parser_of(found)
    for example in found.examples:
        example = example.replace("6dc7...e1", "0" * 64)
        parse(found, shlex.split(example), {"UNDERSTUDY_JOURNAL": "sqlite:x.db"})
