"""The engines of networks keep the contract."""

import asyncio
from contextvars import ContextVar

import anyio
import pytest

from actors import BadNetworkUrl, NetworkUnusable
from runtime.cluster import MemoryNetwork, NatsNetwork, Network
from runtime.cluster.opening import network_for
from tests.contract.network_contract import Ear, NetworkContract, open_link
from tests.nats import SERVER, needs_server, new_url
from tests.relay import a_relay


class TestMemoryNetwork(NetworkContract):
    @pytest.fixture
    def network(self) -> Network:
        return MemoryNetwork()


@needs_server
class TestNatsNetwork(NetworkContract):
    @pytest.fixture
    def network(self) -> Network:
        return NatsNetwork(new_url())

    async def test_another_system_hears_nothing(self, network: Network) -> None:
        a, ear = await self.join(network, "a")
        b, other = await self.join(NatsNetwork(new_url()), "b")
        await b.listen("work")
        a.send("work", b"hello", 1)
        await ear.until(lambda ear: ear.nobodies)
        assert other.heard == []
        await a.close()
        await b.close()


@needs_server
async def test_a_connection_that_is_lost_is_made_again() -> None:
    async with a_relay(SERVER) as relay:
        network = NatsNetwork(new_url(f"nats://127.0.0.1:{relay.port}"), reconnect_time_wait=0)
        a, b = Ear(), Ear()
        one, other = await open_link(network, "a", a), await open_link(network, "b", b)
        await other.listen("b")
        relay.cut()
        number = 0
        while not b.heard:  # what is sent meanwhile may be lost
            number += 1
            one.send("b", b"%d" % number)
            await asyncio.sleep(0)
        await other.listen("c")
        one.send("c", b"after")
        await b.until(lambda ear: b"after" in ear.heard)
        await one.close()
        await other.close()


async def test_a_server_that_is_not_there_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.cluster.nats.CONNECT", 0.1)
    network = NatsNetwork("nats://ana:secret@127.0.0.1:1", allow_reconnect=False)
    with pytest.raises(NetworkUnusable, match=r"nats://127\.0\.0\.1:1 can't be reached") as caught:
        await open_link(network, "a", Ear())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["nats://", "nats://host?sistem=a", "nats://host?system=a.b", "nats://host:port", "nats://h?system=", "nats://h?x"],
)
def test_a_url_that_can_not_be_meant_is_refused(url: str) -> None:
    with pytest.raises(BadNetworkUrl, match=r"write 'nats://127\.0\.0\.1:4222\?system=trips'"):
        network_for(url)


def test_no_network_has_another_scheme() -> None:
    with pytest.raises(BadNetworkUrl, match=r"no network 'host/x'; write 'nats://") as caught:
        network_for("http://ana:secret@host/x")
    assert "secret" not in str(caught.value)


async def test_what_arrives_is_in_nobodys_context() -> None:
    """The nodes of one process have one event loop, and are as strange to each other as others."""
    who: ContextVar[str] = ContextVar("who", default="nobody")
    seen: list[str] = []

    class Looks(Ear):
        def arrived(self, data: bytes) -> None:
            seen.append(who.get())
            super().arrived(data)

    network, ear = MemoryNetwork(lambda _: (0.0, 0.000_001)), Looks()
    a, b = await open_link(network, "a", Ear()), await open_link(network, "b", ear)
    await b.listen("b")
    who.set("ana")
    a.send("b", b"x")
    await ear.until(lambda ear: len(ear.heard) > 1)
    assert seen == ["nobody", "nobody"]


@needs_server
async def test_one_that_can_not_begin_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = asyncio.all_tasks()

    async def never(*_: object) -> None:
        raise TimeoutError("the server does not answer")

    monkeypatch.setattr("nats.aio.client.Client.flush", never)
    with pytest.raises(NetworkUnusable, match="does not answer"):
        await NatsNetwork(new_url()).link("a", Ear()).open()
    assert asyncio.all_tasks() == before


@needs_server
async def test_one_that_is_cancelled_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before, begun = asyncio.all_tasks(), anyio.Event()

    async def waits(*_: object) -> None:
        begun.set()
        await anyio.sleep_forever()

    monkeypatch.setattr("nats.aio.client.Client.flush", waits)
    monkeypatch.setattr("runtime.cluster.nats.CLOSE", 0.01)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(NatsNetwork(new_url()).link("a", Ear()).open)
        await begun.wait()
        tasks.cancel_scope.cancel()
    assert asyncio.all_tasks() == before
