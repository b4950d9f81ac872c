"""The form of a service's state: how it is written down in a snapshot, and whether that fits today's class."""

from typing import Any, ClassVar

import msgspec

from actors import Address, Fold
from persistence.codec import PLAIN, Codec
from persistence.limits import too_deep
from runtime.log import log
from runtime.schema_fingerprint import fold_fingerprint, schema_fingerprint

SNAPSHOT_LIMIT = 16_777_216
"""The largest state that is put into a snapshot, in bytes of JSON: 16 MiB."""


class StateForm:
    """What is known of the state of one class of services; worked out when the first snapshot is made or read."""

    what: ClassVar[str] = "service"

    def __init__(self, cls: Any, codec: Codec = PLAIN) -> None:
        self._cls = cls
        self._codec = codec
        self._fingerprint: str | None = None
        self._decode: Any = None
        self._told = self._misfit = False

    @property
    def fingerprint(self) -> str:
        """What a snapshot is keyed by: the form of the state, and how events lead to it; "": it can't be in one."""
        if self._fingerprint is None:
            self._fingerprint = self._worked_out()
        return self._fingerprint

    def _worked_out(self) -> str:
        cls = self._cls
        try:
            form = schema_fingerprint(cls.state_type)
            self._decode = self._codec.reader(cls.state_type).decode
            return f"{form}{self._origin()}"
        except Exception as error:  # noqa: BLE001 (types of the author's own, which msgspec doesn't know)
            self._goes_without(error)
            return ""

    def _origin(self) -> str:
        """Return what else has to fit: how events lead to the state."""
        return f"/{fold_fingerprint(self._cls)}/{self._cls.snapshot_version}"

    def fits(self, fingerprint: str, *, erased: bool) -> bool:
        """Whether a snapshot fits; where events before it are ``erased``, the form of the state is enough.

        It says then what nobody else can say any more, whatever today's code would make of the events.
        """
        if erased:
            return bool(self.fingerprint) and fingerprint.partition("/")[0] == self.fingerprint.partition("/")[0]
        return fingerprint == self.fingerprint

    def encode(self, state: object) -> bytes | None:
        """Return a state as JSON, having made sure that it reads back; None: it can't be stored, the log says so."""
        if not self.fingerprint:
            return None
        try:
            data = self._codec.written(state)
            self._check_size(data)
            if too_deep(data, self._codec.max_depth):
                raise ValueError(self._codec.depth_told)
            if self._decode(data) != state:
                raise ValueError("it would read back as another value: it is not what its class declares")
        except Exception as error:  # noqa: BLE001 (the author's types may raise anything)
            self._goes_without(error)
            return None
        return data

    def decode(self, data: msgspec.Raw) -> Any:
        """Return a state whose snapshot fits by its fingerprint.

        Raises:
            ValueError: it doesn't fit all the same.
        """
        self._check_size(data)
        return self._decode(data)

    def _check_size(self, data: bytes | msgspec.Raw) -> None:
        if len(data) > SNAPSHOT_LIMIT:
            raise ValueError(f"it has {len(data):,} bytes, the limit is {SNAPSHOT_LIMIT:,}")

    def misfit(self, address: Address[Any]) -> None:
        """Say, once, that snapshots were made by other code; the first of them is named."""
        if not self._misfit:
            self._misfit = True
            log.warning("snapshots ignored", actor=str(address), because="they don't fit today's class")

    def _goes_without(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            log.warning(f"no snapshot of a {self.what}'s state", actor=self._cls.__name__, error=repr(error))


class FoldForm(StateForm):
    """The same of a fold. How events lead to its state is for the fingerprint of its tables to say."""

    what = "fold"

    def _origin(self) -> str:
        return ""


def state_form_for(cls: Any, codec: Codec) -> StateForm:
    """Return what is known of the state of a class of services, or of a fold."""
    return FoldForm(cls, codec) if Fold in cls.__mro__ else StateForm(cls, codec)
