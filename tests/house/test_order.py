"""The order of the house: who may import whom, how long things may be, what every package and module has.

The rules are functions of sources, so that each is also tried on a house that breaks it.
"""

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = {
    "demos": {"demos", "runtime", "actors", "persistence"},
    "runtime": {"runtime", "actors", "persistence"},
    "actors": {"actors"},
    "persistence": {"persistence"},
}
"""What each package may import of the house."""
NEVER = {"tests", "benchmarks"}
ACTORS_LIBRARIES = {"msgspec"}
FILE_LINES, FUNCTION_LINES = 400, 60

House = Mapping[str, str]
"""Sources by path, like ``{"actors/saga.py": "..."}``."""


def read_house() -> House:
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for package in FLOORS
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(house: House) -> Iterator[tuple[str, str]]:
    """Yield (importing module, imported module), wherever in the file the import stands."""
    modules = {module_of(path) for path in house}
    for path, source in house.items():
        module = module_of(path)
        package = module if path.endswith("/__init__.py") else module.rpartition(".")[0]
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                yield from ((module, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                origin = ".".join([*above, *([node.module] if node.module else [])])
                # "from package import name" imports the module of that name where there is one.
                for name in (f"{origin}.{alias.name}" for alias in node.names):
                    yield module, name if name in modules else origin


def wrong_ways(house: House) -> list[str]:
    return [
        f"{module} imports {imported}"
        for module, imported in imports(house)
        if (top := imported.partition(".")[0]) in FLOORS.keys() | NEVER and top not in FLOORS[module.partition(".")[0]]
    ]


def foreign_in_actors(house: House) -> list[str]:
    allowed = sys.stdlib_module_names | ACTORS_LIBRARIES | {"actors"}
    return [
        f"{module} imports {imported}"
        for module, imported in imports(house)
        if module.partition(".")[0] == "actors" and imported.partition(".")[0] not in allowed
    ]


def cycle(house: House) -> list[str]:
    """Return the modules of a cycle of imports, if there is one."""
    graph: dict[str, set[str]] = {}
    for module, imported in imports(house):
        graph.setdefault(module, set()).add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found[::-1]
    return []


def long_files(house: House) -> list[str]:
    return [f"{path}: {n} lines" for path, source in house.items() if (n := len(source.splitlines())) > FILE_LINES]


def long_functions(house: House) -> list[str]:
    return [
        f"{path}:{node.lineno} {node.name}: {lines} lines"
        for path, source in house.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    ]


def undocumented(house: House) -> list[str]:
    return [path for path, source in house.items() if not ast.get_docstring(ast.parse(source))]


RULES = [wrong_ways, foreign_in_actors, cycle, long_files, long_functions, undocumented]


@pytest.mark.parametrize("rule", RULES)
def test_the_house_is_in_order(rule: Callable[[House], list[str]]) -> None:
    assert rule(read_house()) == []


@pytest.mark.parametrize("package", FLOORS)
def test_every_floor_is_there_and_typed(package: str) -> None:
    assert any(path.startswith(f"{package}/") for path in read_house())
    assert (ROOT / package / "__init__.py").is_file()
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize(
    ("house", "found"),
    [
        ({"actors/a.py": "import runtime"}, ["actors.a imports runtime"]),
        ({"actors/a.py": "from persistence.journal import Record"}, ["actors.a imports persistence.journal"]),
        ({"persistence/p.py": "from actors import Event"}, ["persistence.p imports actors"]),
        ({"persistence/p.py": "def f():\n    import runtime.clock"}, ["persistence.p imports runtime.clock"]),
        ({"runtime/r.py": "if TYPE_CHECKING:\n    import demos.trip"}, ["runtime.r imports demos.trip"]),
        ({"runtime/r.py": "import tests.unit"}, ["runtime.r imports tests.unit"]),
        ({"demos/bank/d.py": "import runtime, actors, persistence\nfrom demos.bank import money"}, []),
        ({"runtime/r.py": "import anyio\nfrom . import clock"}, []),
    ],
)
def test_a_wrong_way_is_seen(house: House, found: list[str]) -> None:
    assert wrong_ways(house) == found


@pytest.mark.parametrize("source", ["import anyio", "from structlog import get_logger", "def f():\n    import anyio"])
def test_a_library_in_actors_is_seen(source: str) -> None:
    assert len(foreign_in_actors({"actors/a.py": source})) == 1
    assert foreign_in_actors({"runtime/a.py": source}) == []
    assert foreign_in_actors({"actors/a.py": "import sys, msgspec.json\nfrom actors.b import c"}) == []


@pytest.mark.parametrize(
    ("house", "found"),
    [
        ({"r/a.py": "import r.b", "r/b.py": "import r.a"}, {"r.a", "r.b"}),
        ({"r/a.py": "from r import b", "r/b.py": "def f():\n    from r.a import x"}, {"r.a", "r.b"}),
        ({"r/a.py": "from .b import x", "r/b.py": "if TYPE_CHECKING:\n    from . import a"}, {"r.a", "r.b"}),
        ({"r/__init__.py": "from r.a import x", "r/a.py": "from r import x"}, {"r", "r.a"}),
        ({"r/s/a.py": "from ..b import x", "r/b.py": "from r.s.a import y"}, {"r.s.a", "r.b"}),
        ({"r/a.py": "import r.b", "r/b.py": "import r.c", "r/c.py": "import r.a"}, {"r.a", "r.b", "r.c"}),
        ({"r/__init__.py": "from r.a import x", "r/a.py": "from r.b import y", "r/b.py": "import sys"}, set[str]()),
    ],
)
def test_a_cycle_is_seen(house: House, found: set[str]) -> None:
    assert set(cycle(house)) == found


def test_what_is_too_long_is_seen() -> None:
    function = "async def f():\n" + "    pass\n" * (FUNCTION_LINES - 1)
    assert long_functions({"a.py": function}) == []
    assert long_functions({"a.py": function + "    pass\n"}) == ["a.py:1 f: 61 lines"]
    assert long_functions({"a.py": "class A:\n    def g(self):\n" + "        pass\n" * 60}) == ["a.py:2 g: 61 lines"]
    assert long_files({"a.py": "\n" * FILE_LINES}) == []
    assert long_files({"a.py": "\n" * FILE_LINES + "x"}) == ["a.py: 401 lines"]


def test_a_missing_docstring_is_seen() -> None:
    assert undocumented({"a.py": '"""A."""', "b.py": "import sys", "c.py": ""}) == ["b.py", "c.py"]
