"""One call on its way through interceptors, to the actor and back."""

from collections.abc import Awaitable, Callable, Sequence
from types import CoroutineType
from typing import Any, Literal

from actors import (
    Actor,
    Command,
    DeletedForGood,
    Failed,
    InterceptorMisuse,
    OutcomeUnknown,
    Query,
    Refused,
    UnderstudyError,
)
from actors.errors import in_words
from actors.interceptors import Call, Interceptor, name_of_interceptor
from runtime.kinds import Kind

Send = Callable[[Call], Awaitable[object]]
"""Has the actor get the call; returns its reply."""
ONCE = ("ask", "tell", "transact")
"""How a command takes effect again if it is sent again, unless it has an id."""


class Passage:
    """One call on its way. What interceptors do wrong is told as what it means to the sender."""

    def __init__(self, interceptors: Sequence[Interceptor], kind: Kind, send: Send) -> None:
        self._interceptors = interceptors
        self._kind = kind
        self._send = send
        self.sent = False
        """Whether the actor was given anything."""
        self.stands: Literal["no", "maybe", "yes"] = "no"
        """Whether any of what it was given may have taken effect."""
        self._earlier = False
        """Whether that could be said already before it was given the last."""
        self._raised: BaseException | None = None
        """What came of that, if it was an error."""

    async def enter(self, call: Call, at: int = 0) -> object:
        """Go on with the interceptor at this place; return the reply.

        Raises:
            Refused: an interceptor, or the actor, said no.
            Failed: an interceptor failed; nothing was written.
            OutcomeUnknown: an interceptor failed behind the actor; or whatever else is unknown.
        """
        if at == len(self._interceptors):
            return await self._deliver(call)
        interceptor = self._interceptors[at]
        got: list[object] = []

        async def proceed(call: Call) -> object:
            if not isinstance(call, Call):  # pyright: ignore[reportUnnecessaryIsInstance] # (code that no checker looks at)
                raise InterceptorMisuse(f"proceed takes the call, not {in_words(call)}; write proceed(call)")
            reply = await self.enter(call, at + 1)
            got.append(reply)
            return reply

        try:
            reply = await interceptor(call, proceed)
            if not any(reply is one for one in got):
                self._check(interceptor, call, reply)
        except Exception as error:
            told = self._told(interceptor, call, error)
            if told is error:
                raise
            raise told from error
        return reply

    async def _deliver(self, call: Call) -> object:
        if self.sent and call.id is None and call.kind in ONCE and isinstance(call.request, Command):
            raise InterceptorMisuse(
                f"{type(call.request).__name__} is sent again without an id, and may take effect twice; give it "
                "one before the first: call = call.identified()"
            )
        before, self._earlier = self.stands, self.stands != "no"
        self.sent, self.stands = True, "maybe"
        try:
            reply = await self._send(call)
        except BaseException as error:
            self._raised = error
            if self._nothing_done(error, before):
                self.stands = "no"
            raise
        self.stands = "yes"
        return reply

    def _nothing_done(self, error: BaseException, before: str) -> bool:
        """Whether an error says that nothing has taken effect, of this attempt nor, as it stood before, of others.

        A service or a saga that refuses would know the id, if it had taken the command before. A plain actor need not,
        one that was deleted for good has forgotten it, and that a mailbox is full says nothing of an earlier attempt.
        """
        if not isinstance(error, UnderstudyError) or isinstance(error, OutcomeUnknown):
            return False
        refused = isinstance(error, Refused) and not isinstance(error, DeletedForGood)
        knows = refused and not issubclass(self._kind.cls, Actor)
        return before == "no" or (before == "maybe" and knows)

    def _check(self, interceptor: Interceptor, call: Call, reply: object) -> None:
        """Make sure that a reply of an interceptor's own is what the request declares.

        Raises:
            TypeError: it is something else.
            InterceptorMisuse: nothing was done yet.
        """
        if isinstance(reply, CoroutineType):
            reply.close()
            raise InterceptorMisuse(
                f"{_where(interceptor, call)} returned what nobody has awaited; write return await proceed(call)"
            )
        if call.kind in ("ask", "watch", "transact"):
            self._kind.check_reply(type(call.request), reply)

    def _told(self, interceptor: Interceptor, call: Call, error: Exception) -> Exception:
        if error is self._raised and (not self._earlier or isinstance(call.request, Query)):
            return error
        if self.stands == "no" or isinstance(call.request, Query):
            if isinstance(error, UnderstudyError):
                return error
            return Failed(f"{_where(interceptor, call)} failed: {type(error).__name__}: {error}")
        if isinstance(error, OutcomeUnknown):
            return error
        return OutcomeUnknown(
            f"{_where(interceptor, call)} failed when the actor had been given it, so it may have taken effect; ask "
            f"again with the same id to learn it. {type(error).__name__}: {error}"
        )


def _where(interceptor: Interceptor, call: Call) -> str:
    kind: Any = type(call.request)
    return f"interceptor {name_of_interceptor(interceptor)} at {kind.__name__} for {call.address}"
