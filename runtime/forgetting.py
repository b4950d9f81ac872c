"""Forgetting people: a key is destroyed, then an event says so, also if the process dies between."""

from collections.abc import Sequence

from actors import Saga, Service, SubjectForgotten
from persistence import Key, KeysUnusable
from persistence.connection import shielded
from persistence.keyring import Keyring
from runtime.directory import Directory
from runtime.inspection import Inspection
from runtime.log import log
from runtime.node import Node
from runtime.origin import caller
from runtime.personal import holds_personal
from runtime.replay import stream
from runtime.subjects import SUBJECTS, NoteForgotten


class Forgetting(Inspection):
    """The part of a runtime that forgets people."""

    async def forget_subject(self, subject: str, /) -> None:
        """Forget all personal values of a subject, by destroying the key that they were sealed with.

        From here on they read as forgotten: in memory, in history, in states, in read models that are built anew, and
        in every backup and export of the journal. Services and sagas in memory are read again from the journal. What
        follows :class:`actors.SubjectForgotten` is told, once for each key. All of it is durable when this returns; a
        subject of which nothing is known is no error. One that comes back gets a new key.

        A read model's rows are its author's to blank, and what a plain actor has kept is its author's to drop. A
        command that waits in a mailbox is as one that comes later: ask nothing more about a subject, then forget it.

        Raises:
            KeysUnusable: the runtime has no keys, or they can't be written; forget it again.
            OutcomeUnknown: it is forgotten, but the event may not be in the journal; forget it again. The next start
                writes it, too.
        """
        node = self._open_node()
        ring = node.personal.ring
        if ring is None:
            raise KeysUnusable('the runtime has no keys to destroy; write Runtime(..., keys=KeyFile("trips.keys"))')
        await shielded(_forget(node, ring, subject))


async def _forget(node: Node, ring: Keyring, subject: str) -> None:
    keys = await ring.forget(subject)
    _read_again(node.directory)
    await tell(node, keys)


def _read_again(directory: Directory) -> None:
    """Have what may hold values, or what was made of them, read again from the journal."""
    kinds = directory.kinds(Saga)
    kinds += [kind for kind in directory.kinds(Service) if any(map(holds_personal, kind.events.values()))]
    for cell in directory:
        if cell.kind in kinds:
            cell.read_again()


async def tell(node: Node, keys: Sequence[Key]) -> None:
    """Write that keys were destroyed into the journal, each once.

    Raises:
        OutcomeUnknown: it may or may not be there.
    """
    for key in keys:
        key_id = key.id.hex()
        await node.ask(SUBJECTS, NoteForgotten(key.subject, key_id), request_id=key_id, origin=caller())


async def reconcile(node: Node) -> list[Key]:
    """Compare keys and journal, before anything is read. Return the destroyed keys of which the journal doesn't know.

    A key that is there, but that the journal knows as destroyed, comes from a backup: it is destroyed again.
    """
    journal, ring = node.journal, node.personal.ring
    if ring is None:
        return []
    name = (SUBJECTS.actor, SUBJECTS.key)
    told = (await journal.heads([name])).get(name, 0)
    if told == await ring.keys.count_destroyed():
        return []  # one event for each
    kind = node.kind(SUBJECTS.actor)
    in_journal: dict[bytes, Key] = {}
    async for record in stream(journal, SUBJECTS):
        for event in kind.read(record):
            assert isinstance(event, SubjectForgotten)
            key_id = bytes.fromhex(event.key)
            in_journal[key_id] = Key(key_id, event.subject, None)
    destroyed = {key.id: key for key in await ring.keys.destroyed()}
    back = [key for key_id, key in in_journal.items() if key_id not in destroyed]
    if back:
        log.warning("keys of forgotten subjects were back, and are destroyed again", keys=len(back))
        await ring.keys.destroy(back)
    return [key for key_id, key in destroyed.items() if key_id not in in_journal]
