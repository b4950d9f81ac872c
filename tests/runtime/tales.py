"""Tales that lock pages and meet there, told to their ends.

As a program, ``python -m tests.runtime.tales URL WHICH BATCHES``, they are told on a journal, and the process dies when
that has so many batches more.
"""

import asyncio
import sys
from typing import Any

from actors import Refused
from persistence import Journal
from runtime import Chaos, ManualClock, Runtime
from tests.runtime.dying import deadly
from tests.runtime.locking import ALL, Anthology, Collect, Tale, Tell
from tests.runtime.tools import ends, node_of

TALES: dict[str, dict[str, Tell | Collect]] = {
    "fine": {"a": Tell(["p", "q"])},
    "refused": {"a": Tell(["p", "q"], of="Page", nap=5), "b": Tell(["q", "p"], of="Page", nap=5)},
    "in line": {"a": Tell(["p", "q"], nap=5), "b": Tell(["p", "q"]), "c": Tell(["p"], ends="badly")},
    "circle": {"a": Tell(["p", "q"], nap=5), "b": Tell(["q", "p"], nap=5)},
    "circle of three": {
        "a": Tell(["p", "q"], nap=5),
        "b": Tell(["q", "r"], nap=5),
        "c": Tell(["r", "p"], nap=5),
        "d": Tell(["p", "r"], at_once=True),
    },
    "asked": {"a": Collect(["p"], [Tell(["r", "q"], nap=5), Tell(["p"])]), "b": Tell(["q", "p"], nap=5)},
    "asked, badly": {"a": Collect(["p"], [Tell(["p", "r"]), Tell(["q"])], ends="badly"), "b": Tell(["r", "q"])},
}


def begun(runtime: Runtime, **tales: Tell | Collect) -> "dict[str, asyncio.Task[int]]":
    return {
        name: asyncio.create_task(
            runtime.ask(Tale.at(name), tale) if isinstance(tale, Tell) else runtime.ask(Anthology.at(name), tale)
        )
        for name, tale in tales.items()
    }


async def results(asked: "dict[str, asyncio.Task[int]]") -> dict[str, Any]:
    found = await asyncio.gather(*asked.values(), return_exceptions=True)
    return {name: str(one) if isinstance(one, Refused) else one for name, one in zip(asked, found, strict=True)}


async def tell_on(
    journal: str | Journal, clock: ManualClock, tales: dict[str, Tell | Collect], chaos: Chaos | None = None
) -> None:
    """Let all that stands in a journal come to its end, and ask for everything again."""
    async with Runtime(journal, ALL, clock=clock, chaos=chaos) as runtime:
        await ends(runtime, clock)
        asked = begun(runtime, **tales)
        await ends(runtime, clock)
        for name, end in (await results(asked)).items():
            assert isinstance(end, (int, str)), (name, end)
        assert node_of(runtime).lock_waits.tally == {}


if __name__ == "__main__":
    asyncio.run(tell_on(deadly(sys.argv[1], int(sys.argv[3])), ManualClock(), TALES[sys.argv[2]]))
