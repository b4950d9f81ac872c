"""Request context: a few texts that say in whose name something is done (user, tenant), and go wherever it leads.

::

    with context(user="ana-7", tenant="acme"):
        await runtime.ask(Payments.at("p1"), Refund(10))

They stand in the metadata of every event that comes of it, in clear and for ever: use ids, not names or mail addresses.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Protocol
from weakref import WeakMethod

import msgspec

from actors.errors import ActorMisuse

MOST_CONTEXT = 1_024
"""How large a request context may be, in bytes of JSON; it is stored with each event that comes of the request."""

Texts = dict[str, str]
"""A request context as it is handed on; never changed once it is made."""

NO_CONTEXT: Mapping[str, str] = MappingProxyType({})
"""The request context of what is done in nobody's name."""


class Scope(Protocol):
    """What the running task or callback is a part of."""

    @property
    def texts(self) -> Texts | None:
        """Its request context; None: it has none."""
        ...


class Turn:
    """The turn of a service, a saga or an actor that isn't async: pure, so it may not look at what is current."""

    texts: Texts | None = None


class Within:
    """A block ``with context(...)``, and what it stands in."""

    __slots__ = ("around", "texts")

    def __init__(self, texts: Texts | None, around: Scope | None) -> None:
        self.texts = texts
        self.around: Scope | None = around.around if isinstance(around, Within) else around
        """What it stands in, other such blocks left out."""


scope: ContextVar[Scope | None] = ContextVar("scope", default=None)
"""What the running task or callback is a part of. One variable for all of it: it is looked at once."""
TURN = Turn()


@contextmanager
def turn() -> Generator[None, None, None]:
    """Let what is done meanwhile, and the tasks that it starts, be in nobody's request context."""
    token = scope.set(TURN)
    try:
        yield
    finally:
        scope.reset(token)


def texts_here() -> Texts | None:
    """Return the request context of what is under way; None: it has none."""
    now = scope.get()
    return None if now is None else now.texts


@contextmanager
def within(texts: Texts | None) -> Generator[None, None, None]:
    """Let what is done meanwhile be in this request context, and not in the one in which it happens to be done."""
    around = scope.get()
    if (None if around is None else around.texts) is texts:
        yield
        return
    token = scope.set(Within(texts, around))
    try:
        yield
    finally:
        scope.reset(token)


class FirstUse:
    """Tells runtimes when a request context is first used in this process: until then they need not look for one."""

    def __init__(self) -> None:
        self.begun = False
        self._told: dict[WeakMethod[Callable[[], None]], None] = {}

    def tell(self, told: Callable[[], None]) -> None:
        """Call this method at the first use, if its object is there yet; not at all, if there was one."""
        if not self.begun:
            self._told[WeakMethod(told, self._gone)] = None

    def _gone(self, told: "WeakMethod[Callable[[], None]]") -> None:
        self._told.pop(told, None)

    def forget(self, told: Callable[[], None]) -> None:
        """Call it no more."""
        self._told.pop(WeakMethod(told), None)

    def begin(self) -> None:
        """Note a use."""
        if not self.begun:
            self.begun = True
            told, self._told = self._told, {}
            for one in told:
                method = one()
                if method is not None:
                    method()

    @contextmanager
    def anew(self) -> Generator[None, None, None]:
        """Let what is done meanwhile begin as it does in a new process."""
        begun, told = self.begun, self._told
        self.begun, self._told = False, {}
        try:
            yield
        finally:
            used = self.begun
            self.begun, self._told = begun, told
            if used:
                self.begin()


FIRST_USE = FirstUse()


class context:  # noqa: N801 (it is written as a statement: with context(...))
    """Do what is in the block with these texts in the request context, beside those that are there already.

    Blocks nest, an inner one's texts count, and tasks that are started in the block keep them. Names and texts may be
    anything, within :data:`MOST_CONTEXT`.

    Raises:
        ValueError: no text is given, or one that can't be stored, or all of them together are too large.
        TypeError: one is no text.
        ActorMisuse: on entering, in a turn: services, sagas and actors that aren't async go on in the context of what
            they handle.
    """

    __slots__ = ("_texts", "_token")

    def __init__(self, /, **texts: str) -> None:
        self._texts = texts
        self._token: Token[Scope | None] | None = None
        checked(texts)
        if not texts:
            raise ValueError('a request context needs texts; write with context(user="ana-7"):')

    def __enter__(self) -> Mapping[str, str]:
        if self._token is not None:
            raise RuntimeError("a context is entered once; write with context(...) again")
        around = scope.get()
        if around is TURN:
            raise ActorMisuse(
                "what is done in a turn is done in the context of the message that is handled; to act in another one, "
                "let receive be async"
            )
        before = None if around is None else around.texts
        texts = self._texts if before is None else checked({**before, **self._texts})
        FIRST_USE.begin()
        self._token = scope.set(Within(texts, around))
        return MappingProxyType(texts)

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        scope.reset(self._token)


def current_context() -> Mapping[str, str]:
    """Return the request context of what is under way: of the block, or of the message that an async actor handles.

    Raises:
        ActorMisuse: in a turn (``decide``, ``evolve``, a saga's ``run``, ``project``, a ``receive`` that isn't async),
            which may not depend on who asks: what it needs must stand in the message.
    """
    now = scope.get()
    if now is TURN:
        raise ActorMisuse(
            "a turn can't look at the request context, or it would not come to the same again; put what it needs into "
            "the message, or let an interceptor judge by it"
        )
    texts = None if now is None else now.texts
    return NO_CONTEXT if texts is None else MappingProxyType(texts)


def checked(texts: Texts) -> Texts:
    """Return the texts of a request context, if it can be one.

    Raises:
        ValueError: they can't be stored, or are too large.
        TypeError: one is no text.
    """
    for name, text in texts.items():
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] # (callers that no checker looks at)
            raise TypeError(f"a request context holds texts, and {name} is a {type(text).__name__}; write str(...)")
    try:
        size = len(msgspec.json.encode(texts))
    except UnicodeEncodeError as error:
        raise ValueError("a request context holds what is no text in UTF-8 (half of a surrogate pair)") from error
    if size > MOST_CONTEXT:
        raise ValueError(
            f"a request context may have {MOST_CONTEXT:,} bytes of JSON, and this one has {size:,}; it is stored with "
            "each event, so put ids there, and what they stand for elsewhere"
        )
    return texts
