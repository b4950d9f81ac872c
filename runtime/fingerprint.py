"""Fingerprints: how a repeated command is told from another one that came with the same id."""

import hashlib
from functools import lru_cache
from typing import Any, cast

import msgspec

from actors import Command
from actors.messages import aliases_of, name_of
from persistence.codec import PLAIN, Codec


def fingerprint_of(command: Any, data: bytes | None = None, codec: Codec = PLAIN) -> str:
    """Return a short hash of a command, or of ``data``, what its sender has written down of it.

    Raises:
        TypeError, ValueError: the command can't be written as JSON.
    """
    return hashlib.blake2b(canonical(command, codec=codec) if data is None else data, digest_size=8).hexdigest()


def fingerprints_of(command: Any, data: bytes | None = None, codec: Codec = PLAIN) -> list[str]:
    """Return a command's hash as today's code makes it, and as it was under the names that its class had before."""
    found = [fingerprint_of(command, data, codec)]
    if data is None:
        found += [fingerprint_of(command, canonical(command, alias, codec)) for alias in aliases_of(command.__class__)]
    return found


def canonical(command: Any, name: str | None = None, codec: Codec = PLAIN) -> bytes:
    """Return a command as JSON that is the same in another process, and when its class has got a new field.

    Sets and mappings are put in order, and fields that have their default are left out. The name is its stable one.
    For what is personal there stands a mark that only the keys can tell.
    """
    cls = cast("type[Command[Any, Any]]", type(command))
    fields = {
        name: value
        for name, default in _defaults(cls)
        if (value := getattr(command, name)) != (default() if callable(default) else default)
    }
    return codec.mark((name or name_of(cls), fields))


@lru_cache(maxsize=1_024)
def _defaults(cls: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (field.name, field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory)
        for field in msgspec.structs.fields(cls)
    )
