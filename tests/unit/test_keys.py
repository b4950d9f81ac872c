"""Keys are durable when they are said to be, and gone to the last byte when they are destroyed."""

import os
import random
import re
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from persistence import JournalInUse, Key, KeyFile, Keys, KeysUnusable, MemoryKeys
from persistence.keys import new_key
from tests.extras import need

MASTER = bytes(range(32))
Make = Callable[[], Keys]


@pytest.fixture(params=["memory", "file", "sealed"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "memory":
        keys = MemoryKeys()
        return lambda: keys
    if request.param == "file":
        return lambda: KeyFile(tmp_path / "my keys?#%.keys")
    need("cryptography")
    return lambda: KeyFile(str(tmp_path / "a.keys"), MASTER)


# -- what all keep -------------------------------------------------------------------------------------------------


async def test_keys_are_found_by_subject_and_by_id_also_by_the_next_process(make: Make) -> None:
    ana, bob = new_key("ana"), new_key("bob'; é\0")
    keys = make()
    await keys.open()
    assert keys.current("ana") is None
    assert keys.find(ana.id) is None
    await keys.add([ana, bob])
    await keys.add([ana])  # there already
    for _ in range(2):
        assert (keys.current("ana"), keys.current("bob'; é\0"), keys.current("an")) == (ana, bob, None)
        assert (keys.find(ana.id), keys.find(bob.id)) == (ana, bob)
        assert (await keys.destroyed(), await keys.count_destroyed()) == ([], 0)
        await keys.close()
        keys = make()
        await keys.open()
    await keys.close()


async def test_a_destroyed_key_is_remembered_and_its_subject_may_come_back(make: Make) -> None:
    first, second, bob, unknown = new_key("ana"), new_key("ana"), new_key("bob"), new_key("eve")
    keys = make()
    await keys.open()
    await keys.add([first, bob])
    with pytest.raises(KeysUnusable, match="another process"):
        await keys.add([second])
    for _ in range(2):
        await keys.destroy([first])
    assert keys.current("ana") is None
    await keys.add([second])
    assert (keys.current("ana"), keys.current("bob")) == (second, bob)
    await keys.destroy([unknown])
    await keys.add([unknown])  # too late
    await keys.destroy([second])
    gone = [Key(key.id, key.subject, None) for key in (first, unknown, second)]
    for _ in range(2):
        assert await keys.destroyed() == gone
        assert await keys.destroyed("ana") == [gone[0], gone[2]]
        assert await keys.count_destroyed() == 3
        assert [keys.find(key.id) for key in gone] == gone
        assert (keys.current("ana"), keys.current("eve"), keys.current("bob")) == (None, None, bob)
        await keys.close()
        keys = make()
        await keys.open()
    await keys.close()


def test_a_key_does_not_show_its_secret() -> None:
    key = new_key("ana")
    assert repr(key) == f"Key({key.id.hex()}, 'ana', ...)"
    assert repr(Key(key.id, "ana", None)) == f"Key({key.id.hex()}, 'ana', destroyed)"
    assert new_key("ana") != key


# -- files ---------------------------------------------------------------------------------------------------------


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in files_in(folder) if path.is_file())


def marked(subject: str) -> Key:
    """Return a key whose secret, and each part of it, is found in files at a glance."""
    return Key(os.urandom(8), subject, b"".join(b"<sk>" + os.urandom(4) for _ in range(4)))


def parts_in(data: bytes) -> set[bytes]:
    return set(re.findall(rb"<sk>[\0-\xff]{4}", data))


async def test_no_byte_of_a_destroyed_key_is_left_in_any_file(tmp_path: Path) -> None:
    """With so many that SQLite has split pages, and would have joined them again if rows had shrunk."""
    luck = random.Random(7)
    many = [marked(f"subject {luck.random()}") for _ in range(4_000)]
    keys = KeyFile(tmp_path / "a.keys")
    await keys.open()
    for start in range(0, len(many), 37):
        await keys.add(many[start : start + 37])
        if start % 5 == 0:
            await keys.destroy([many[start // 2]])
    for left in (0.6, 0.2, 0.05):
        await keys.destroy([key for key in many if luck.random() > left])
        alive = [key.secret for key in many if key.secret and keys.current(key.subject)]
        assert len(alive) > 10
        parts = parts_in(b"".join(alive))
        assert parts_in(bytes_of(tmp_path)) - parts == set()
        assert parts_in(bytes_of(tmp_path)) == parts  # the test can tell
    await keys.close()
    assert parts_in(bytes_of(tmp_path)) == parts


async def test_a_crash_between_destroying_and_emptying_the_log_is_made_good(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    key = new_key("ana")
    keys = KeyFile(tmp_path / "before/a.keys")
    await keys.open()
    await keys.add([key])
    db = sqlite3.connect(tmp_path / "before/a.keys")
    db.execute("update secrets set secret = zeroblob(32)")  # what destroying does first
    db.execute("update keys set destroyed = 1")
    db.commit()
    shutil.copytree(tmp_path / "before", tmp_path / "after", ignore=shutil.ignore_patterns("*.lock", "*-shm"))
    db.close()
    await keys.close()
    assert key.secret is not None
    assert key.secret in bytes_of(tmp_path / "after")
    keys = KeyFile(tmp_path / "after/a.keys")
    await keys.open()
    assert key.secret not in bytes_of(tmp_path / "after")
    assert keys.find(key.id) == Key(key.id, "ana", None)
    await keys.close()


async def test_the_log_of_a_file_that_is_being_read_is_not_said_to_be_empty(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "a.keys")
    await keys.open()
    key = new_key("ana")
    await keys.add([key])
    writer = keys._writer  # pyright: ignore[reportPrivateUsage]
    assert writer is not None
    await writer.run(lambda db: db.execute("pragma busy_timeout = 1").close())  # not five seconds
    reader = sqlite3.connect(tmp_path / "a.keys")
    reader.execute("begin")
    reader.execute("select * from keys").fetchall()
    with pytest.raises(KeysUnusable, match="being read by another process"):
        await keys.destroy([key])
    reader.close()
    await keys.destroy([key])
    assert key.secret is not None
    assert key.secret not in bytes_of(tmp_path)
    await keys.close()


async def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys = KeyFile(tmp_path / "a.keys")
        await keys.open()
        await keys.add([new_key("ana")])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files_in(tmp_path)}
        await keys.close()
    finally:
        os.umask(before)
    assert set(modes) == {"a.keys", "a.keys-wal", "a.keys-shm", "a.keys.lock"}
    assert set(modes.values()) == {0o600}


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    one, other = KeyFile(tmp_path / "a.keys"), KeyFile(tmp_path / "a.keys")
    await one.open()
    with pytest.raises(JournalInUse, match=rf"a\.keys is in use by process {os.getpid()}"):
        await other.open()
    assert one.current("ana") is None
    await one.close()
    await one.close()
    await other.open()
    await other.close()
    with pytest.raises(KeysUnusable, match="not open"):
        other.current("ana")
    with pytest.raises(KeysUnusable, match="not open"):
        await other.count_destroyed()


async def test_a_key_is_on_disk_before_anybody_is_told(tmp_path: Path) -> None:
    """A copy of the files, as they are when adding returns, holds it."""
    keys = KeyFile(tmp_path / "a.keys")
    await keys.open()
    assert keys._writer is not None  # pyright: ignore[reportPrivateUsage]
    level = await keys._writer.run(lambda db: db.execute("pragma synchronous").fetchone())  # pyright: ignore[reportPrivateUsage]
    assert level == (2,)  # full
    key = new_key("ana")
    await keys.add([key])
    (tmp_path / "copy").mkdir()
    for name in ("a.keys", "a.keys-wal"):
        shutil.copy(tmp_path / name, tmp_path / "copy" / name)
    await keys.close()
    copy = KeyFile(tmp_path / "copy/a.keys")
    await copy.open()
    assert copy.current("ana") == key
    await copy.close()


async def test_a_master_key_seals_the_others(tmp_path: Path) -> None:
    need("cryptography")
    path, key = tmp_path / "a.keys", new_key("ana")
    keys = KeyFile(path, MASTER)
    await keys.open()
    await keys.add([key])
    assert key.secret is not None
    assert key.secret not in bytes_of(tmp_path)
    assert MASTER not in bytes_of(tmp_path)
    await keys.close()
    for wrong, message in ((None, r"write KeyFile\(path, master=\.\.\.\)"), (bytes(32), "another master key")):
        with pytest.raises(KeysUnusable, match=message):
            await KeyFile(path, wrong).open()
    keys = KeyFile(path, MASTER)
    await keys.open()
    assert keys.current("ana") == key
    await keys.close()
    db = sqlite3.connect(path)
    db.execute("update keys set subject = 'bob'")  # a key can't be passed off as another's
    db.commit()
    db.close()
    await keys.open()
    with pytest.raises(KeysUnusable, match="damaged: the key of 'bob'"):
        keys.current("bob")
    await keys.close()
    await (plain := KeyFile(tmp_path / "plain.keys")).open()
    await plain.close()
    with pytest.raises(KeysUnusable, match="leave out master="):
        await KeyFile(tmp_path / "plain.keys", MASTER).open()


def test_a_master_key_has_32_bytes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"32 bytes, not 3; make one by os\.urandom"):
        KeyFile(tmp_path / "a.keys", b"abc")


async def test_what_is_no_key_file_is_left_alone(tmp_path: Path) -> None:
    text, database = tmp_path / "text", tmp_path / "database"
    text.write_bytes(b"not a database, but long enough to look like one" * 100)
    db = sqlite3.connect(database)
    db.execute("create table t (a)")
    db.close()
    for path in (text, database, tmp_path / "no/such/folder"):
        before = path.read_bytes() if path.exists() else None
        keys = KeyFile(path)
        for _ in range(2):  # and nothing stays locked
            with pytest.raises((KeysUnusable, JournalInUse)) if before else pytest.raises(Exception, match="can't"):
                await keys.open()
        assert (path.read_bytes() if path.exists() else None) == before
        assert not [file for file in files_in(tmp_path) if file.suffix == ".lock"]
