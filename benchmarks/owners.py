"""Durable commands a second of several processes that write to one PostgreSQL journal, each as an owner of its own.

    python -m benchmarks.owners --postgres URL [--owners 1 2 4] [--in-flight 500] [--seconds 5]

A command is one ask of one of 250 services of the process's own, which answers when its one event is durable. Each
process has ``--in-flight`` of them under way. Counted is what all of them have done in the same seconds.
"""

import argparse
import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE

from benchmarks.raw import SCHEMA, drop
from benchmarks.sagas import Hold, Places
from runtime import Runtime

SERVICES = 250


async def work(url: str, owner: str, in_flight: int, seconds: float) -> None:
    """One process: warm up, say so, wait for the word, and say how much was done."""
    done = 0
    async with Runtime(f"{url}&owner={owner}", actors=[Places]) as runtime:
        await asyncio.gather(*(runtime.ask(Places.at(f"{owner}/{n}"), Hold("warm-up")) for n in range(SERVICES)))
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        end = time.monotonic() + seconds

        async def client(number: int) -> None:
            nonlocal done
            while time.monotonic() < end:
                await runtime.ask(Places.at(f"{owner}/{number % SERVICES}"), Hold(f"t{number}"))
                number += in_flight
                done += 1

        await asyncio.gather(*(client(number) for number in range(in_flight)))
    print(json.dumps(done), flush=True)


async def measure(server: str, owners: int, in_flight: int, seconds: float, option: str) -> float:
    await drop(server)
    url = f"{server}?schema={SCHEMA}{option}"
    arguments = ["--url", url, "--in-flight", f"{in_flight}", "--seconds", f"{seconds}"]
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.owners", "--owner", f"o{n}", *arguments, stdin=PIPE, stdout=PIPE
        )
        for n in range(owners)
    ]
    done = 0
    for process in processes:
        assert process.stdout is not None
        await process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
    for process in processes:
        said, _ = await process.communicate()
        done += int(json.loads(said.splitlines()[-1]))
    await drop(server)
    return done / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="durable commands a second of several owners")
    parser.add_argument("--postgres", metavar="URL", help="a database to work in, in a schema of our own")
    parser.add_argument("--owners", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--in-flight", type=int, default=500, help="commands under way in each process")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--owner", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.url:
        asyncio.run(work(options.url, options.owner, options.in_flight, options.seconds))
        return
    print("owners   commands/s   with notify=off")
    for owners in options.owners:
        told, silent = (
            asyncio.run(measure(options.postgres, owners, options.in_flight, options.seconds, option))
            for option in ("", "&notify=off")
        )
        print(f"{owners:6} {told:12,.0f} {silent:17,.0f}", flush=True)


if __name__ == "__main__":
    main()
