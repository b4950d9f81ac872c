"""Values to JSON and back, with limits: what is stored must read back as the same value."""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import msgspec
from msgspec import inspect

from persistence.errors import KeyMissing, NotDecodable, NotEncodable
from persistence.limits import MAX_DEPTH, MAX_PAYLOAD, WRAPPED_DEPTH, WRAPPED_PAYLOAD, oversize, too_deep

EncHook = Callable[[Any], Any]
"""Gives what to write for a value of a type that JSON doesn't know. Raises TypeError where it doesn't either."""
DecHook = Callable[[Any, Any], Any]
"""Gives a value of the type (first) for what was read (second). Raises ValueError where it doesn't fit."""


class Codec:
    """One way to write values as JSON and to read them: it says what becomes of types that JSON doesn't know.

    ``enc_hook`` writes and ``dec_hook`` reads these; ``mark_hook`` gives what stands for them in :meth:`mark`. Without
    hooks they are refused. Nothing is larger than ``max_payload``, in bytes of JSON, or deeper than ``max_depth``, be
    it written or read.
    """

    __slots__ = ("_encode", "_in_order", "_reader", "_small", "dec_hook", "enc_hook", "max_depth", "max_payload")

    def __init__(
        self,
        enc_hook: EncHook | None = None,
        dec_hook: DecHook | None = None,
        mark_hook: EncHook | None = None,
        *,
        max_payload: int = MAX_PAYLOAD,
        max_depth: int = MAX_DEPTH,
    ) -> None:
        self.max_payload, self.max_depth = max_payload, max_depth
        self._small = min(2 * max_depth, max_payload)
        """What has not more bytes can't be too deep, nor too large."""
        self.enc_hook = enc_hook
        self.dec_hook = dec_hook
        self._encode = msgspec.json.Encoder(enc_hook=enc_hook).encode
        self._in_order = msgspec.json.Encoder(enc_hook=mark_hook, order="deterministic")
        self._reader = lru_cache(maxsize=1_024)(self.reader)

    def reader(self, cls: Any) -> msgspec.json.Decoder[Any]:
        """Return what reads a type, without limits."""
        return msgspec.json.Decoder(cls, dec_hook=self.dec_hook)

    def written(self, value: object) -> bytes:
        """Return the value as JSON, without limits, and whether or not it reads back."""
        return self._encode(value)

    def encode(self, value: object, name: str = "value") -> bytes:
        """Return the value as JSON.

        Raises:
            NotEncodable: the value has a type, a text or a number that JSON can't hold, or is too large or too deep.
        """
        try:
            data = self._encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            raise NotEncodable(f"{name} can't be stored: {error}") from error
        if len(data) > self._small or data.find(b"null") >= 0:
            self._look_closely(value, data, name)
        return data

    def _look_closely(self, value: object, data: bytes, name: str) -> None:
        if len(data) > self._small:
            if (size := len(data)) > self.max_payload:
                raise NotEncodable(f"{name} can't be stored: {oversize(size, self.max_payload)}")
            cls: Any = type(value)
            if _may_class_be_deep(cls) and too_deep(data, self.max_depth):
                raise NotEncodable(f"{name} can't be stored: {self.depth_told}")
        if data.find(b"null") >= 0 and self._lost_a_number(value, data):
            raise NotEncodable(f"{name} can't be stored: JSON has no NaN and no infinity")

    @property
    def depth_told(self) -> str:
        """What is wrong with what is too deep."""
        return f"more than {self.max_depth} lists and objects stand within each other"

    def _lost_a_number(self, value: object, data: bytes) -> bool:
        # NaN and infinity are written as null. Most nulls are None, which a look at what reads back tells quickly.
        cls: Any = type(value)
        try:
            if self._reader(cls).decode(data) == value:
                return False
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
            pass  # a type that says too little, or a value that doesn't fit it; look at every number
        try:
            json.dumps(msgspec.to_builtins(value, str_keys=True, enc_hook=_nothing), allow_nan=False)
        except ValueError:
            return True
        return False

    def mark(self, value: object) -> bytes:
        """Return JSON that is the same for values that are equal, whatever order they have; to be hashed, not stored.

        Raises:
            TypeError, ValueError: the value can't be written as JSON.
        """
        return self._in_order.encode(value)


def may_be_deep(cls: Any) -> bool:
    """Return whether values of a type may hold lists and objects within each other without end.

    Of most types they can't, and then nobody needs to look. JSON that is left as it is counts for nothing: whoever
    reads it looks at it.
    """
    try:
        return _may_be_deep(inspect.type_info(cls), ())
    except (TypeError, NameError):
        return True  # a type that msgspec doesn't know


_may_class_be_deep = lru_cache(maxsize=4_096)(may_be_deep)


def _may_be_deep(info: object, within: tuple[object, ...]) -> bool:
    if isinstance(info, tuple):
        parts = cast(tuple[object, ...], info)
        return any(_may_be_deep(part, within) for part in parts)
    if isinstance(info, inspect.Field):
        return _may_be_deep(info.type, within)
    if isinstance(info, (inspect.AnyType, inspect.CustomType)):
        return True
    if not isinstance(info, inspect.Type):
        return False
    cls = getattr(info, "cls", None)
    if cls is not None:
        if cls in within:
            return True  # a class within itself
        within = (*within, cls)
    return any(_may_be_deep(getattr(info, name), within) for name in info.__struct_fields__)


def _nothing(_: object) -> None:
    """Stand for what holds no number of ours: a ``msgspec.Raw``, or what a hook has written."""


PLAIN = Codec()
"""For all that has no types of its own."""
WRAPPING = Codec(max_payload=WRAPPED_PAYLOAD, max_depth=WRAPPED_DEPTH)
"""For what a runtime writes around payloads, each of which is within its own limit."""
encode = WRAPPING.encode
encode_sound = msgspec.json.Encoder().encode
"""Writes what holds nothing but parts that were looked at before, as short texts and JSON."""


class Decoder:
    """Reads one type back."""

    __slots__ = ("_cls", "_codec", "_decode", "_deep", "_name", "_small")

    def __init__(self, cls: Any, codec: Codec = PLAIN) -> None:
        self._cls = cls
        self._deep: bool | None = None
        self._codec = codec
        self._small = 2 * codec.max_depth
        """What has not more bytes needs no closer look: it can't be too deep, nor too large."""
        self._decode = codec.reader(cls).decode
        self._name = getattr(cls, "__name__", str(cls))

    def decode(self, data: bytes | msgspec.Raw) -> Any:
        """Return the value.

        Raises:
            NotDecodable: the bytes don't fit the type, or are more or deeper than may be stored.
            KeyMissing, JournalDamaged: of the codec's hooks, where a value in it can't be opened.
        """
        if len(data) > self._small:
            self._check(data)
        try:
            return self._decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            if isinstance(error.__cause__, KeyMissing):
                raise error.__cause__ from None  # of the hook, and not of the form
            raise NotDecodable(f"not a {self._name}: {error}") from error

    def _check(self, data: bytes | msgspec.Raw) -> None:
        if (size := len(data)) > self._codec.max_payload:
            raise NotDecodable(f"not a {self._name}: {oversize(size, self._codec.max_payload)}")
        if self._deep is None:
            self._deep = may_be_deep(self._cls)
            if not self._deep:
                self._small = self._codec.max_payload  # nothing but the size needs a look from now on
        if self._deep and too_deep(bytes(data), self._codec.max_depth):
            raise NotDecodable(f"not a {self._name}: {self._codec.depth_told}")

    def encode(self, value: object, name: str) -> bytes:
        """Return the value as JSON, having made sure that it reads back: a field may hold what its type forbids.

        Raises:
            NotEncodable: it can't be stored so that it reads back.
        """
        data = self._codec.encode(value, name)
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
