"""The doors of a runtime before which something stands: interceptors, or a request context that goes in with a message.

A runtime without either goes by the node's own, shorter ways, and knows nothing of these.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

import anyio
import msgspec

from actors import (
    Address,
    Command,
    Failed,
    InterceptorMisuse,
    MailboxFull,
    OutcomeUnknown,
    Query,
    Request,
    RuntimeClosed,
    Subscriber,
)
from actors.address import check_address
from actors.interceptors import Call, Interceptor
from actors.reminders import Remind
from actors.request_context import Within, scope, texts_here
from actors.verbs import Verb
from runtime import queries, reminders
from runtime.actor_life import handling, origin_here
from runtime.mailbox import MOST_WAITING
from runtime.node import Node
from runtime.origin import Origin, caller
from runtime.own_loop import check_loop
from runtime.passage import Passage, Send
from runtime.saga_sending import say, start
from runtime.transacting import Requests, check, transact

A = TypeVar("A")
R = TypeVar("R")

Asked = Callable[[Query[Any, Any]], None]
"""Told what is about to be asked."""

_telling: ContextVar[bool] = ContextVar("telling", default=False)
"""Whether what runs is an interceptor of something that is told, so that others may be waiting for it."""


class Doors:
    """Sends requests to actors, through the interceptors of the runtime and those of the actor's class."""

    def __init__(self, node: Node, interceptors: Sequence[Interceptor] = ()) -> None:
        self._node = node
        self._chains: dict[str, tuple[Interceptor, ...]] = {
            kind.name: (*interceptors, *kind.cls.interceptors)
            for kind in (*node.directory.all_kinds, *node.directory.remote_kinds)
            # Nobody sends a subscriber requests, and what the runtime itself asks its own actors is nobody's request.
            if "." not in kind.name and not issubclass(kind.cls, Subscriber)
        }
        self._lines: dict[Address[Any], asyncio.Future[None]] = {}
        """Of each actor that is being told something: done when the last of it was sent, or never will be."""
        self._telling: Counter[Address[Any]] = Counter()

    @property
    def stand(self) -> bool:
        """Whether there are interceptors at all."""
        return any(self._chains.values())

    def _chain(self, address: Address[Any]) -> tuple[Interceptor, ...]:
        check_address(address)
        return self._chains.get(address.actor, ())

    # -- asking -------------------------------------------------------------------------------------------------

    async def ask(
        self,
        address: Address[A],
        request: Request[A, R],
        request_id: str | None,
        timeout: float | None,
        *,
        consistent: bool = False,
        after: int | None = None,
    ) -> Any:
        """Send a request from outside, and wait for its reply."""

        async def send(call: Call) -> object:
            left, asked = self._left(call, due), call.request
            if isinstance(asked, Query):
                return await queries.ask(self._node, address, asked, timeout=left, consistent=consistent, after=after)
            command: Any = asked
            origin = caller()
            return await self._node.ask(address, command, request_id=call.id, origin=origin, timeout=left)

        due = self._node.deadline(timeout)
        return await self._through(Call(address, request, "ask", request_id, timeout), send, due)

    async def ask_inside(
        self,
        address: Address[A],
        request: Request[A, R],
        *,
        request_id: str | None = None,
        origin: Origin | None = None,  # noqa: ARG002 (it is that of the interceptor that goes on)
        timeout: float | None = None,
    ) -> R:
        """Send a request of a plain actor's, and wait for its reply."""

        async def send(call: Call) -> object:
            left, asked, origin = self._left(call, due), call.request, origin_here()
            if isinstance(asked, Query):
                return await queries.ask(self._node, address, asked, timeout=left)
            command: Any = asked
            return await self._node.ask(address, command, request_id=call.id, origin=origin, timeout=left)

        due = self._node.deadline(timeout)
        reply: Any = await self._through(Call(address, request, "ask", request_id, timeout, _sender()), send, due)
        return reply  # type: ignore[no-any-return] # (a reply of an interceptor's own was looked at)

    async def query_inside(
        self, address: Address[A], query: Query[A, R], *, timeout: float | None = None, consistent: bool = False
    ) -> R:
        """Have a query of a plain actor's answered."""

        async def send(call: Call) -> object:
            left = self._left(call, due)
            return await queries.ask(self._node, address, _query(call), timeout=left, consistent=consistent)

        due = self._node.deadline(timeout)
        answer: Any = await self._through(Call(address, query, "ask", None, timeout, _sender()), send, due)
        return answer  # type: ignore[no-any-return] # (an answer of an interceptor's own was looked at)

    async def watch(self, address: Address[A], query: Query[A, R], after: int | None, asked: Asked) -> Any:
        """Have a query answered once more for who watches; ``asked`` is told what the interceptors have made of it."""

        async def send(call: Call) -> object:
            left, query = self._left(call, due), _query(call)
            asked(query)
            return await queries.ask(self._node, address, query, timeout=left, after=after)

        due = self._node.deadline(None)
        return await self._through(Call(address, query, "watch"), send, due)

    async def _through(self, call: Call, send: Send, due: int) -> object:
        """Send a call through its interceptors, behind what its actor is being told, in the time that it has."""
        chain = self._chain(call.address)
        if not chain:
            return await send(call)
        node, before = self._node, self._before(call.address) if call.sender is None else None
        passage = Passage(chain, node.kind(call.address.actor), send)
        scope = anyio.CancelScope()
        timer = node.delays.at(due, scope.cancel) if due else None
        try:
            with scope:
                if before is not None:
                    await asyncio.shield(before)
                return await passage.enter(call)
        finally:
            if timer is not None:
                timer.cancel()
        what = f"{call.address} has handled {type(call.request).__name__}"
        if passage.stands != "no" and not isinstance(call.request, Query):
            raise OutcomeUnknown(
                f"whether {what} is unknown: no reply came in time; ask again with the same id to learn it"
            )
        raise Failed(f"no interceptor let {type(call.request).__name__} come to {call.address} and back in time")

    def _before(self, address: Address[Any]) -> "asyncio.Future[None] | None":
        """Return what must have passed before what comes next for an actor.

        What interceptors of tells send waits for nothing: it might be for themselves, or for each other in a circle.
        Nor does what actors ask, for whom these may wait.
        """
        return None if _telling.get() else self._lines.get(address)

    def _left(self, call: Call, due: int) -> float | None:
        """Return how many seconds a call may take from now on."""
        left = None if not due else max(0.0, (due - self._node.clock.steady()) / 1e6)
        return left if call.timeout is None else call.timeout if left is None else min(left, call.timeout)

    # -- telling ------------------------------------------------------------------------------------------------

    def tell(self, address: Address[A], message: Command[A, Any], message_id: str | None) -> Awaitable[None]:
        """Send a command without waiting for a reply.

        Interceptors may wait for something, so it is sent later, and what comes for the same actor waits for it.
        """
        node = self._node
        if not self._chain(address):
            return node.tell_for(caller(), address, message, message_id)
        node.check(address, message)
        if self._telling[address] >= MOST_WAITING:
            raise MailboxFull(f"{MOST_WAITING:,} messages for {address} are with interceptors; wait for some of them")
        check_loop(node.loop)
        sent: asyncio.Future[None] = node.loop.create_future()
        passed: asyncio.Future[None] = node.loop.create_future()
        before, self._lines[address] = self._before(address), passed
        self._telling[address] += 1
        call = Call(address, message, "tell", message_id)
        task = node.spawn(self._tell(call, before, passed, sent), copy_context())
        sent.add_done_callback(lambda _: task.cancel() if sent.cancelled() else None)
        return sent

    async def _tell(
        self,
        call: Call,
        before: "asyncio.Future[None] | None",
        passed: "asyncio.Future[None]",
        sent: "asyncio.Future[None]",
    ) -> None:
        node, address = self._node, call.address

        async def send(call: Call) -> object:
            there = node.tell_for(caller(), address, call.request, call.id)
            if not passed.done():
                passed.set_result(None)
            await there
            return None

        # For good: this task's variables are its own. The request context goes on; but where an actor has told this
        # while it handles something, it doesn't wait for it, nor do those who wait for the actor.
        _telling.set(True)
        texts = texts_here()
        scope.set(None if texts is None else Within(texts, None))
        try:
            if before is not None:
                await asyncio.shield(before)
            await Passage(self._chain(address), node.kind(address.actor), send).enter(call)
        except asyncio.CancelledError:
            if not sent.done():
                sent.set_exception(
                    RuntimeClosed(f"it was closed before interceptors had let a message to {address} pass")
                )
                sent.exception()  # it need not be awaited, so nobody may ever look
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, it goes to who waits, and to who looks for it later)
            node.dead_letter(address, call.request, error)
            if not sent.done():
                sent.set_exception(error)
                sent.exception()
        else:
            if not sent.done():
                sent.set_result(None)
        finally:
            self._passed(address, passed)

    def _passed(self, address: Address[Any], passed: "asyncio.Future[None]") -> None:
        if not passed.done():
            passed.set_result(None)
        if self._lines.get(address) is passed:
            del self._lines[address]
        self._telling[address] -= 1
        if not self._telling[address]:
            del self._telling[address]

    # -- the other doors ----------------------------------------------------------------------------------------

    async def transact(self, requests: Requests, transaction_id: str | None, timeout: float | None) -> tuple[Any, ...]:
        """Send commands to several services, all or none; each goes through its interceptors, one within the other.

        So what judges a command needs to know nothing of transactions, and none gets around it in one.

        Raises:
            Failed: an interceptor has answered a command by itself, so that nothing was written.
        """
        check(self._node, requests)
        due = self._node.deadline(timeout)
        calls = [Call(address, command, "transact", transaction_id, timeout) for address, command in requests]
        replies: list[Any] = []

        async def through(number: int) -> None:
            if number == len(calls):
                ids = [call.id for call in calls if call.id is not None]
                now = [(call.address, call.request) for call in calls]
                left, origin = self._left(calls[0], due) if calls else None, caller()
                context = None if origin is None else origin.context
                name = ids[0] if ids else None
                replies[:] = await transact(self._node, now, name, self._node.deadline(left), context)
                return

            async def send(call: Call) -> object:
                calls[number] = call
                await through(number + 1)
                return replies[number]

            reply = await self._through(calls[number], send, due)
            if not replies:
                raise Failed(
                    f"an interceptor has answered {type(calls[number].request).__name__} for {calls[number].address} "
                    "by itself; in a transaction all commands are sent, or none, and nothing was written"
                )
            replies[number] = reply

        await through(0)
        return tuple(replies)

    async def start(self, address: Address[A], command: Command[A, Any], timeout: float | None) -> None:
        """Start a saga, and don't wait for its end."""

        async def send(call: Call) -> object:
            request: Any = call.request
            await start(self._node, address, request, self._node.deadline(self._left(call, due)), caller())
            return None

        due = self._node.deadline(timeout)
        await self._through(Call(address, command, "start", None, timeout), send, due)

    async def say(self, address: Address[Any], verb: Verb, timeout: float | None) -> None:
        """Tell a saga what to do."""

        async def send(call: Call) -> object:
            said: Any = call.request
            await say(self._node, address, said, self._node.deadline(self._left(call, due)), caller())
            return None

        due = self._node.deadline(timeout)
        await self._through(Call(address, verb, "verb", None, timeout), send, due)

    async def remind(self, reminder: Remind) -> None:
        """Have a command sent later; it is intercepted now, and not when its time has come."""
        to = reminder.to
        assert to is not None

        async def send(call: Call) -> object:
            await reminders.remind(self._node, msgspec.structs.replace(reminder, command=call.request), caller())
            return None

        await self._through(Call(to, reminder.command, "remind"), send, self._node.deadline(None))


def _sender() -> Address[Any] | None:
    """Return the plain actor that is asking."""
    now = handling()
    return None if now is None else now.cell.address


def _query(call: Call) -> Query[Any, Any]:
    """Return what is asked.

    Raises:
        InterceptorMisuse: an interceptor has put something else in its place.
    """
    if not isinstance(call.request, Query):
        what = type(call.request).__name__
        raise InterceptorMisuse(f"an interceptor puts {what} in place of a query to {call.address}; put a query there")
    return call.request
