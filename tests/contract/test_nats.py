"""What the driver of NATS does not see to by itself: that the server has come to what was said, and that all ends."""

import asyncio

import pytest

from runtime.cluster import NatsNetwork
from tests.contract.network_contract import Ear
from tests.nats import SERVER, needs_server, new_url
from tests.relay import Way, a_relay


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
        link = await NatsNetwork(new_url(f"nats://127.0.0.1:{relay.port}")).connect("a", Ear())
        assert b".nobody.a.*" in taken()
        await link.listen("a")
        assert b".a  " in taken()
        await link.share("work")
        assert b".work understudy" in taken()
        await link.leave("work")
        assert taken().count(b"UNSUB") == 1
        link.send("anybody", b"the last word")
        await link.close()
        assert b"the last word" in taken()
        assert taken().count(b"UNSUB") == 2


class Sleeper(asyncio.Protocol):
    """A server that reads nothing more when it has fallen asleep."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b'INFO {"server_id":"x","version":"2.10.0","max_payload":1048576,"headers":true}\r\n')

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"PONG\r\n" * data.count(b"PING\r\n"))

    def fall_asleep(self) -> None:
        self.transport.pause_reading()


@pytest.mark.parametrize("messages", [1, 64], ids=["some", "more than fits"])
async def test_a_node_leaves_also_while_the_server_takes_nothing(
    messages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.cluster.nats.CLOSE", 0.1)
    sleeper = Sleeper()
    server = await asyncio.get_running_loop().create_server(lambda: sleeper, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = await NatsNetwork(f"nats://127.0.0.1:{port}").connect("a", Ear())
    sleeper.fall_asleep()
    for _ in range(messages):
        link.send("b", b"x" * 1_000_000)
    await link.close()
    sleeper.transport.abort()
    server.close()
    await server.wait_closed()


@needs_server
async def test_a_connection_that_has_fallen_silent_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other end is gone, and nobody has said so: what is sent is not answered, and nothing comes any more."""
    monkeypatch.setattr("runtime.cluster.nats.PING", 0.05)
    async with a_relay(SERVER) as relay:
        ear, network = Ear(), new_url()
        one = await NatsNetwork(network).connect("a", Ear())
        url = network.replace(SERVER, f"nats://127.0.0.1:{relay.port}")
        other = await NatsNetwork(url, reconnect_time_wait=0).connect("b", ear)
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
