"""What is left of groups that were written to a disk of the tests' own, and what is read from it."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from persistence.sqlite import Durability
from tests.unit.crashing import group, groups_in, opened
from tests.unit.disk import Disk, Op, PowerCut, lay_out, on_disk, pieces

GROUPS = 6
UNSYNCED = cast("Durability", "off")
"""For what isn't to last."""
Image = dict[str, bytes]
"""Files that may be found after a crash, by their paths."""


class Kills:
    """What a killed process leaves at each boundary of a call to the file system: all that was written so far.

    The files themselves are read there, what is mapped into memory and our own lock among them, for the kernel loses
    nothing of them. SQLite maps its index of the log without asking the VFS; how that was is seen at the next boundary.
    """

    def __init__(self, disk: Disk, folder: Path) -> None:
        self.images: list[tuple[Image, int]] = []
        """The images that differ, and how many groups had been acknowledged."""
        self.boundaries = 0
        self._disk, self._folder = disk, folder
        self._seen: set[int] = set()
        disk.at_boundary = self._take

    def _take(self) -> None:
        self.boundaries += 1
        image = {str(file): file.read_bytes() for file in sorted(self._folder.iterdir())}
        mark = hash((self._disk.acknowledged, *image.items()))
        if mark not in self._seen:
            self._seen.add(mark)
            self.images.append((image, self._disk.acknowledged))


async def written_groups(
    path: Path, durability: Durability = "full", ends: Sequence[int] = (GROUPS // 2, GROUPS)
) -> tuple[Disk, Kills]:
    """Write groups, with checkpoints among them; return what the disk saw. ``ends``: up to which each opening goes."""
    with on_disk() as disk:
        kills = Kills(disk, path.parent)
        for end in ends:
            async with opened(path, durability) as journal:
                for number in range(disk.acknowledged, end):
                    await journal.append(group(number))
                    disk.acknowledged += 1
    return disk, kills


async def groups_left(image: Image, folder: Path) -> int:
    """Open an image with the real engine, return its groups, and make sure that it is whole and can be written on."""
    lay_out(image, folder)
    try:
        return await groups_in(folder / "journal.db", UNSYNCED)
    finally:
        shutil.rmtree(folder)


def torn_images(ops: Sequence[Op], ending: str, every: int = 1) -> Iterator[tuple[Image, Op]]:
    """Yield the images with a write that was cut at each boundary of a sector within it, and that write.

    What came before it is there. Of the write itself either the sectors in front of the cut are, as a process leaves it
    that is killed in the middle, or those behind it, for a disk may write them in any order. ``ending``: only writes
    to files with it, and of those one in ``every``.
    """
    writes = [number for number, op in enumerate(ops) if op.what == "write" and op.path.endswith(ending)]
    for number in writes[::every]:
        op = ops[number]
        cut = list(pieces(op))
        for at in range(1, len(cut)):
            for part in (cut[:at], cut[at:]):
                there = [op._replace(offset=offset, data=data) for offset, data in part]
                yield PowerCut([*ops[:number], *there]).image(lambda: "kept"), op
