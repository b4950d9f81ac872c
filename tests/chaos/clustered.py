"""One node of a system of three, each with a journal of its own; made to be killed.

``python -m tests.chaos.clustered NODE FOLDER NETWORK ROUND`` opens it, and says ``open``. The front books trips until
it is told ``stop`` on its input, and says what became of each; it says ``stopped`` when all have come to their end,
also those of the fronts before it. It ends with its input. With a JOURNAL on PostgreSQL behind it, it has all classes.
"""

import asyncio
import sys
from itertools import count
from pathlib import Path

from actors import Actor, OutcomeUnknown, Refused
from runtime import Runtime
from tests.cluster.cast import Book, Confirm, Flight, Mailer, Payments, Trip

IN_FLIGHT = 8
NODES: dict[str, tuple[list[type[object]], list[type[object]]]] = {
    "air": ([Flight], []),
    "pay": ([Payments, Mailer], []),
    "front": ([Trip], [Flight, Payments, Mailer]),
}
"""The classes of each node, and those of others that it asks."""


def command(number: int) -> Book:
    """Return what is wanted: of three trips that want a flight with two seats one is refused, and some can't pay."""
    return Book(f"LH{number // 3}", 1000 if number % 7 == 6 else 10, back=f"back {number // 4}")


ALL: list[type[object]] = [Flight, Payments, Mailer, Trip]
"""The classes of each node, where several share one journal."""


async def book(runtime: Runtime, round_: str, stop: asyncio.Event) -> None:
    numbers = count()

    async def client() -> None:
        while not stop.is_set():
            number = next(numbers)
            trip = f"{round_}-{number}"
            while True:
                try:
                    await runtime.ask(Trip.at(trip), command(number))
                except Refused:
                    print(f"kept refused {trip}", flush=True)
                except OutcomeUnknown:  # two have begun one flight at the same moment, say
                    continue
                else:
                    print(f"kept booked {trip}", flush=True)
                break

    await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))


async def main(node: str, folder: str, network: str, round_: str, journal: str = "") -> None:
    letters = Path(folder) / "letters"

    async def receive(self: Actor, message: Confirm) -> None:
        with letters.open("a") as file:
            file.write(f"{self.message_id}\n")

    Mailer.receive = receive  # type: ignore[method-assign]
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    stop = asyncio.Event()
    actors, remote = (ALL, []) if journal else NODES[node]
    journal = journal or f"sqlite:{folder}/{node}.db"
    async with Runtime(journal, actors, remote=remote, network=network) as runtime:
        print("open", flush=True)
        booking = asyncio.ensure_future(book(runtime, round_, stop)) if Trip in actors else None
        async for _ in reader:
            stop.set()
            if booking is not None:
                await booking
                for saga in await runtime.unfinished():
                    await asyncio.gather(runtime.result(saga), return_exceptions=True)
            print("stopped", flush=True)
        stop.set()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
