"""Personal values in messages and states: sealed where they are written, opened where they are read."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast, get_args, get_origin

import msgspec
from msgspec import inspect

from actors import DefinitionError
from actors.personal import Personal, note_seal, seal_of, sealed
from persistence import KeyMissing, NotEncodable
from persistence.codec import Codec, Decoder
from persistence.keyring import Keyring, SealedValue
from persistence.keys import Keys
from persistence.limits import MAX_PAYLOAD


class PersonalData:
    """What a runtime does with personal values. ``codec`` writes and reads whatever may hold some.

    With keys it seals and opens them. Without, it refuses them; but if it is ``blind``, it reads them as forgotten.
    """

    def __init__(
        self,
        keys: Keys | None = None,
        actors: Sequence[type] = (),
        *,
        blind: bool = False,
        max_payload: int = MAX_PAYLOAD,
    ) -> None:
        """Use these keys, for these actors. The codec's limit is ``max_payload``, in bytes.

        Raises:
            KeysUnusable: ``cryptography`` is not installed.
            DefinitionError: there are no keys, and an event of one of the actors holds personal data.
        """
        if keys is None:
            _check_impersonal(actors)
        self.ring = None if keys is None else Keyring(keys)
        self.prepare = None if self.ring is None else self.ring.flush
        """To be awaited before anything that was sealed is written."""
        self.blind = blind
        self.codec = Codec(self._write, self._read, self._mark, max_payload=max_payload)
        self._inner = lru_cache(maxsize=1_024)(self._decoder)

    def _decoder(self, cls: Any) -> Decoder:
        return Decoder(Any if isinstance(cls, TypeVar) else cls, self.codec)

    def _write(self, value: object) -> Any:
        personal = _personal(value)
        seal = seal_of(personal)
        if not self._ours(seal):
            if self.ring is None:
                raise NotEncodable(_no_keys(f"it holds personal data of {personal.subject!r}"))
            first = seal is None
            seal = self.ring.seal(personal.subject, self.codec.encode(personal.value, "a personal value"))
            if first:
                note_seal(personal, seal)
        assert seal is not None
        return {"subject": personal.subject, "sealed": seal.text}

    def _ours(self, seal: object) -> bool:
        """Whether it is one that this runtime has made or read: of another one's the keys are others."""
        return isinstance(seal, Unopened) or (isinstance(seal, SealedValue) and seal.ring is self.ring)

    def _mark(self, value: object) -> Any:
        """Return what stands for a value in a fingerprint: equal for equal values, and no help to guess them."""
        personal = _personal(value)
        if personal.forgotten:
            return self._write(personal)
        if self.ring is None:
            raise NotEncodable(_no_keys(f"it holds personal data of {personal.subject!r}"))
        return {
            "subject": personal.subject,
            "mark": self.ring.current(personal.subject).mark(self.codec.mark(personal.value)),
        }

    def _read(self, cls: Any, found: Any) -> Any:
        if (get_origin(cls) or cls) is not Personal:
            return found  # msgspec says what it should have been
        form = msgspec.convert(found, Sealed)
        if self.ring is None:
            if not self.blind:
                raise KeyMissing(_no_keys(f"it was written with personal data of {form.subject!r}"))
            return sealed(form.subject, Unopened(form.sealed))
        seal, data = self.ring.open(form.subject, form.sealed)
        if data is None:
            return sealed(form.subject, seal)
        cls = (get_args(cls) or (Any,))[0]
        personal: Personal[Any] = Personal(form.subject, self._inner(cls).decode(data))
        note_seal(personal, seal)
        return personal


class Sealed(msgspec.Struct, forbid_unknown_fields=True):
    """A personal value as JSON."""

    subject: str
    sealed: bytes


class Unopened(msgspec.Struct, frozen=True):
    """A sealed value that nobody has tried to open."""

    text: bytes
    gone: bool = True


def _personal(value: object) -> Personal[Any]:
    if not isinstance(value, Personal):
        raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")
    return value  # pyright: ignore[reportUnknownVariableType]


def _no_keys(why: str) -> str:
    return f'{why}, and the runtime has no keys; write Runtime(..., keys=KeyFile("trips.keys"))'


def _check_impersonal(actors: Sequence[type]) -> None:
    """Make sure that no actor could ever write a personal value, for there are no keys."""
    for actor in actors:
        for event in getattr(actor, "events", {}).values():
            if holds_personal(event):
                raise DefinitionError(_no_keys(f"{actor.__name__}'s event {event.__name__} holds personal data"))


@lru_cache(maxsize=4_096)
def holds_personal(cls: Any) -> bool:
    """Whether values of a type may hold personal ones."""
    return _holds(inspect.type_info(cls), set())


def _holds(info: object, met: set[Any]) -> bool:
    if isinstance(info, inspect.CustomType):
        return issubclass(info.cls, Personal)
    if isinstance(info, tuple):
        return any(_holds(part, met) for part in cast(tuple[object, ...], info))
    if isinstance(info, inspect.Field):
        return _holds(info.type, met)
    if not isinstance(info, inspect.Type):
        return False
    cls = getattr(info, "cls", None)
    if cls is not None:
        if cls in met:
            return False  # a class within itself
        met.add(cls)
    return any(_holds(getattr(info, name), met) for name in info.__struct_fields__)
