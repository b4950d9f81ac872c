"""Trouble with the journal: what is tried, and how often, when it could not be written."""

import asyncio
from collections.abc import Awaitable, Callable

from actors import NetworkUnusable
from persistence import Journal, JournalDamaged, JournalError, JournalTaken, RecordDamaged
from persistence.checked import Checked
from persistence.writer import Writer
from runtime.log import log
from runtime.promises import Promises
from runtime.timers import Timers

AT_ONCE = 2
"""Attempts without a pause: most trouble is over when it is noticed."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between further attempts; each pause is twice as long as the last one."""
REST = 0.05
"""Seconds between short looks (10 ms) at a journal that is checked while it is in use: 10,000 events a second."""


class Trouble:
    """The way back from an append that failed.

    What passes (a full disk, a server that is away) is tried until it has passed. What doesn't, ends the writer: the
    journal belongs to another process, or it is damaged, and each further write would build on the damage.
    """

    def __init__(self, writer: Writer, promises: Promises, delays: Timers) -> None:
        self._writer = writer
        self._promises = promises
        self._delays = delays
        self.taken: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        """Done when another process has taken this one's place at the journal, or on the network."""
        self.damage: str | None = None
        """What was found when the journal was checked while it was in use."""
        self._attempts = 0
        """How often the journal has been lost since something became durable."""

    def over(self) -> None:
        """Take note that something has become durable."""
        self._attempts = 0

    async def mend(self, error: BaseException, begin_again: Callable[[], Awaitable[None]]) -> None:
        """Try ``begin_again`` until it succeeds, or end the writer where it never will."""
        while not self._is_final(error):
            self._attempts += 1
            if self._attempts > AT_ONCE:
                # Nothing has become durable in the meantime: a full disk, say. Waking would send all again.
                doublings = min(self._attempts - AT_ONCE - 1, 10)
                await self._delays.pause(min(FIRST_PAUSE * 2**doublings, LONGEST_PAUSE))
            try:
                await begin_again()
                return
            except Exception as again:  # noqa: BLE001 (a full or a broken disk; it is tried until it is mended)
                error = again
                if not self._is_final(error):
                    log.error("the journal is not usable", error=repr(error), attempt=self._attempts)
        self.end(error)

    async def look(self, journal: Journal) -> None:
        """Look for the damage that opening has left to be looked for, beside all other work."""
        if not isinstance(journal, Checked) or not journal.unchecked:
            return
        try:
            await journal.check(rest=REST)
        except RecordDamaged as error:
            self.damage = str(error)
            log.critical("events of the journal are damaged, who reads them is stopped", error=self.damage)
        except JournalDamaged as error:
            self.damage = str(error)
            self.end(error)
        except JournalError as error:
            log.warning("the check of the journal was cut short", error=str(error))
        else:
            log.info("the journal was checked, and is whole", position=journal.position)

    def end(self, error: BaseException) -> None:
        """Write nothing any more, and say so: to the log, to who waits for a reply, and in the stats."""
        if isinstance(error, JournalTaken):  # whoever has it does what is unfinished in it
            log.error("the journal belongs to another process, this one is out", error=str(error))
            self._out(error)
        else:
            log.critical("the journal is damaged, nothing is written any more", error=str(error))
            self._end(error)

    def rivalled(self, error: NetworkUnusable) -> None:
        """Do nothing any more, for another node has some of the actors of this one."""
        log.critical("another node serves the same classes from another journal, this one is out", error=str(error))
        self._out(error)

    def _out(self, error: Exception) -> None:
        if not self.taken.done():  # the runtime is not being left anyway
            self.taken.set_result(error)
        self._end(error)

    def _end(self, error: BaseException) -> None:
        self._writer.end(error)
        self._promises.lose_all(str(error))

    def _is_final(self, error: BaseException) -> bool:
        return isinstance(error, JournalTaken | JournalDamaged) and not isinstance(error, RecordDamaged)
