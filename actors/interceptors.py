"""Interceptors: what stands around requests before an actor gets them, and sees what comes of them.

::

    async def only_staff(call: Call, proceed: Proceed) -> object:
        if isinstance(call.request, Refund) and call.context.get("role") != "staff":
            raise Refused("only staff may refund")
        return await proceed(call)

    Runtime("sqlite:shop.db", actors=[...], interceptors=[only_staff])

The first one is the outermost. A class's own, ``interceptors = [validate]``, stand inside the runtime's.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal
from uuid import uuid4

import msgspec

from actors.address import Address
from actors.errors import DefinitionError
from actors.messages import Request
from actors.request_context import current_context
from actors.verbs import Verb

CallKind = Literal["ask", "watch", "tell", "start", "transact", "remind", "verb"]


class Call(msgspec.Struct, frozen=True):
    """A request on its way to an actor.

    ``kind`` says how it is sent; what is sent with ``runtime.transact`` is a call for each of its commands, each answer
    of ``runtime.watch`` is a ``"watch"``, and what a saga is told with ``runtime.saga(...)`` is a ``"verb"``. ``id`` is
    what its sender has called it, ``timeout`` the seconds for which that one waits, the interceptors' work included.
    ``sender`` is the plain actor that asks; None: it comes from outside of all actors.
    """

    address: Address[Any]
    request: Request[Any, Any] | Verb
    kind: CallKind = "ask"
    id: str | None = None
    timeout: float | None = None
    sender: Address[Any] | None = None

    @property
    def context(self) -> Mapping[str, str]:
        """The request context. To go on in another: ``with context(tenant="acme"): return await proceed(call)``."""
        return current_context()

    def with_(self, *, request: Request[Any, Any] | Verb | None = None, timeout: float | None = None) -> "Call":
        """Return this call with another request, or with less time."""
        return msgspec.structs.replace(
            self,
            request=self.request if request is None else request,
            timeout=self.timeout if timeout is None else timeout,
        )

    def identified(self) -> "Call":
        """Return this call with an id, so that it can be sent again and takes effect once; its own, if it has one.

        Its reply is then kept in the journal, as for any command with an id.
        """
        return self if self.id is not None else msgspec.structs.replace(self, id=uuid4().hex)


Proceed = Callable[[Call], Awaitable[object]]
"""Goes on, to the next interceptor or to the actor; returns the reply, or raises what ``ask`` would."""
Interceptor = Callable[[Call, Proceed], Awaitable[object]]
"""Is awaited in place of the request, and returns the reply: that of ``proceed``, or one of its own."""


def check_interceptors(where: str, interceptors: Sequence[Interceptor]) -> None:
    """Check what a class, or a runtime, names as its interceptors.

    Raises:
        DefinitionError: they can't be.
    """
    given: Any = interceptors
    if not isinstance(given, (list, tuple)) or not all(map(callable, interceptors)):
        raise DefinitionError(f"{where}: interceptors are functions; write interceptors = [only_staff, log_calls]")


def name_of_interceptor(interceptor: Interceptor) -> str:
    """Return what to call an interceptor in an error."""
    name: str = getattr(interceptor, "__qualname__", "") or type(interceptor).__qualname__
    return name
