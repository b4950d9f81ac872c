"""Fingerprints: how a repeated command is told from another one that came with the same id."""

import hashlib
from functools import lru_cache
from typing import Any, cast

import msgspec

from actors import Command
from actors.messages import aliases_of, name_of

_in_order = msgspec.json.Encoder(order="deterministic")


def fingerprint_of(command: Any, data: bytes | None = None) -> str:
    """Return a short hash of a command, or of ``data``, what its sender has written down of it.

    Raises:
        TypeError, ValueError: the command can't be written as JSON.
    """
    return hashlib.blake2b(canonical(command) if data is None else data, digest_size=8).hexdigest()


def fingerprints_of(command: Any, data: bytes | None = None) -> list[str]:
    """Return a command's hash as today's code makes it, and as it was under the names that its class had before."""
    found = [fingerprint_of(command, data)]
    if data is None:
        found += [fingerprint_of(command, canonical(command, alias)) for alias in aliases_of(command.__class__)]
    return found


def canonical(command: Any, name: str | None = None) -> bytes:
    """Return a command as JSON that is the same in another process, and when its class has got a new field.

    Sets and mappings are put in order, and fields that have their default are left out. The name is its stable one.
    """
    cls = cast(type[Command[Any, Any]], type(command))
    fields = {
        name: value
        for name, default in _defaults(cls)
        if (value := getattr(command, name)) != (default() if callable(default) else default)
    }
    return _in_order.encode((name or name_of(cls), fields))


@lru_cache(maxsize=1_024)
def _defaults(cls: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (field.name, field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory)
        for field in msgspec.structs.fields(cls)
    )
