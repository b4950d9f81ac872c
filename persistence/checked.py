"""A journal that may be damaged in ways that no reader finds, and can look for that."""

from abc import ABC, abstractmethod

from persistence.progress import Progress, no_progress


class Checked(ABC):
    """What an engine adds to its journal whose files may be damaged unseen."""

    unchecked: bool = False
    """Whether opening has left damage to be looked for by :meth:`check`, for that would take too long."""

    @abstractmethod
    async def check(self, progress: Progress = no_progress, rest: float = 0.0) -> None:
        """Look for damage that no reader would find, in all that is kept, with ``rest`` seconds between short looks.

        Raises:
            JournalDamaged: what leads to the events does not fit them; what is read may be wrong.
            RecordDamaged: only events themselves are not what was written.
        """
