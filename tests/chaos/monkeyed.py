"""A process with a monkey in it, whose child may have a child of its own; made to be ended in the middle of it.

``python -m tests.chaos.monkeyed FIFO "with a child"`` (or ``alone``) prints ``ready`` when they are there. They hold
the FIFO open to their end.
"""

import asyncio
import sys

from runtime.simulation.monkey import ChaosMonkey

GRANDCHILD = """
import sys, time
held = open(sys.argv[1], "w")
print("grandchild", flush=True)
time.sleep(3600)
"""
CHILD = f"""
import subprocess, sys, time
held = open(sys.argv[1], "w")
if sys.argv[2] != "alone":
    child = subprocess.Popen([sys.executable, "-c", {GRANDCHILD!r}, sys.argv[1]], stdout=subprocess.PIPE)
    child.stdout.readline()
print("child", flush=True)
time.sleep(3600)
"""


async def main(*arguments: str) -> None:
    lines: list[str] = []
    async with ChaosMonkey([sys.executable, "-c", CHILD, *arguments], signals=(), on_line=lines.append) as monkey:
        await monkey.until(lambda: lines)
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
