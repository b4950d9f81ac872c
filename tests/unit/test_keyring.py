"""Sealing and opening: what is damaged, forgotten, or not these keys' at all is told apart; keys are kept in time."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence import JournalDamaged, Key, KeyMissing, KeysUnusable, MemoryKeys
from persistence.cipher import NONCE_BYTES, TAG_BYTES, Cipher
from tests.extras import need

need("cryptography")
from persistence.keyring import HEAD, KEPT, Keyring  # noqa: E402 (only where its package is)


class SlowKeys(MemoryKeys):
    """Keys on a disk that the test holds back and breaks."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.did: list[str] = []
        self.broken = False
        self.looks = 0

    async def _turn(self, what: str) -> None:
        await self.gate.wait()
        if self.broken:
            raise KeysUnusable("the disk is full")
        self.did.append(what)

    def current(self, subject: str) -> Key | None:
        self.looks += 1
        return super().current(subject)

    def find(self, key_id: bytes) -> Key | None:
        self.looks += 1
        return super().find(key_id)

    async def add(self, keys: Sequence[Key]) -> None:
        await self._turn("add " + " ".join(key.subject for key in keys))
        await super().add(keys)

    async def destroy(self, keys: Sequence[Key]) -> None:
        await self._turn("destroy " + " ".join(key.subject for key in keys))
        await super().destroy(keys)


@given(st.text(min_size=1, max_size=9), st.binary(max_size=99))
def test_what_is_sealed_opens_and_does_not_show(subject: str, data: bytes) -> None:
    ring = Keyring(MemoryKeys())
    one, other = ring.seal(subject, data), ring.seal(subject, data)
    assert one.text != other.text
    assert (len(data) < 4) or data not in one.text
    assert len(one.text) == HEAD + NONCE_BYTES + TAG_BYTES + len(data)
    sealed, opened = ring.open(subject, one.text)
    assert (opened, sealed.text, sealed.gone) == (data, one.text, False)


def test_every_bit_is_looked_at() -> None:
    ring = Keyring(MemoryKeys())
    text = ring.seal("ana", b"x").text
    ring.seal("bob", b"x")
    for bit in range(len(text) * 8):
        wrong = bytearray(text)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(KeyMissing if 8 <= bit < 8 * HEAD else JournalDamaged, match="'ana'"):
            ring.open("ana", bytes(wrong))
    for length in range(len(text)):
        with pytest.raises(JournalDamaged):
            ring.open("ana", text[:length])
    with pytest.raises(JournalDamaged, match="a sealed value of 'bob' is damaged"):
        ring.open("bob", text)  # moved to another person


async def test_other_keys_and_older_copies_are_told_from_forgotten_ones() -> None:
    keys, ring = MemoryKeys(), Keyring(MemoryKeys())
    text = ring.seal("ana", b"x").text
    await ring.flush()
    for others in (keys, MemoryKeys()):
        await others.add([Key(b"12345678", "ana", bytes(32))])  # the same subject, another system
        with pytest.raises(KeyMissing, match=r"the key [0-9a-f]{16} of 'ana' is not in .*restore a newer backup"):
            Keyring(others).open("ana", text)
    await ring.forget("ana")
    sealed, opened = ring.open("ana", text)
    assert (opened, sealed.gone) == (None, True)


async def test_a_subject_that_comes_back_has_another_key_and_the_old_data_stays_gone() -> None:
    keys = MemoryKeys()
    ring = Keyring(keys)
    old = ring.seal("ana", b"x")
    (gone,) = await ring.forget("ana")
    assert old.gone
    assert (gone.id, gone.secret) == (old.text[1:HEAD], None)
    new = ring.seal("ana", b"x")
    await ring.flush()
    for again in (ring, Keyring(keys)):
        assert again.open("ana", old.text)[1] is None
        assert again.open("ana", new.text)[1] == b"x"
        assert again.current("ana").key.id == new.text[1:HEAD]
    assert [key.id for key in await ring.forget("ana")] == [gone.id, new.text[1:HEAD]]
    assert await ring.forget("nobody") == []


async def test_a_key_is_kept_before_what_was_sealed_with_it_is_written() -> None:
    keys = SlowKeys()
    ring = Keyring(keys)
    first = ring.seal("ana", b"x")
    keys.gate.clear()
    one, other = asyncio.create_task(ring.flush()), asyncio.create_task(ring.flush())
    await asyncio.sleep(0)
    ring.seal("bob", b"x")
    assert not one.done()
    assert not other.done()  # not even who comes when another is at it
    keys.gate.set()
    await one
    await other
    await ring.flush()
    assert sorted(" ".join(keys.did).replace("add ", "").split()) == ["ana", "bob"]  # each once
    assert Keyring(keys).open("ana", first.text)[1] == b"x"


async def test_keys_that_could_not_be_kept_are_kept_later() -> None:
    keys = SlowKeys()
    ring = Keyring(keys)
    sealed = ring.seal("ana", b"x")
    keys.broken = True
    with pytest.raises(KeysUnusable, match="full"):
        await ring.flush()
    keys.broken = False
    await ring.flush()
    assert Keyring(keys).open("ana", sealed.text)[1] == b"x"


async def test_forgetting_is_at_once_in_memory_and_done_by_whoever_writes_next() -> None:
    keys = SlowKeys()
    ring = Keyring(keys)
    kept, never_kept = ring.seal("ana", b"x"), ring.seal("bob", b"x")
    del ring._new[never_kept.key.key.id]  # pyright: ignore[reportPrivateUsage]
    await ring.flush()
    ring._new[never_kept.key.key.id] = never_kept.key  # pyright: ignore[reportPrivateUsage]
    keys.broken = True
    for subject in ("ana", "bob"):
        with pytest.raises(KeysUnusable):
            await ring.forget(subject)
    back = ring.seal("ana", b"y")  # with another key, though the disk still has the old one
    assert [ring.open("ana", kept.text)[1], ring.open("bob", never_kept.text)[1]] == [None, None]
    assert ring.open("ana", back.text)[1] == b"y"
    keys.broken = False
    await ring.flush()
    assert keys.did == ["add ana", "destroy ana bob", "add ana"]
    later = Keyring(keys)
    assert [later.open("ana", kept.text)[1], later.open("bob", never_kept.text)[1]] == [None, None]
    assert later.open("ana", back.text)[1] == b"y"


async def test_a_secret_leaves_the_memory() -> None:
    ring = Keyring(MemoryKeys())
    held = ring.current("ana")
    await ring.forget("ana")
    assert (held.gone, held.cipher, held.key.secret) == (True, None, None)
    with pytest.raises(AssertionError):
        held.mark(b"x")


async def test_what_is_at_hand_has_a_limit() -> None:
    keys = SlowKeys()
    ring = Keyring(keys)
    first = ring.seal("0", b"x").text
    for number in range(KEPT + 1):
        ring.seal(str(number), b"x")
        if number % 500 == 0:
            await ring.flush()
    await ring.flush()
    assert len(ring._alive) == KEPT  # pyright: ignore[reportPrivateUsage]
    looks = keys.looks
    assert ring.open("0", first)[1] == b"x"  # looked up again
    ring.seal(str(KEPT), b"x")
    assert keys.looks == looks + 1


def test_a_mark_is_equal_for_equal_data_of_one_subject() -> None:
    keys = MemoryKeys()
    ring, other = Keyring(keys), Keyring(MemoryKeys())
    ana, bob = ring.current("ana"), ring.current("bob")
    assert ana.mark(b"x") == ana.mark(b"x")
    assert len({ana.mark(b"x"), ana.mark(b"y"), bob.mark(b"x"), other.current("ana").mark(b"x")}) == 4


def test_a_cipher_opens_what_it_has_sealed_and_nothing_else() -> None:
    one, other = Cipher(bytes(32)), Cipher(bytes(31) + b"1")
    assert one.open(one.seal(b"x", b"about"), b"about") == b"x"
    assert one.open(one.seal(b"x", b"about"), b"else") is None
    assert other.open(one.seal(b"x", b"about"), b"about") is None
    assert one.open(b"short", b"") is None
