"""A PostgreSQL server of a test's own: one that it may restart, or that has TLS and passwords.

Its programs are looked for in ``UNDERSTUDY_POSTGRES_BIN``, in the path, and where systems put them. In CI tests fail
where there are none.
"""

import asyncio
import ctypes
import os
import pwd
import shutil
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest

from persistence.errors import JournalUnusable
from persistence.postgres_client import connect
from persistence.postgres_url import parse_url

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin")
PATIENCE = 120.0
"""Seconds until a server that does not come up is given up."""
STOPS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
Stop = Literal["fast", "immediate"]

needs_own_server = pytest.mark.own_server


@cache
def programs() -> Path | None:
    """Where the server's programs are; the newest version's, where there are several."""
    named = [os.environ.get("UNDERSTUDY_POSTGRES_BIN", "")]
    in_path = shutil.which("initdb")
    found = [str(Path(in_path).resolve().parent)] if in_path else []
    usual = [str(path) for place in PLACES for path in Path("/").glob(place[1:])]
    usual.sort(key=lambda path: [int(part) for part in "".join(c if c.isdigit() else " " for c in path).split()])
    for place in (*named, *found, *reversed(usual)):
        if place and all((Path(place) / name).exists() for name in ("initdb", "postgres")):
            return Path(place)
    return None


def missing() -> str:
    """Why no server can be started, or nothing."""
    return "" if programs() else "there is no initdb; install the server, or name its folder in UNDERSTUDY_POSTGRES_BIN"


def answers() -> bool:
    """Whether tests that need a server of their own run: where there is one, and in CI in any case."""
    return bool(os.environ.get("CI")) or not missing()


def _user() -> dict[str, Any]:
    """Return who runs the server, which root may not."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _end_with_us() -> None:
    """Have the system end the server at once should the tests' process die."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


class Server:
    """A server in a folder of its own, on a port of its own."""

    def __init__(self, folder: Path, options: Sequence[str]) -> None:
        self.folder = folder
        self.data = folder / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._options = options
        self._process: Process | None = None

    def url(self, **options: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres" + (f"?{query}" if query else "")

    async def run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs as the server's user."""
        where = programs()
        if where is None:
            pytest.fail(missing())
        process = await asyncio.create_subprocess_exec(
            where / program, *arguments, cwd=self.folder, stdout=PIPE, stderr=PIPE, **_user()
        )
        _, said = await process.communicate()
        assert process.returncode == 0, said.decode()

    async def start(self) -> None:
        """Start it, and wait until it lets somebody in."""
        where = programs()
        assert where is not None
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                where / "postgres", "-D", self.data, "-p", f"{self.port}", *self._options,
                cwd=self.folder, stdin=DEVNULL, stdout=log, stderr=log, preexec_fn=_end_with_us, **_user(),
            )  # fmt: skip
        async with asyncio.timeout(PATIENCE):
            while True:
                assert self._process.returncode is None, (self.folder / "log").read_text()
                try:
                    await (await connect(parse_url(self.url()))).shut()
                except JournalUnusable:
                    await asyncio.sleep(0.02)
                else:
                    return

    async def stop(self, how: Stop = "fast") -> None:
        """Stop it: ``fast`` ends all sessions and writes everything down, ``immediate`` is as good as a crash."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.send_signal(STOPS[how])
            await process.wait()

    def keep(self, name: str, content: bytes) -> None:
        """Write a file into the server's folder, for its eyes only."""
        path = self.data / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        if user := _user():
            os.chown(path, user["user"], user["group"])

    async def value(self, query: str) -> Any:
        """Return the one value of a query."""
        link = await connect(parse_url(self.url()))
        try:
            ((value,),) = await link.fetch(query)
        finally:
            await link.shut()
        return value

    async def script(self, statements: str, **options: str) -> None:
        """Run SQL."""
        link = await connect(parse_url(self.url(**options)))
        await link.script(statements)
        await link.shut()


@asynccontextmanager
async def a_server(*options: str, authentication: str = "trust") -> AsyncGenerator[Server]:
    """Yield a server that is up; ``options`` are added to its command line."""
    folder = Path(tempfile.mkdtemp(prefix="understudy-"))
    server = Server(
        folder,
        ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "shared_buffers=16MB", *options],
    )
    try:
        if user := _user():
            os.chown(folder, user["user"], user["group"])
        await server.run(
            "initdb", "-D", f"{server.data}", "-U", "postgres", "-A", authentication, "-E", "UTF8", "--locale=C", "-N"
        )
        await server.start()
        yield server
    finally:
        await server.stop("immediate")
        shutil.rmtree(folder)
