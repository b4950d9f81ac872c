"""Locks that steps of sagas take at services of another node: held, kept from others, and given back at the end."""

import asyncio
from datetime import timedelta

import pytest

from actors import SagaKilled
from tests.cluster.plays import asks_for, end_of, open_all, whatever_happens
from tests.cluster.village import Nodes, Village, play
from tests.runtime.locking import (
    Anthology,
    Collect,
    Page,
    Queued,
    Tale,
    Tell,
    Write,
    check_lines,
    check_locks,
)
from tests.runtime.tools import content, of, types_of

NODES: Nodes = {"pages": ([Page, Queued], []), "front": ([Tale], [Page, Queued])}
FAMILY: Nodes = {
    "pages": ([Queued], []),
    "tales": ([Tale], [Queued, Page]),
    "front": ([Anthology], [Queued, Tale]),
}
ANA, BO = Tale.at("ana"), Tale.at("bo")


def check(village: Village) -> None:
    """Check that nobody came between, that all locks are back, and that what is written belongs to tales that ended
    well.
    """
    check_locks(village.journals["pages"].records)
    check_lines([record for journal in village.journals.values() for record in journal.records])


def taken(village: Village) -> set[tuple[str, str]]:
    """Return which locks were taken, and by whom."""
    locked = of(village.journals["pages"].records, "service.locked")
    return {(record.stream[1], "/".join(content(record)["holder"])) for record in locked}


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_sagas_that_wait_in_line_for_locks_of_another_node_all_come_through(ends: str) -> None:
    def through(village: Village) -> None:
        check(village)
        assert end_of(village, ANA) == ("saga.completed" if ends == "well" else "saga.compensated")
        assert end_of(village, BO) == "saga.completed"
        assert taken(village) == {("p", "Tale/ana"), ("p", "Tale/bo"), ("q", "Tale/bo")}

    whatever_happens(None, through, NODES, {ANA: Tell(["p"], nap=1, ends=ends), BO: Tell(["p", "q"])})


def test_a_lock_of_another_node_is_refused_to_others_until_its_saga_has_ended() -> None:
    def refused(village: Village) -> None:
        check(village)
        ends = {end_of(village, ANA), end_of(village, BO)}
        assert "saga.completed" in ends
        assert {who for _, who in taken(village)} == {"Tale/ana", "Tale/bo"}

    whatever_happens(None, refused, NODES, {ANA: Tell(["p"], of="Page", nap=1), BO: Tell(["q", "p"], of="Page")})


def test_a_child_on_a_third_node_passes_under_its_parents_lock() -> None:
    def family(village: Village) -> None:
        check(village)
        assert end_of(village, Anthology.at("a")) == "saga.completed"
        assert taken(village) == {("p", "Anthology/a"), ("p", "Tale/a.0"), ("q", "Tale/a.0")}

    whatever_happens(None, family, FAMILY, {Anthology.at("a"): Collect(["p"], [Tell(["p", "q"])])})


def test_what_is_late_of_a_saga_that_was_killed_takes_no_lock() -> None:
    async def main(village: Village) -> None:
        await open_all(village)
        front = village.runtimes["front"]
        village.fate = lambda sent: (30.0,) if asks_for(sent, "Tale/ana#p") else (0.0,)
        asked = asyncio.ensure_future(front.ask(ANA, Tell(["p"])))
        await asyncio.sleep(0.2)
        await front.saga(ANA).kill(by="ana", reason="enough")
        with pytest.raises(SagaKilled):
            await asked
        await asyncio.sleep(90)
        assert types_of(village.journals["pages"].records, Queued.at("p")) == ["service.fenced"]
        assert await front.ask(Queued.at("p"), Write("one bo", "bo")) == 1

    play(main, NODES)


def test_locks_are_given_back_however_long_the_network_is_away() -> None:
    async def main(village: Village) -> None:
        await open_all(village)
        front, pages = village.runtimes["front"], village.runtimes["pages"]
        asked = asyncio.ensure_future(front.ask(ANA, Tell(["p"], nap=5)))
        await asyncio.sleep(2)
        village.network.cut_off(village.links["pages"])
        assert await asked == 1
        await asyncio.sleep(300)
        assert [lock.holder for lock in await pages.locks(Queued.at("p"))] == [ANA]
        assert await front.unfinished() == [ANA]
        village.network.let_in(village.links["pages"])
        await asyncio.sleep(30)
        assert await pages.locks(Queued.at("p")) == []
        assert await front.unfinished() == []

    play(main, NODES)


def test_a_step_that_is_tried_again_while_it_waits_in_line_has_one_place() -> None:
    class Hasty(Tale):
        timeout = timedelta(seconds=2)

    Hasty.__name__ = "Tale"

    async def main(village: Village) -> None:
        await village.start("pages")
        village.nodes = {**NODES, "front": ([Hasty], [Page, Queued])}
        front = await village.start("front")
        pages = village.runtimes["pages"]
        asked = [asyncio.ensure_future(front.ask(ANA, Tell(["p"], nap=20)))]
        await asyncio.sleep(1)
        asked.append(asyncio.ensure_future(front.ask(BO, Tell(["p"]))))
        await asyncio.sleep(12)
        (lock,) = await pages.locks(Queued.at("p"))
        assert (lock.holder, lock.waiting) == (ANA, 1)
        assert await asyncio.gather(*asked) == [1, 1]
        await asyncio.sleep(60)
        check(village)
        failed = of(village.journals["front"].records, "saga.failed")
        assert {record.stream[1] for record in failed} == {"bo"}

    play(main, NODES)


def test_a_circle_of_sagas_of_another_node_is_found() -> None:
    async def main(village: Village) -> None:
        await open_all(village)
        front = village.runtimes["front"]
        commands = {ANA: Tell(["p", "q"], nap=1), BO: Tell(["q", "p"], nap=1)}
        ends = await asyncio.gather(*(front.ask(*one) for one in commands.items()), return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["Refused", "int"]
        assert "each would wait for the next for ever" in str(ends)
        await asyncio.sleep(60)
        check(village)

    play(main, NODES)
