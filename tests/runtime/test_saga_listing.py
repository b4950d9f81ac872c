"""Listing the sagas that have not ended, while they go to sleep and are woken."""

from persistence import AT_ONCE, Append, MemoryJournal, NewEvent
from persistence.journal import PAGE
from runtime.saga_progress import unfinished


async def sleeping(number: int) -> MemoryJournal:
    """A journal in which so many sagas sleep, each until a time of its own, from 1,000 on."""
    journal = MemoryJournal()
    await journal.open()
    for n in range(number):
        await journal.append(
            [(Append(("Trip", f"{n}"), 0, [NewEvent("saga.started", b"{}", b"{}")], 1, wake=1_000 + n),)]
        )
    return journal


async def move(journal: MemoryJournal, key: str, wake: int) -> None:
    await journal.append([(Append(("Trip", key), 1, [], 2, wake=wake),)])


async def test_one_that_sleeps_on_meanwhile_is_listed_once() -> None:
    journal = await sleeping(PAGE + 10)
    listed: list[str] = []
    async for address in unfinished(journal, ()):
        listed.append(address.key)
        if len(listed) == 5:
            await move(journal, "2", 1_000_000)  # behind all others, on the page to come
    assert listed == [f"{n}" for n in range(PAGE + 10)]
    await journal.close()


async def test_one_that_is_woken_meanwhile_is_listed_all_the_same() -> None:
    journal = await sleeping(PAGE + 10)
    listed: list[str] = []
    async for address in unfinished(journal, {"Room"}):
        listed.append(address.key)
        if len(listed) == 5:
            await move(journal, f"{PAGE + 5}", AT_ONCE)  # it was to be on the page to come
    assert sorted(listed, key=int) == [f"{n}" for n in range(PAGE + 10)]
    assert listed[-1] == f"{PAGE + 5}"
    await journal.close()
