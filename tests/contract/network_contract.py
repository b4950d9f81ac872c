"""What every network must do. Its engines' tests inherit this, and say how one is made."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from runtime.cluster import Link, Network


class Ear:
    """Takes in what comes over a link."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.nobodies: list[int] = []
        self.news = asyncio.Event()

    def arrived(self, data: bytes) -> None:
        self.heard.append(data)
        self.news.set()

    def nobody(self, number: int) -> None:
        self.nobodies.append(number)
        self.news.set()

    async def until(self, happened: Callable[["Ear"], Any]) -> None:
        while not happened(self):
            self.news.clear()
            await self.news.wait()


async def open_link(network: Network, name: str, ear: Ear) -> Link:
    """Join a network."""
    link = network.link(name, ear)
    await link.open()
    return link


class NetworkContract:
    """One suite for all engines."""

    @pytest.fixture
    def network(self) -> Network:
        raise NotImplementedError

    async def join(self, network: Network, name: str) -> tuple[Link, Ear]:
        ear = Ear()
        return await open_link(network, name, ear), ear

    async def test_what_is_sent_arrives_in_order(self, network: Network) -> None:
        a, _ = await self.join(network, "a")
        b, ear = await self.join(network, "b")
        await b.listen("b")
        sent = [b"%d" % number for number in range(2_000)]
        for data in sent:
            a.send("b", data)
        await ear.until(lambda ear: len(ear.heard) == len(sent))
        assert ear.heard == sent
        await a.close()
        await b.close()

    async def test_a_node_hears_itself(self, network: Network) -> None:
        a, ear = await self.join(network, "a")
        await a.listen("a")
        a.send("a", b"echo", 1)
        await ear.until(lambda ear: ear.heard)
        assert (ear.heard, ear.nobodies) == ([b"echo"], [])
        await a.close()

    async def test_of_those_who_share_one_is_told(self, network: Network) -> None:
        a, _ = await self.join(network, "a")
        b, one = await self.join(network, "b")
        c, other = await self.join(network, "c")
        other.news = one.news
        await b.share("work", "workers")
        await c.share("work", "workers")
        await b.listen("b")
        await c.listen("c")
        for number in range(200):
            a.send("work", b"%d" % number)
        await one.until(lambda _: len(one.heard) + len(other.heard) == 200)
        assert sorted([*one.heard, *other.heard], key=int) == [b"%d" % number for number in range(200)]
        assert one.heard
        assert other.heard
        for link in (a, b, c):
            await link.close()

    async def test_of_those_who_share_one_of_each_group_is_told(self, network: Network) -> None:
        joined = [await self.join(network, name) for name in "abcd"]
        (a, _), (b, one), (c, other), (d, alone) = joined
        other.news = alone.news = one.news
        await b.share("work", "two")
        await c.share("work", "two")
        await d.share("work", "one")
        for number in range(100):
            a.send("work", b"%d" % number)
        await one.until(lambda _: len(one.heard) + len(other.heard) + len(alone.heard) == 200)
        sent = [b"%d" % number for number in range(100)]
        assert sorted([*one.heard, *other.heard], key=int) == alone.heard == sent
        await d.leave("work")
        a.send("work", b"one more")
        await one.until(lambda _: len(one.heard) + len(other.heard) == 101)
        for link, _ in joined:
            await link.close()
        assert alone.heard == sent

    async def test_that_nobody_listens_is_told_by_number(self, network: Network) -> None:
        a, ear = await self.join(network, "a")
        b, there = await self.join(network, "b")
        await b.listen("b")
        a.send("nowhere", b"1", 7)
        a.send("nowhere", b"2")  # of this nobody wants to know
        a.send("b", b"3", 8)
        a.send("nowhere", b"4", -9)
        await ear.until(lambda ear: len(ear.nobodies) == 2)
        await there.until(lambda ear: ear.heard)
        assert ear.nobodies == [7, -9]
        assert there.heard == [b"3"]
        await a.close()
        await b.close()

    async def test_who_has_left_a_subject_hears_no_more_of_it(self, network: Network) -> None:
        a, ear = await self.join(network, "a")
        b, there = await self.join(network, "b")
        await b.share("work", "workers")
        await b.listen("b")
        await b.leave("work")
        a.send("work", b"too late", 1)
        await ear.until(lambda ear: ear.nobodies)
        a.send("b", b"still there")
        await there.until(lambda ear: ear.heard)
        assert there.heard == [b"still there"]
        await a.close()
        await b.close()

    async def test_what_was_sent_before_closing_leaves(self, network: Network) -> None:
        a, _ = await self.join(network, "a")
        b, ear = await self.join(network, "b")
        await b.listen("b")
        for number in range(100):
            a.send("b", b"%d" % number)
        await a.close()
        await ear.until(lambda ear: len(ear.heard) == 100)
        await b.close()

    async def test_to_who_has_left_nothing_comes(self, network: Network) -> None:
        a, ear = await self.join(network, "a")
        b, _ = await self.join(network, "b")
        await b.listen("b")
        await b.close()
        a.send("b", b"hello", 3)
        await ear.until(lambda ear: ear.nobodies)
        assert ear.nobodies == [3]
        await a.close()
        a.send("b", b"nobody sends this")

    async def test_the_largest_message_arrives(self, network: Network) -> None:
        a, _ = await self.join(network, "a")
        b, ear = await self.join(network, "b")
        await b.listen("b")
        assert a.largest >= 1_000_000
        data = b"x" * a.largest
        a.send("b", data)
        await ear.until(lambda ear: ear.heard)
        assert ear.heard == [data]
        await a.close()
        await b.close()
