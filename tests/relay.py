"""A relay between a journal, or a network, and its server, that loses the connection exactly when the test says so."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit

from tests.postgres import SERVER, through, url_of

Way = Literal["to", "from"]


class Relay:
    """Passes on what is said, in whole reads. ``watch`` sees each before it is passed on; with False it is not."""

    def __init__(self, server: str = SERVER) -> None:
        self._server = urlsplit(server)
        self.watch: Callable[[Way, bytes], bool] = lambda way, data: True
        self.port = 0
        self.closed = False
        """Whether nobody gets through: the server is down."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, schema: str) -> str:
        return url_of(schema, through(self.port))

    def cut(self) -> None:
        """Lose all connections; what was on its way back is lost."""
        for writer in self._writers:
            writer.transport.abort()

    def cut_at(self, count: int) -> None:
        """Lose all connections in place of passing on what comes after ``count`` more pieces."""
        left = count

        def watch(way: Way, data: bytes) -> bool:
            nonlocal left
            if left == 0:
                self.watch = lambda way, data: True
                self.cut()
                return False
            left -= 1
            return True

        self.watch = watch

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = self._server
        self._writers.add(writer)
        if self.closed:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(parts.hostname or "127.0.0.1", parts.port or 5432)
        self._writers.add(back)
        for work in (self._pass("to", reader, back), self._pass("from", there, writer)):
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, way: Way, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(1 << 20):
                if self.watch(way, data):
                    target.write(data)
        target.close()

    async def end(self) -> None:
        self.cut()
        while self._tasks:
            await asyncio.wait(self._tasks)


@asynccontextmanager
async def a_relay(server: str = SERVER) -> AsyncGenerator[Relay]:
    relay = Relay(server)
    listening = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = listening.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        listening.close()
        await relay.end()
        await listening.wait_closed()
