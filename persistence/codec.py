"""Values to JSON and back, with limits: what is stored must read back as the same value."""

import json
from functools import lru_cache
from typing import Any

import msgspec

from persistence.errors import NotDecodable, NotEncodable

MAX_PAYLOAD = 1_048_576
"""The largest payload of one event, command or reply, in bytes of JSON: 1 MiB."""

_encoder = msgspec.json.Encoder()


def encode(value: object, name: str = "value") -> bytes:
    """Return the value as JSON.

    Raises:
        NotEncodable: the value has a type, a text or a number that JSON can't hold, or is too large.
    """
    try:
        data = _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise NotEncodable(f"{name} can't be stored: {error}") from error
    if len(data) > MAX_PAYLOAD:
        raise NotEncodable(f"{name} can't be stored: it has {len(data):,} bytes, the limit is {MAX_PAYLOAD:,}")
    if b"null" in data and _lost_a_number(value, data):
        raise NotEncodable(f"{name} can't be stored: JSON has no NaN and no infinity")
    return data


def _lost_a_number(value: object, data: bytes) -> bool:
    # NaN and infinity are written as null. Most nulls are None, which a look at what reads back tells quickly.
    cls: Any = type(value)
    try:
        if _decoder(cls).decode(data) == value:
            return False
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        pass  # a type that says too little, or a value that doesn't fit it; look at every number
    try:
        json.dumps(msgspec.to_builtins(value, str_keys=True, enc_hook=_nothing), allow_nan=False)
    except ValueError:
        return True
    return False


@lru_cache(maxsize=1_024)
def _decoder(cls: type) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cls)


def _nothing(_: object) -> None:
    """Stand for a ``msgspec.Raw``, which holds no number of ours."""


class Decoder:
    """Reads one type back."""

    __slots__ = ("_decode", "_name")

    def __init__(self, cls: Any) -> None:
        self._decode = msgspec.json.Decoder(cls).decode
        self._name = getattr(cls, "__name__", str(cls))

    def decode(self, data: bytes | msgspec.Raw) -> Any:
        """Return the value.

        Raises:
            NotDecodable: the bytes don't fit the type, or are more than may be stored.
        """
        if (size := len(data)) > MAX_PAYLOAD:
            raise NotDecodable(f"not a {self._name}: it has {size:,} bytes, the limit is {MAX_PAYLOAD:,}")
        try:
            return self._decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise NotDecodable(f"not a {self._name}: {error}") from error

    def encode(self, value: object, name: str) -> bytes:
        """Return the value as JSON, having made sure that it reads back: a field may hold what its type forbids.

        Raises:
            NotEncodable: it can't be stored so that it reads back.
        """
        data = encode(value, name)
        try:
            same = self._decode(data) == value
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise NotEncodable(f"{name} can't be stored, as it would not read back: {error}") from error
        if not same and getattr(getattr(type(value), "__struct_config__", None), "eq", True):
            raise NotEncodable(
                f"{name} can't be stored, as it would read back as another value: it is not what its class "
                "declares; a tuple where a list is declared, say, or a subclass"
            )
        return data
