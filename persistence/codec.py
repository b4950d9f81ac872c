"""Values to JSON and back, with limits: what is stored must read back as the same value."""

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
    return data


class Decoder:
    """Reads one type back."""

    __slots__ = ("_decode", "_name")

    def __init__(self, cls: Any) -> None:
        self._decode = msgspec.json.Decoder(cls).decode
        self._name = getattr(cls, "__name__", str(cls))

    def decode(self, data: bytes | msgspec.Raw) -> Any:
        """Return the value.

        Raises:
            NotDecodable: the bytes don't fit the type.
        """
        try:
            return self._decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise NotDecodable(f"not a {self._name}: {error}") from error

    def encode(self, value: object, name: str) -> bytes:
        """Return the value as JSON, having made sure that it reads back.

        JSON has no NaN and no infinity; they would be written as null and never be read again.

        Raises:
            NotEncodable: it can't be stored so that it reads back.
        """
        data = encode(value, name)
        if b"null" in data:
            try:
                self._decode(data)
            except (msgspec.MsgspecError, ValueError) as error:
                raise NotEncodable(f"{name} can't be stored, as it would not read back: {error}") from error
        return data
