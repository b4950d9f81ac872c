"""What the driver of NATS does not see to by itself: that the server has come to what was said, and that all ends."""

import asyncio
import os
from contextlib import suppress

import pytest

from actors import NetworkUnusable
from runtime.cluster import NatsNetwork
from tests.conftest import DESCRIPTORS
from tests.contract.network_contract import Ear, open_link
from tests.nats import SERVER, needs_server, new_url
from tests.relay import Way, a_relay

THERE = int(DESCRIPTORS.is_dir())
"""The server's end of a connection, which is in this process, as far as it is counted."""


@needs_server
async def test_the_server_has_come_to_what_was_said_when_a_call_returns() -> None:
    """Else a message that somebody sends in the next moment finds nobody, or the last words of who leaves are lost."""
    said: dict[Way, bytes] = {"to": b"", "from": b""}

    def watch(way: Way, data: bytes) -> bool:
        said[way] += data
        return True

    def taken() -> bytes:
        """Return what the server has surely come to: it answers a ping when it has come to all that was before it."""
        answered = said["from"].count(b"PONG\r\n")
        return b"".join(said["to"].split(b"PING\r\n")[:answered])

    async with a_relay(SERVER) as relay:
        relay.watch = watch
        link = await open_link(NatsNetwork(new_url(f"nats://127.0.0.1:{relay.port}")), "a", Ear())
        assert b".nobody.a.*" in taken()
        await link.listen("a")
        assert b".a  " in taken()
        await link.share("work", "workers")
        assert b".work workers" in taken()
        await link.leave("work")
        assert taken().count(b"UNSUB") == 1
        link.send("anybody", b"the last word")
        await link.close()
        assert b"the last word" in taken()
        assert taken().count(b"UNSUB") == 2


class Sleeper(asyncio.Protocol):
    """A server that lets anybody in, and may be kept from reading on."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b'INFO {"server_id":"x","version":"2.10.0","max_payload":1048576,"headers":true}\r\n')

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"PONG\r\n" * data.count(b"PING\r\n"))


def sockets() -> int:
    """Count the open ones of this process, where the system tells."""
    found = 0
    for descriptor in os.listdir(DESCRIPTORS) if DESCRIPTORS.is_dir() else ():
        with suppress(FileNotFoundError):  # the listing's own descriptor
            found += os.readlink(DESCRIPTORS / descriptor).startswith("socket:")
    return found


@pytest.mark.parametrize("messages", [1, 64], ids=["some", "more than fits"])
async def test_a_node_leaves_also_while_the_server_takes_nothing(
    messages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.cluster.nats.CLOSE", 0.1)
    sleeper = Sleeper()
    server = await asyncio.get_running_loop().create_server(lambda: sleeper, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    before = sockets()
    link = await open_link(NatsNetwork(f"nats://127.0.0.1:{port}"), "a", Ear())
    sleeper.transport.pause_reading()
    for _ in range(messages):
        link.send("b", b"x" * 1_000_000)
    await link.close()
    assert sockets() == before + THERE, "the node's end is still open"
    sleeper.transport.abort()
    server.close()
    await server.wait_closed()


@needs_server
async def test_a_connection_that_has_fallen_silent_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other end is gone, and nobody has said so: what is sent is not answered, and nothing comes any more."""
    monkeypatch.setattr("runtime.cluster.nats.PING", 0.05)
    async with a_relay(SERVER) as relay:
        ear, network = Ear(), new_url()
        one = await open_link(NatsNetwork(network), "a", Ear())
        url = network.replace(SERVER, f"nats://127.0.0.1:{relay.port}")
        other = await open_link(NatsNetwork(url, reconnect_time_wait=0), "b", ear)
        await other.listen("b")
        silent = True

        def watch(way: Way, data: bytes) -> bool:
            nonlocal silent
            silent = silent and not data.startswith(b"INFO ")  # another connection begins
            return not silent

        relay.watch = watch
        while not ear.heard:
            one.send("b", b"is anybody there?")
            await asyncio.sleep(0)
        await one.close()
        await other.close()


@pytest.mark.parametrize("why", ["too long", "cancelled"])
async def test_a_driver_that_swallows_being_cancelled_does_not_try_for_ever(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does where a connection is refused in the same moment: a node that starts while the server is away."""
    begun, swallowed = asyncio.Event(), 0

    async def connect(*_: object, **__: object) -> None:
        nonlocal swallowed
        while True:
            begun.set()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 2:
                    raise

    monkeypatch.setattr("nats.aio.client.Client.connect", connect)
    monkeypatch.setattr("runtime.cluster.nats.AGAIN", 0.01)
    monkeypatch.setattr("runtime.cluster.nats.CONNECT", 0.01 if why == "too long" else 1_000.0)
    joining = asyncio.ensure_future(NatsNetwork(new_url()).link("a", Ear()).open())
    await begun.wait()
    if why == "cancelled":
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
    else:
        with pytest.raises(NetworkUnusable, match=r"not within 0\.01 seconds"):
            await joining
    assert swallowed == 2
