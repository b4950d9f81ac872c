"""Which event loop to measure on."""

import argparse
import asyncio


def _loop(name: str) -> str:
    if name == "uvloop":
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    elif name != "asyncio":
        raise argparse.ArgumentTypeError("asyncio or uvloop")
    return name


def add_loop(parser: argparse.ArgumentParser) -> None:
    """Give a command ``--loop``; all of it then runs on that one."""
    parser.add_argument("--loop", type=_loop, default="asyncio", help="asyncio (the default) or uvloop")
