"""A look at replies that are not stored: are they what the request declares?"""

from typing import Any

import msgspec

from actors.errors import in_words
from actors.messages import reply_type


class ReplyCheck:
    """Tells a reply of the wrong type."""

    __slots__ = ("_declared", "_request", "cls")

    def __init__(self, request: type) -> None:
        self._request = request
        self._declared = reply_type(request)
        self.cls: Any = self._declared if isinstance(self._declared, type) and self._declared is not Any else None
        """What most replies are made of, where one class says it; a reply of just this class needs no look."""

    def __call__(self, reply: object) -> None:
        """Look at a reply closely.

        Raises:
            TypeError: it isn't what is declared.
        """
        if self.cls is None:
            try:
                msgspec.convert(reply, self._declared)
            except msgspec.ValidationError as error:
                raise self._wrong(reply) from error
            except TypeError:
                return  # a type of the author's own, which msgspec doesn't know
        elif not isinstance(reply, self.cls) and not (self.cls is float and isinstance(reply, int)):
            raise self._wrong(reply)

    def _wrong(self, reply: object) -> TypeError:
        declared = getattr(self._declared, "__name__", self._declared) if self.cls is not None else self._declared
        given = "nothing was returned" if reply is None else f"it was {in_words(reply)}"
        return TypeError(f"{self._request.__name__} declares the reply {declared}, but {given}")
