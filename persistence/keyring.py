"""The keyring: seals values with the keys of their subjects, and opens them. Keys that are new wait here to be kept.

A sealed value is a version byte, the key's id, and nonce and ciphertext of AES-256-GCM; version, id and subject are
authenticated with it. It names its key, so that a value whose key was destroyed is told from one that is damaged, also
when its subject has come back and has another key.
"""

import hashlib
from collections import OrderedDict
from weakref import WeakValueDictionary

import anyio

from persistence.cipher import NONCE_BYTES, TAG_BYTES, Cipher
from persistence.errors import JournalDamaged, KeyMissing
from persistence.keys import ID_BYTES, Key, Keys, new_key

VERSION = b"\x01"
HEAD = len(VERSION) + ID_BYTES
KEPT = 10_000
"""The keys that are kept at hand, those used last; others are looked up again."""


class HeldKey:
    """A key at hand. There is one object for each, as long as anything sealed with it is in memory."""

    __slots__ = ("__weakref__", "_mark", "cipher", "gone", "key")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.gone = key.secret is None
        """Whether it was destroyed: nothing is opened with it any more, not even what is in memory."""
        self.cipher: Cipher | None = None
        self._mark: bytes | None = None
        if key.secret is not None:
            self.cipher = Cipher(key.secret)
            self._mark = hashlib.blake2b(key=key.secret, person=b"mark").digest()

    def mark(self, data: bytes) -> str:
        """Return a hash that is the same for the same data, and that tells nothing to whoever hasn't got the key."""
        assert self._mark is not None
        return hashlib.blake2b(data, key=self._mark, digest_size=16).hexdigest()

    def destroy(self) -> None:
        """Let nothing be sealed or opened with it."""
        self.gone = True
        self.cipher = self._mark = None
        self.key = Key(self.key.id, self.key.subject, None)


class SealedValue:
    """A sealed value, and the key that opens it."""

    __slots__ = ("key", "ring", "text")

    def __init__(self, ring: "Keyring", key: HeldKey, text: bytes) -> None:
        self.ring = ring
        self.key = key
        self.text = text

    @property
    def gone(self) -> bool:
        """Whether its key was destroyed."""
        return self.key.gone


class Keyring:
    """The keys of one runtime; used on one event loop.

    A turn that meets a new subject makes its key in memory. The journal's writer has :meth:`flush` keep what is new
    before it writes the group: so keys cost a commit for each group that has any, no turn waits for the disk, and no
    value is in the journal whose key is not durable.

    Raises:
        KeysUnusable: ``cryptography`` is not installed.
    """

    def __init__(self, keys: Keys) -> None:
        Cipher(bytes(32))  # so that it is found here if it can't be made
        self.keys = keys
        self._alive: WeakValueDictionary[bytes, HeldKey] = WeakValueDictionary()
        self._recent: OrderedDict[str | bytes, HeldKey] = OrderedDict()
        """Held by their ids, and by subjects those that are current."""
        self._new: dict[bytes, HeldKey] = {}
        """Made, and not yet kept."""
        self._dying: dict[bytes, HeldKey] = {}
        """Destroyed in memory, and not yet for good."""
        self._one_at_a_time = anyio.Lock()

    # -- sealing ------------------------------------------------------------------------------------------------

    def seal(self, subject: str, data: bytes) -> SealedValue:
        """Seal data with its subject's key, which is made if there is none.

        Raises:
            KeysUnusable: the keys can't be looked up.
        """
        held = self.current(subject)
        assert held.cipher is not None
        head = VERSION + held.key.id
        return SealedValue(self, held, head + held.cipher.seal(data, head + subject.encode()))

    def open(self, subject: str, text: bytes) -> tuple[SealedValue, bytes | None]:
        """Return a sealed value, and the data in it; None: its key was destroyed.

        Raises:
            KeyMissing: these keys never held the one that it was sealed with.
            JournalDamaged: it is not what was sealed.
            KeysUnusable: the keys can't be looked up.
        """
        head = text[:HEAD]
        if len(text) < HEAD + NONCE_BYTES + TAG_BYTES or head[:1] != VERSION:
            raise _damaged(subject)
        held = self._find(head[1:])
        if held is None:
            raise KeyMissing(
                f"the key {head[1:].hex()} of {subject!r} is not in {self.keys}, and was not destroyed either; open "
                "the journal with the keys that it was written with, or restore a newer backup of them"
            )
        if held.key.subject != subject:
            raise _damaged(subject)
        sealed = SealedValue(self, held, text)
        if held.cipher is None:
            return sealed, None
        data = held.cipher.open(text[HEAD:], head + subject.encode())
        if data is None:
            raise _damaged(subject)
        return sealed, data

    def current(self, subject: str) -> HeldKey:
        """Return a subject's key, which is made if there is none.

        Raises:
            KeysUnusable: the keys can't be looked up.
        """
        held = self._recent.get(subject)
        if held is not None:
            self._recent.move_to_end(subject)
            return held
        key = self.keys.current(subject)
        held = None if key is None else self._alive.get(key.id) or self._hold(key)
        if held is None or held.gone:  # (it may be on its way out)
            held = self._hold(new_key(subject))
            self._new[held.key.id] = held
        self._keep(subject, held)
        return held

    def _find(self, key_id: bytes) -> HeldKey | None:
        held = self._alive.get(key_id)
        if held is None:
            key = self.keys.find(key_id)
            if key is None:
                return None
            held = self._hold(key)
        self._keep(key_id, held)
        return held

    def _hold(self, key: Key) -> HeldKey:
        held = self._alive[key.id] = HeldKey(key)
        return held

    def _keep(self, name: str | bytes, held: HeldKey) -> None:
        recent = self._recent
        recent[name] = held
        recent.move_to_end(name)
        if len(recent) > KEPT:
            recent.popitem(last=False)

    # -- keeping and destroying ---------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Have destroyed what is to be, and kept what is new; what was sealed so far may be written then.

        Raises:
            KeysUnusable: it could not be done; what was sealed with new keys must not be written.
        """
        if not self._new and not self._dying:
            return
        async with self._one_at_a_time:
            if self._dying:
                dying = list(self._dying)
                await self.keys.destroy([self._dying[key_id].key for key_id in dying])
                for key_id in dying:
                    del self._dying[key_id]
            if self._new:  # behind it, for a subject that is back has one key at a time
                new = list(self._new.values())
                await self.keys.add([held.key for held in new])
                for held in new:
                    self._new.pop(held.key.id, None)

    async def forget(self, subject: str) -> list[Key]:
        """Destroy a subject's key; return what is left of it, and of those that the subject had before.

        At once nothing is opened with it any more; it is gone for good when this returns.

        Raises:
            KeysUnusable: it may or may not be gone for good; do it again.
        """
        held = self._recent.pop(subject, None)
        if held is None and (key := self.keys.current(subject)) is not None:
            held = self._alive.get(key.id) or self._hold(key)
        if held is not None:
            held.destroy()
            self._new.pop(held.key.id, None)
            self._dying[held.key.id] = held
        await self.flush()
        return await self.keys.destroyed(subject)


def _damaged(subject: str) -> JournalDamaged:
    return JournalDamaged(f"a sealed value of {subject!r} is damaged: it is not what was written")
