"""The hash chain over a journal: what was sealed can't be changed unseen, not even by who can write the file.

The hash at a position is SHA-256 over the hash at the position before and the digest of the event there, so it is one
number for all that the journal says up to there, and the same in each copy of the journal. Seals are hashes that are
kept beside the events, made by whoever follows the journal, so that writing costs nothing. Who can change the journal
can change its seals as well: write the last one down elsewhere, and have it compared.

Erasing breaks nothing: the digest of what an event was stays in its place. That something was erased is seen in the
journal, not in the chain.
"""

import asyncio
import hashlib
from contextlib import suppress
from math import inf
from typing import NoReturn

from persistence.checksum import digest_of
from persistence.errors import AppendFailed, JournalDamaged, JournalUnusable
from persistence.journal import NEVER, PAGE, Journal, Record, Seal
from persistence.progress import Progress, no_progress

SPAN = 10_000
"""A seal is kept at least each so many events, and so narrow is the place where damage is found."""
EVERY = 60.0
"""Seconds between two seals of :func:`keep_sealing`, unless told otherwise."""
START = Seal(0, bytes(32).hex())
"""Where each chain begins."""


class _Chain:
    """The chain as far as it was followed."""

    def __init__(self, start: Seal = START) -> None:
        self.position = start.position
        self._hash = bytes.fromhex(start.hash)

    def add(self, record: Record) -> None:
        self._hash = hashlib.sha256(self._hash + bytes.fromhex(digest_of(record))).digest()
        self.position = record.position

    @property
    def seal(self) -> Seal:
        return Seal(self.position, self._hash.hex())


async def seal(journal: Journal, progress: Progress = no_progress) -> Seal:
    """Seal what the journal holds up to its position, from the last seal on; return the new last one.

    Raises:
        JournalDamaged: it ends before its last seal, or a record is not what was written.
    """
    until = journal.position
    start = await journal.last_seal() or START
    if start.position > until:
        raise _ends_early(journal, until, start.position, "sealed")
    try:
        chain = _Chain(start)
    except ValueError:
        raise JournalDamaged(
            f"{journal.url} is damaged: its seal at position {start.position} is no hash; restore it from a backup"
        ) from None
    kept = start.position
    while chain.position < until:
        for record in await _page(journal, chain.position, until):
            chain.add(record)
        if chain.position == until or chain.position - kept > SPAN - PAGE:
            await journal.keep_seals([chain.seal])
            kept = chain.position
        progress(chain.position, until)
    return chain.seal


async def keep_sealing(journal: Journal, every: float = EVERY) -> NoReturn:
    """Seal what is written, ``every`` so many seconds at the most, until cancelled; for the one who holds the journal.

    What can't be sealed just now is sealed the next time.

    Raises:
        JournalDamaged: as :func:`seal` does.
    """
    sealed = 0
    while True:
        await journal.changed(sealed, inf)
        with suppress(AppendFailed, JournalUnusable):
            sealed = (await seal(journal)).position
        await asyncio.sleep(every)


async def verify(journal: Journal, pinned: Seal | None = None, progress: Progress = no_progress) -> Seal:
    """Read the whole journal, and compare it with its seals and with one that was ``pinned`` elsewhere.

    Return the seal of all that was read; it is not kept.

    Raises:
        JournalDamaged: the journal is not what was sealed, and the error names the first span in which; or a record is
            not what was written.
    """
    last = await journal.last_seal()
    until = await journal.changed(NEVER, 0)  # after the seal was read, so that what is sealed by now is there
    for seal, what in ((last, "sealed"), (pinned, "pinned")):
        if seal is not None and seal.position > until:
            raise _ends_early(journal, until, seal.position, what)
    checks = _Checks(journal, pinned)
    chain = _Chain()
    await checks.next_page(0)
    while chain.position < until:
        for record in await _page(journal, chain.position, until):
            chain.add(record)
            await checks.check(chain)
        progress(chain.position, until)
    return chain.seal


class _Checks:
    """The seals to compare with, in their order, a page at a time."""

    def __init__(self, journal: Journal, pinned: Seal | None) -> None:
        self._journal = journal
        self._pinned = pinned
        self._seals: list[Seal] = []
        self._good = 0
        """Up to here all was what was sealed."""

    async def next_page(self, after: int) -> None:
        self._seals = (await self._journal.seals(after))[::-1]

    async def check(self, chain: _Chain) -> None:
        position = chain.position
        if self._seals and position == self._seals[-1].position:
            if chain.seal != self._seals.pop():
                raise self._not("sealed", self._good + 1, position)
            self._good = position
            if not self._seals:
                await self.next_page(position)
        if self._pinned is not None and position == self._pinned.position and chain.seal != self._pinned:
            # The seals fit, but who has changed the events may have changed them too.
            raise self._not("pinned", 1, position)

    def _not(self, what: str, first: int, last: int) -> JournalDamaged:
        return JournalDamaged(
            f"{self._journal.url} is damaged: the events from position {first} to {last} are not what was {what}; "
            "restore it from a backup"
        )


async def _page(journal: Journal, after: int, until: int) -> list[Record]:
    page = await journal.read_all(after, min(PAGE, until - after))
    if not page:
        raise _ends_early(journal, after, until, "written")
    return page


def _ends_early(journal: Journal, position: int, until: int, what: str) -> JournalDamaged:
    return JournalDamaged(
        f"{journal.url} is damaged: it ends at position {position}, but was {what} up to position {until}; "
        "restore it from a backup"
    )
